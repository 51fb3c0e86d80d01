//! County → community → school → classroom.

mod classrooms;
mod communities;
mod known;
mod school;
#[cfg(test)]
mod tests;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

pub use classrooms::{NewClassroom, add_classroom, classroom_of_pass, new_pass};
pub use communities::{NewCommunity, add_community};
pub use known::{community_of, ids_after, known};
pub use school::{Membership, NewSchool, SchoolRole, add_school};

/// Communities, schools and classrooms.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(communities::routes())
        .merge(school::routes())
        .merge(classrooms::routes())
}
