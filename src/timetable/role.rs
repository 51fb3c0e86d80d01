//! Role of a person or device in a lesson. Every right in a lesson follows from it.

use crate::db::{Db, DbError};
use crate::identity::{Actor, Role};
use crate::ids::LessonId;

crate::string_enum! {
    /// Role in a lesson, or none.
    LessonRole {
        Lead = "lead",
        Assistant = "assistant",
        /// The classroom that the lead teaches from.
        LeadRoom = "lead_room",
        Listening = "listening",
        Observer = "observer",
        None = "none",
    }
}

/// Returns the role of `actor` in the lesson; `None` if the lesson does not exist or `actor` has no
/// part in it. Administrators and observers of the installation observe every lesson in which they
/// have no other role.
pub async fn role_in(db: &Db, lesson: LessonId, actor: &Actor) -> Result<LessonRole, DbError> {
    let found: Option<(i64,)> = match actor {
        Actor::Person(person) => {
            sqlx::query_as(
                "SELECT CASE WHEN l.lead_id = $2 THEN 1
                             WHEN EXISTS (SELECT 1 FROM lesson_assistants a WHERE a.lesson_id = l.id AND a.person_id = $2) THEN 2
                             ELSE 0 END
                 FROM lessons l WHERE l.id = $1",
            )
            .bind(lesson)
            .bind(person.id)
            .fetch_optional(db.pool())
            .await?
        }
        Actor::Classroom(classroom) => {
            sqlx::query_as(
                "SELECT CASE WHEN l.lead_classroom_id = $2 THEN 3
                             WHEN EXISTS (SELECT 1 FROM lesson_classrooms c WHERE c.lesson_id = l.id AND c.classroom_id = $2) THEN 4
                             ELSE 0 END
                 FROM lessons l WHERE l.id = $1",
            )
            .bind(lesson)
            .bind(classroom.id)
            .fetch_optional(db.pool())
            .await?
        }
    };
    Ok(match found {
        Some((1,)) => LessonRole::Lead,
        Some((2,)) => LessonRole::Assistant,
        Some((3,)) => LessonRole::LeadRoom,
        Some((4,)) => LessonRole::Listening,
        Some(_) if observes_all(actor) => LessonRole::Observer,
        _ => LessonRole::None,
    })
}

fn observes_all(actor: &Actor) -> bool {
    matches!(actor, Actor::Person(person) if matches!(person.role, Role::Administrator | Role::Observer))
}
