//! Queries over the link tables.

use std::collections::HashMap;

use crate::db::{Db, DbError, placeholders};
use crate::ids::{LessonId, ResourceId};
use crate::library::resources::summary::CHUNK;

crate::string_enum! {
    /// Relation of a resource and a lesson; the closest one if there are several.
    Bond {
        /// Its pages are a deck of the lesson.
        Taught = "taught",
        /// A person linked them.
        Linked = "linked",
        /// It is linked to a resource that is a deck of the lesson or linked to it.
        Beside = "beside",
    }
}

/// Tables that relate resources and lessons.
pub(super) const TAUGHT: &str = "lesson_decks";
pub(super) const LINKED: &str = "resource_lessons";
/// A good deck is used for years; only its latest lessons are listed.
const MAX_LESSONS: u32 = 100;

/// Returns the resources that are linked to one of `ids`, in the order of linking.
pub(super) async fn linked_resources(
    db: &Db,
    ids: &[ResourceId],
) -> Result<Vec<ResourceId>, DbError> {
    let mut found = Vec::new();
    for chunk in ids.chunks(CHUNK) {
        let query = format!(
            "SELECT other_id FROM resource_pairs WHERE resource_id IN ({}) ORDER BY created_at, other_id",
            placeholders(1, chunk.len())
        );
        let mut query = sqlx::query_as::<_, (ResourceId,)>(sqlx::AssertSqlSafe(query));
        for id in chunk {
            query = query.bind(id);
        }
        found.extend(
            query
                .fetch_all(db.pool())
                .await?
                .into_iter()
                .map(|(id,)| id),
        );
    }
    Ok(found)
}

/// Returns the lessons of a resource and of those linked to it, each once with its closest bond.
pub(super) async fn lessons_of(
    db: &Db,
    id: ResourceId,
    others: &[ResourceId],
) -> Result<impl Iterator<Item = (LessonId, Bond)>, DbError> {
    let mut bonds: HashMap<LessonId, Bond> = HashMap::new();
    for id in others {
        for table in [TAUGHT, LINKED] {
            bonds.extend(
                lessons_in(db, table, *id)
                    .await?
                    .into_iter()
                    .map(|lesson| (lesson, Bond::Beside)),
            );
        }
    }
    for (table, bond) in [(LINKED, Bond::Linked), (TAUGHT, Bond::Taught)] {
        bonds.extend(
            lessons_in(db, table, id)
                .await?
                .into_iter()
                .map(|lesson| (lesson, bond)),
        );
    }
    Ok(bonds.into_iter())
}

/// Returns the latest lessons of a resource.
async fn lessons_in(db: &Db, table: &str, id: ResourceId) -> Result<Vec<LessonId>, DbError> {
    let query = format!(
        "SELECT lesson_id FROM {table} WHERE resource_id = $1 ORDER BY created_at DESC, lesson_id LIMIT {MAX_LESSONS}"
    );
    let rows: Vec<(LessonId,)> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(id)
        .fetch_all(db.pool())
        .await?;
    Ok(rows.into_iter().map(|(lesson,)| lesson).collect())
}

/// Returns the resources of a lesson, in the order of linking.
pub(super) async fn resources_in(
    db: &Db,
    table: &str,
    lesson: LessonId,
) -> Result<Vec<ResourceId>, DbError> {
    let query = format!(
        "SELECT resource_id FROM {table} WHERE lesson_id = $1 ORDER BY created_at, resource_id"
    );
    let rows: Vec<(ResourceId,)> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(lesson)
        .fetch_all(db.pool())
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}
