//! People as others know them: by name and school, without what concerns signing in.

use jiff::Timestamp;

use crate::db::{Db, DbError, time};
use crate::ids::{PersonId, SchoolId};

use super::SchoolRef;

/// A person as others know them.
#[derive(Clone, Debug)]
pub struct Known {
    pub name: String,
    pub school: Option<SchoolRef>,
    pub created_at: Timestamp,
}

/// One person; `None` when they were removed.
pub async fn known(db: &Db, id: PersonId) -> Result<Option<Known>, DbError> {
    let row: Option<(String, Option<SchoolId>, Option<String>, i64)> = sqlx::query_as(
        "SELECT p.name, p.school_id, o.name, p.created_at FROM people p LEFT JOIN schools o ON o.id = p.school_id
         WHERE p.id = $1 AND p.removed_at IS NULL",
    )
    .bind(id)
    .fetch_optional(db.pool())
    .await?;
    Ok(row.map(|(name, school, school_name, created_at)| Known {
        name,
        school: school
            .zip(school_name)
            .map(|(id, name)| SchoolRef { id, name }),
        created_at: time(created_at),
    }))
}
