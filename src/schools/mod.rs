//! Counties, their education communities, schools and classrooms.

mod classrooms;
mod communities;
mod index_source;
mod profile;
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
pub use profile::{community_of, profile};
pub use school::{Membership, NewSchool, SchoolRole, add_school};

/// State of this feature. Clones share it.
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
