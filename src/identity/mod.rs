//! Who is asking: people with passwords, classrooms with passes, and the sessions of both.

mod actor;

pub use actor::{Actor, Classroom, Person, SchoolRef};

crate::id! {
    PersonId
}

crate::words! {
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
