//! Search document of a resource.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use tongke_search::{AclGroup, Document, Facet};
use uuid::Uuid;

use super::{acl_groups, ids};
use crate::db::{Db, DbError};
use crate::error::Result;
use crate::ids::{CommunityId, PersonId, ResourceId, SchoolId};
use crate::index_queue::Source;
use crate::library::resources::description_columns::{self, DescriptionRow};
use crate::library::{ResourceKind, Review, Visibility};

/// Resources as documents of the search index.
pub struct Resources(pub Db);

#[derive(sqlx::FromRow)]
struct ResourceRow {
    #[sqlx(flatten)]
    fields: DescriptionRow,
    description: String,
    owner_id: PersonId,
    owner_name: String,
    school_id: Option<SchoolId>,
    school_name: Option<String>,
    community_id: Option<CommunityId>,
    visibility: Visibility,
    review: Review,
    published: i64,
    uses: i64,
    rating_sum: i64,
    ratings: i64,
    created_at: i64,
    updated_at: i64,
    file_name: String,
    hash: String,
    file_type: String,
    file_title: Option<String>,
    file_author: Option<String>,
}

impl Source for Resources {
    fn document(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Document>>> {
        Box::pin(async move {
            let Some(row) = find(&self.0, ResourceId(id)).await? else {
                return Ok(None);
            };
            let reviewers = match (row.review, row.school_id) {
                (Review::Pending, Some(school)) => reviewers(&self.0, school).await?,
                _ => Vec::new(),
            };
            let pages = pages(&self.0, &row.hash).await?;
            let text = text(&self.0, &row.hash).await?;
            Ok(Some(row.document(reviewers, pages, text)))
        })
    }

    fn ids(&self, after: Option<Uuid>, most: u32) -> BoxFuture<'_, Result<Vec<Uuid>>> {
        Box::pin(async move { Ok(ids(&self.0, "resources", after, most).await?) })
    }
}

/// Loads the published version, or the newest one if none is published.
async fn find(db: &Db, id: ResourceId) -> Result<Option<ResourceRow>, DbError> {
    let query = format!(
        "SELECT {}, r.description, r.owner_id, p.name AS owner_name, r.school_id, s.name AS school_name, s.community_id, r.visibility, r.review,
            r.published, r.uses, r.rating_sum, r.ratings, r.created_at, r.updated_at, v.file_name, v.hash, b.type AS file_type,
            b.title AS file_title, b.author AS file_author
         FROM resources r JOIN people p ON p.id = r.owner_id LEFT JOIN schools s ON s.id = r.school_id
         JOIN resource_versions v ON v.resource_id = r.id
            AND v.number = CASE WHEN r.published > 0 THEN r.published ELSE r.latest END
         JOIN blobs b ON b.hash = v.hash WHERE r.id = $1 AND r.removed_at IS NULL",
        description_columns::SELECT
    );
    sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(id)
        .fetch_optional(db.pool())
        .await
}

async fn reviewers(db: &Db, school: SchoolId) -> Result<Vec<PersonId>, DbError> {
    let rows: Vec<(PersonId,)> =
        sqlx::query_as("SELECT person_id FROM library_reviewers WHERE school_id = $1")
            .bind(school)
            .fetch_all(db.pool())
            .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

async fn pages(db: &Db, hash: &str) -> Result<Vec<String>, DbError> {
    let rows: Vec<(String,)> =
        sqlx::query_as("SELECT body FROM blob_pages WHERE hash = $1 ORDER BY number")
            .bind(hash)
            .fetch_all(db.pool())
            .await?;
    Ok(rows.into_iter().map(|(body,)| body).collect())
}

async fn text(db: &Db, hash: &str) -> Result<String, DbError> {
    let row: Option<(String,)> = sqlx::query_as("SELECT body FROM blob_texts WHERE hash = $1")
        .bind(hash)
        .fetch_optional(db.pool())
        .await?;
    Ok(row.map(|(body,)| body).unwrap_or_default())
}

impl ResourceRow {
    fn document(self, reviewers: Vec<PersonId>, pages: Vec<String>, text: String) -> Document {
        let mut groups = acl_groups(
            self.owner_id,
            self.school_id,
            self.community_id,
            self.visibility,
            self.published > 0,
        );
        groups.extend(
            reviewers
                .into_iter()
                .map(|reviewer| AclGroup::Individual(reviewer.0)),
        );
        // Text of pages is indexed per page. The full text is added only if the pages hold less
        // than 80 % of it.
        let page_bytes: usize = pages.iter().map(String::len).sum();
        let body = if page_bytes * 5 >= text.len() * 4 {
            self.description
        } else {
            format!("{}\n{text}", self.description)
        };
        let mut keywords: Vec<String> =
            serde_json::from_str(&self.fields.keywords).unwrap_or_default();
        keywords.push(self.file_name);
        keywords.extend([self.file_title, self.file_author].into_iter().flatten());
        keywords.push(chinese_name(self.fields.kind).into());
        let facets = [
            (Facet::Stage, self.fields.stage),
            (Facet::Grade, self.fields.grade),
            (Facet::Subject, self.fields.subject),
            (Facet::Edition, self.fields.edition),
            (Facet::Volume, self.fields.volume),
            (Facet::Unit, self.fields.unit),
            (Facet::ResourceType, self.fields.kind.as_str().to_owned()),
            (Facet::Licence, self.fields.licence),
            (Facet::FileType, self.file_type),
        ];
        Document {
            title: self.fields.title,
            author: Some(self.owner_name),
            author_id: Some(self.owner_id.0),
            school: self.school_name,
            school_id: self.school_id.map(|school| school.0),
            body,
            pages,
            keywords,
            facets: facets
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
                .collect::<BTreeMap<_, _>>(),
            acl: groups,
            created_at: self.created_at,
            updated_at: self.updated_at,
            uses: self.uses.max(0) as u64,
            rating: if self.ratings > 0 {
                self.rating_sum as f64 / self.ratings as f64
            } else {
                0.0
            },
        }
    }
}

fn chinese_name(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::Courseware => "课件",
        ResourceKind::LessonPlan => "教案",
        ResourceKind::Exercise => "习题",
        ResourceKind::MicroLesson => "微课",
        ResourceKind::Recording => "录课",
        ResourceKind::Other => "资源",
    }
}
