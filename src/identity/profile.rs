//! Public profile of a person: name and school, without credentials.

use jiff::Timestamp;

use crate::db::{Db, DbError, time};
use crate::ids::{PersonId, SchoolId};

use super::SchoolRef;

/// Public profile of a person.
#[derive(Clone, Debug)]
pub struct Profile {
    pub name: String,
    pub school: Option<SchoolRef>,
    pub created_at: Timestamp,
}

/// Returns a profile; `None` after the person was removed.
pub async fn profile(db: &Db, id: PersonId) -> Result<Option<Profile>, DbError> {
    let row: Option<(String, Option<SchoolId>, Option<String>, i64)> = sqlx::query_as(
        "SELECT p.name, p.school_id, o.name, p.created_at FROM people p LEFT JOIN schools o ON o.id = p.school_id
         WHERE p.id = $1 AND p.removed_at IS NULL",
    )
    .bind(id)
    .fetch_optional(db.pool())
    .await?;
    Ok(row.map(|(name, school, school_name, created_at)| Profile {
        name,
        school: school
            .zip(school_name)
            .map(|(id, name)| SchoolRef { id, name }),
        created_at: time(created_at),
    }))
}
