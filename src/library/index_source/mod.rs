//! What of the library can be found, and by whom: the same rule as [`crate::library::access`], expressed as ACL groups of the index.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use sqlx::AnyConnection;
use uuid::Uuid;

use crate::bus::SchoolSubscriber;
use crate::db::{Db, DbError};
use crate::error::Result;
use crate::identity::Role;
use crate::ids::{CollectionId, CommunityId, PersonId, ResourceId, SchoolId};
use crate::index_queue::{self, Kind, Source};
use crate::library::{ResourceKind, Review, Visibility};
use tongke_search::{Document, Facet};

/// Resources, for the index.
pub struct Resources(pub Db);

/// Collections, for the index.
pub struct Collections(pub Db);

#[derive(sqlx::FromRow)]
struct Row {
    title: String,
    description: String,
    kind: ResourceKind,
    stage: String,
    grade: String,
    subject: String,
    edition: String,
    volume: String,
    unit: String,
    keywords: String,
    licence: String,
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
            let Some(row) = row(&self.0, ResourceId(id)).await? else {
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

/// Others see the published version; a resource without one is found by those who see its newest.
async fn row(db: &Db, id: ResourceId) -> Result<Option<Row>, DbError> {
    sqlx::query_as(
        "SELECT r.title, r.description, r.kind, r.stage, r.grade, r.subject, r.edition, r.volume, r.unit, r.keywords, r.licence,
            r.owner_id, p.name AS owner_name, r.school_id, s.name AS school_name, s.community_id, r.visibility, r.review,
            r.published, r.uses, r.rating_sum, r.ratings, r.created_at, r.updated_at, v.file_name, v.hash, b.type AS file_type,
            b.title AS file_title, b.author AS file_author
         FROM resources r JOIN people p ON p.id = r.owner_id LEFT JOIN schools s ON s.id = r.school_id
         JOIN resource_versions v ON v.resource_id = r.id
            AND v.number = CASE WHEN r.published > 0 THEN r.published ELSE r.latest END
         JOIN blobs b ON b.hash = v.hash WHERE r.id = $1 AND r.removed_at IS NULL",
    )
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

/// The next ids of a table, removed ones left out.
async fn ids(db: &Db, table: &str, after: Option<Uuid>, most: u32) -> Result<Vec<Uuid>, DbError> {
    let query = format!(
        "SELECT id FROM {table} WHERE removed_at IS NULL AND id > $1 ORDER BY id LIMIT {most}"
    );
    let rows: Vec<(ResourceId,)> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(after.map(|id| id.to_string()).unwrap_or_default())
        .fetch_all(db.pool())
        .await?;
    Ok(rows.into_iter().map(|(id,)| id.0).collect())
}

impl Row {
    fn document(self, reviewers: Vec<PersonId>, pages: Vec<String>, text: String) -> Document {
        let mut readers = groups(
            self.owner_id,
            self.school_id,
            self.community_id,
            self.visibility,
            self.published > 0,
        );
        readers.extend(
            reviewers
                .into_iter()
                .map(|reviewer| tongke_search::AclGroup::Individual(reviewer.0)),
        );
        // What stands on pages is found with its page; the whole text only where the pages do not have most of it.
        let on_pages: usize = pages.iter().map(String::len).sum();
        let body = if on_pages * 5 >= text.len() * 4 {
            self.description
        } else {
            format!("{}\n{text}", self.description)
        };
        let mut keywords: Vec<String> = serde_json::from_str(&self.keywords).unwrap_or_default();
        keywords.push(self.file_name);
        keywords.extend([self.file_title, self.file_author].into_iter().flatten());
        keywords.push(in_chinese(self.kind).into());
        let facets = [
            (Facet::Stage, self.stage),
            (Facet::Grade, self.grade),
            (Facet::Subject, self.subject),
            (Facet::Edition, self.edition),
            (Facet::Volume, self.volume),
            (Facet::Unit, self.unit),
            (Facet::ResourceType, self.kind.as_str().to_owned()),
            (Facet::Licence, self.licence),
            (Facet::FileType, self.file_type),
        ];
        Document {
            title: self.title,
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
            acl: readers,
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

/// [`crate::library::access::SEES`] in the words of the index.
fn groups(
    owner: PersonId,
    school: Option<SchoolId>,
    community: Option<CommunityId>,
    visibility: Visibility,
    published: bool,
) -> Vec<tongke_search::AclGroup> {
    let mut groups = vec![
        tongke_search::AclGroup::Individual(owner.0),
        tongke_search::AclGroup::Role(Role::Administrator.as_str().to_owned()),
    ];
    let of_school = school.map(|school| tongke_search::AclGroup::School(school.0));
    match visibility {
        _ if !published => {}
        Visibility::Private => {}
        Visibility::School => groups.extend(of_school),
        Visibility::Community => {
            groups.extend(of_school);
            groups
                .extend(community.map(|community| tongke_search::AclGroup::Community(community.0)));
        }
        Visibility::County => groups.push(tongke_search::AclGroup::County),
        Visibility::Public => groups.push(tongke_search::AclGroup::Public),
    }
    groups
}

fn in_chinese(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::Courseware => "课件",
        ResourceKind::LessonPlan => "教案",
        ResourceKind::Exercise => "习题",
        ResourceKind::MicroLesson => "微课",
        ResourceKind::Recording => "录课",
        ResourceKind::Other => "资源",
    }
}

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
    /// Without what is in it: not everybody who sees the collection sees that.
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
                acl: groups(
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

/// Something of a resource changed that people search for.
pub async fn mark(connection: &mut AnyConnection, id: ResourceId) -> Result<(), DbError> {
    index_queue::enqueue(connection, Kind::Resource, id.0).await
}

/// Fewer people may see a resource than before: until the index knows, nobody finds it.
pub async fn hide(connection: &mut AnyConnection, id: ResourceId) -> Result<(), DbError> {
    index_queue::enqueue_hidden(connection, Kind::Resource, id.0).await
}

/// A collection changed; what fewer people may see than before is hidden until the index knows.
pub async fn mark_collection(
    connection: &mut AnyConnection,
    id: CollectionId,
    narrowed: bool,
) -> Result<(), DbError> {
    match narrowed {
        true => index_queue::enqueue_hidden(connection, Kind::Collection, id.0).await,
        false => index_queue::enqueue(connection, Kind::Collection, id.0).await,
    }
}

/// Index updates of everything that a school shares with its community.
pub struct SharedWithCommunity;

impl SchoolSubscriber for SharedWithCommunity {
    /// Hides the school's resources and collections until the index has their new community.
    fn school_moved<'c>(
        &'c self,
        connection: &'c mut AnyConnection,
        school: SchoolId,
    ) -> BoxFuture<'c, Result<(), DbError>> {
        Box::pin(async move {
            let shared = "visibility = 'community'";
            for id in of_school(connection, "resources", school, shared).await? {
                index_queue::enqueue_hidden(connection, Kind::Resource, id).await?;
            }
            for id in of_school(connection, "collections", school, shared).await? {
                index_queue::enqueue_hidden(connection, Kind::Collection, id).await?;
            }
            Ok(())
        })
    }
}

/// A school has other reviewers: what waits for them is found by those.
pub async fn reviewers_changed(
    connection: &mut AnyConnection,
    school: SchoolId,
) -> Result<(), DbError> {
    for id in of_school(connection, "resources", school, "review = 'pending'").await? {
        index_queue::enqueue_hidden(connection, Kind::Resource, id).await?;
    }
    Ok(())
}

async fn of_school(
    connection: &mut AnyConnection,
    table: &str,
    school: SchoolId,
    condition: &str,
) -> Result<Vec<Uuid>, DbError> {
    let query = format!(
        "SELECT id FROM {table} WHERE school_id = $1 AND removed_at IS NULL AND {condition}"
    );
    let rows: Vec<(ResourceId,)> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(school)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|(id,)| id.0).collect())
}
