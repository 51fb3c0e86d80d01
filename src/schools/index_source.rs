//! Source of schools for the search index.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tongke_search::Document;
use uuid::Uuid;

use crate::db::{Db, DbError, millis};
use crate::error;
use crate::identity::all_people;
use crate::ids::SchoolId;
use crate::index_queue::{IndexSource, Kind, Source};

use super::profile;

/// The source of schools.
pub fn index_source(db: &Db) -> IndexSource {
    (Kind::School, Arc::new(Schools(db.clone())))
}

struct Schools(Db);

impl Source for Schools {
    fn document(&self, id: Uuid) -> BoxFuture<'_, error::Result<Option<Document>>> {
        Box::pin(async move {
            let found = profile(&self.0, SchoolId(id)).await?;
            Ok(found.map(|school| Document {
                title: school.name,
                keywords: school.community.into_iter().chain(school.county).collect(),
                acl: all_people(),
                created_at: millis(school.created_at),
                updated_at: millis(school.created_at),
                ..Document::default()
            }))
        })
    }

    fn ids(&self, after: Option<Uuid>, most: u32) -> BoxFuture<'_, error::Result<Vec<Uuid>>> {
        Box::pin(async move {
            let ids = ids_after(&self.0, after.map(SchoolId), most).await?;
            Ok(ids.into_iter().map(|id| id.0).collect())
        })
    }
}

/// Returns the ids after `after` in ascending order, at most `most`.
async fn ids_after(db: &Db, after: Option<SchoolId>, most: u32) -> Result<Vec<SchoolId>, DbError> {
    let query = format!(
        "SELECT id FROM schools WHERE removed_at IS NULL AND id > $1 ORDER BY id LIMIT {most}"
    );
    let after = after.map_or(String::new(), |id| id.to_string());
    let ids: Vec<(SchoolId,)> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(after)
        .fetch_all(db.pool())
        .await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}
