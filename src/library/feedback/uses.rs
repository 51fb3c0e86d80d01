//! Use counts of resources.

use crate::db::{Db, millis};
use crate::error::Result;
use crate::extract::now;
use crate::ids::{PersonId, ResourceId};
use crate::library::index_source;

crate::string_enum! {
    /// Kind of use of a resource.
    UseKind { Download = "download", Lesson = "lesson" }
}

/// Counts a use by a person other than the owner, once per person and kind.
pub async fn record_use(db: &Db, id: ResourceId, person: PersonId, kind: UseKind) -> Result<()> {
    let mut tx = db.begin().await?;
    let inserted = sqlx::query(
        "INSERT INTO resource_uses (resource_id, person_id, way, first_at)
         SELECT id, $2, $3, $4 FROM resources WHERE id = $1 AND owner_id <> $2 ON CONFLICT DO NOTHING",
    )
    .bind(id)
    .bind(person)
    .bind(kind)
    .bind(millis(now()))
    .execute(&mut *tx)
    .await?;
    if inserted.rows_affected() > 0 {
        sqlx::query("UPDATE resources SET uses = uses + 1 WHERE id = $1")
            .bind(id)
            .execute(&mut *tx)
            .await?;
        index_source::enqueue(&mut tx, id).await?;
    }
    tx.commit().await?;
    Ok(())
}
