//! Authentication: people with passwords, classrooms with passes, and the sessions of both.

mod actor;
mod device;
mod index_source;
mod limiter;
mod password;
mod people;
mod profile;
pub mod secret;
pub mod session;
mod sessions;
mod setup;
mod signin;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;

use crate::config::Config;
use crate::db::Db;

pub use actor::{Actor, SchoolRef};
pub use index_source::{all_people, index_source, with_role};
pub use limiter::Limiter;
pub use password::Hasher;
pub use people::{NewPerson, add_person};
pub use profile::profile;
pub use setup::{administrator_exists, create_setup_link};

crate::string_enum! {
    /// Server-wide role of a person. The role in a lesson is the timetable's `LessonRole`.
    #[schema(as = PersonRole)]
    Role {
        /// Manages schools, people, classrooms and the timetable.
        Administrator = "administrator",
        /// Teaches, and plans lessons of their own.
        Teacher = "teacher",
        /// Watches lessons and recordings.
        Observer = "observer",
    }
}

/// State of this feature: accounts, sessions and the sign-in limits. Clones share it.
#[derive(Clone)]
pub struct Identity {
    pub config: Arc<Config>,
    pub db: Db,
    pub hasher: Hasher,
    pub limiter: Limiter,
}

impl Identity {
    pub fn new(config: Arc<Config>, db: Db) -> Self {
        password::prepare();
        Self {
            hasher: Hasher::default(),
            limiter: Limiter::new(&config.limits),
            config,
            db,
        }
    }
}

/// Routes of sign-in, set-up and people.
pub fn routes() -> OpenApiRouter<Identity> {
    OpenApiRouter::new()
        .merge(signin::routes())
        .merge(setup::routes())
        .merge(people::routes())
        .merge(sessions::routes())
}
