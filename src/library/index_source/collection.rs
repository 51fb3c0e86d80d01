//! Search document of a collection.

use futures_util::future::BoxFuture;
use tongke_search::Document;
use uuid::Uuid;

use super::{acl_groups, ids};
use crate::db::Db;
use crate::error::Result;
use crate::ids::{CollectionId, CommunityId, PersonId, SchoolId};
use crate::index_queue::Source;
use crate::library::Visibility;

/// Collections as documents of the search index.
pub struct Collections(pub Db);

#[derive(sqlx::FromRow)]
struct CollectionRow {
    title: String,
    description: String,
    owner_id: PersonId,
    owner_name: String,
    school_id: Option<SchoolId>,
    school_name: Option<String>,
    community_id: Option<CommunityId>,
    visibility: Visibility,
    created_at: i64,
    updated_at: i64,
}

impl Source for Collections {
    /// Omits the collection's resources, which not every reader of the collection may see.
    fn document(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Document>>> {
        Box::pin(async move {
            let row: Option<CollectionRow> = sqlx::query_as(
                "SELECT c.title, c.description, c.owner_id, p.name AS owner_name, c.school_id, s.name AS school_name,
                    s.community_id, c.visibility, c.created_at, c.updated_at
                 FROM collections c JOIN people p ON p.id = c.owner_id LEFT JOIN schools s ON s.id = c.school_id
                 WHERE c.id = $1 AND c.removed_at IS NULL",
            )
            .bind(CollectionId(id))
            .fetch_optional(self.0.pool())
            .await?;
            Ok(row.map(|row| Document {
                acl: acl_groups(
                    row.owner_id,
                    row.school_id,
                    row.community_id,
                    row.visibility,
                    true,
                ),
                title: row.title,
                body: row.description,
                author: Some(row.owner_name),
                author_id: Some(row.owner_id.0),
                school: row.school_name,
                school_id: row.school_id.map(|school| school.0),
                keywords: vec!["合集".into()],
                created_at: row.created_at,
                updated_at: row.updated_at,
                ..Document::default()
            }))
        })
    }

    fn ids(&self, after: Option<Uuid>, most: u32) -> BoxFuture<'_, Result<Vec<Uuid>>> {
        Box::pin(async move { Ok(ids(&self.0, "collections", after, most).await?) })
    }
}
