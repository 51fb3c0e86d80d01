//! County → community → school → classroom.

mod classrooms;
mod communities;
mod index_source;
mod known;
mod school;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;

use crate::bus::Bus;
use crate::config::Config;
use crate::db::Db;

pub use classrooms::{NewClassroom, add_classroom, new_pass};
pub use communities::{NewCommunity, add_community};
pub use index_source::index_source;
pub use known::{community_of, known};
pub use school::{Membership, NewSchool, SchoolRole, add_school};

/// State of this feature. Cloning shares it.
#[derive(Clone)]
pub struct Schools {
    pub config: Arc<Config>,
    pub db: Db,
    pub bus: Bus,
}

/// Routes of communities, schools and classrooms.
pub fn routes() -> OpenApiRouter<Schools> {
    OpenApiRouter::new()
        .merge(communities::routes())
        .merge(school::routes())
        .merge(classrooms::routes())
}
