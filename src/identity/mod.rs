//! Who is asking: people with passwords, classrooms with passes, and the sessions of both.

mod actor;
mod known;
mod limiter;
mod password;
mod people;
pub mod secret;
pub mod session;
mod setup;
mod signin;
#[cfg(test)]
mod tests;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::config::Limits;

pub use actor::{Actor, SchoolRef};
pub use known::{ids_after, known};
pub use limiter::Limiter;
pub use password::Hasher;
pub use people::{NewPerson, add_person};
pub use setup::{administrator_exists, fresh_link};

crate::string_enum! {
    /// What a person may do in the house. What they may do in a lesson is [`crate::timetable::LessonRole`].
    Role {
        /// Runs the house: schools, people, rooms, timetable.
        Administrator = "administrator",
        /// Teaches, and plans lessons of their own.
        Teacher = "teacher",
        /// Watches lessons and recordings.
        Observer = "observer",
    }
}

/// What signing in needs in memory. Cloning shares it.
#[derive(Clone)]
pub struct Identity {
    pub hasher: Hasher,
    pub limiter: Limiter,
}

impl Identity {
    pub fn new(limits: &Limits) -> Self {
        password::prepare();
        Self {
            hasher: Hasher::default(),
            limiter: Limiter::new(limits),
        }
    }
}

/// Sign-in, set-up and people.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(signin::routes())
        .merge(setup::routes())
        .merge(people::routes())
}
