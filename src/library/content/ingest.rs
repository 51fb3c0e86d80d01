//! Ingest of a stored file: the one transaction in which it becomes a resource or a new version of
//! one.

use serde::{Deserialize, Serialize};
use sqlx::{Any, Transaction};

use super::ContentStore;
use super::sniff::Sniffed;
use crate::db::millis;
use crate::error::Result;
use crate::extract::now;
use crate::identity::Role;
use crate::ids::{CollectionId, PersonId, ResourceId, SchoolId, UploadId};
use crate::library::resources::description::Description;
use crate::library::resources::description_columns::{self, json_list};
use crate::library::resources::file_name::{file_stem, sanitize_file_name};
use crate::library::resources::habits::Habits;
use crate::library::resources::suggestions;
use crate::library::{
    ResourceKind, Review, Visibility, analysis, collections, index_source, upload,
};

type Tx = Transaction<'static, Any>;

/// Content in the object store.
pub struct Content {
    pub hash: String,
    pub size_bytes: u64,
    pub sniffed: Sniffed,
}

/// File whose content is in the object store.
pub struct IncomingFile {
    pub person: PersonId,
    pub file_name: String,
    pub content: Content,
    pub options: IngestOptions,
    pub upload: Option<UploadId>,
}

/// Target and description that the uploader requested. Stored as JSON in `uploads.wish`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IngestOptions {
    /// Resource that gets a new version.
    pub resource: Option<ResourceId>,
    /// Change note of the new version.
    pub changes: String,
    /// Folder on the uploader's computer; a hint for suggestions.
    pub folder: String,
    pub collection: Option<CollectionId>,
    pub visibility: Option<Visibility>,
    pub description: Description,
}

/// Person who adds the file.
struct Contributor {
    id: PersonId,
    school: Option<SchoolId>,
    /// Their resources are published only after a review.
    needs_review: bool,
}

impl ContentStore {
    /// Returns the resource and version of the file. Repeating it for the same upload changes
    /// nothing.
    pub async fn ingest(&self, file: IncomingFile) -> Result<(ResourceId, i64)> {
        let mut tx = self.db.begin().await?;
        if let Some(id) = file.upload
            && let Some(outcome) = upload::outcome(&mut tx, id).await?
        {
            return Ok(outcome);
        }
        insert_content(&mut tx, &file.content).await?;
        let contributor = contributor(&mut tx, file.person).await?;
        let target = match file.options.resource {
            Some(id) => existing_resource(&mut tx, id).await?,
            None => None,
        };
        let outcome = match target {
            Some(resource) => add_version(&mut tx, &contributor, resource, &file).await?,
            None => add_resource(&mut tx, &contributor, &file).await?,
        };
        index_source::enqueue(&mut tx, outcome.0).await?;
        if let Some(collection) = file.options.collection {
            collections::append(&mut tx, collection, outcome.0).await?;
        }
        let Content { hash, sniffed, .. } = &file.content;
        analysis::submit_analysis(&self.jobs, &mut tx, hash, file.person).await?;
        analysis::submit_text_extraction(&self.jobs, &mut tx, hash, sniffed.kind, file.person)
            .await?;
        if let Some(id) = file.upload {
            upload::record_outcome(&mut tx, id, outcome).await?;
        }
        tx.commit().await?;
        self.jobs.wake();
        Ok(outcome)
    }
}

async fn insert_content(tx: &mut Tx, content: &Content) -> Result<()> {
    sqlx::query(
        "INSERT INTO blobs (hash, size_bytes, type, mime, state, facts, pages, created_at)
         VALUES ($1, $2, $3, $4, 'waiting', '{}', 0, $5) ON CONFLICT (hash) DO UPDATE SET unused_since = NULL",
    )
    .bind(&content.hash)
    .bind(content.size_bytes as i64)
    .bind(content.sniffed.kind)
    .bind(content.sniffed.mime)
    .bind(millis(now()))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn contributor(tx: &mut Tx, id: PersonId) -> Result<Contributor> {
    let (school, role, reviews, reviewer): (Option<SchoolId>, Role, i64, i64) = sqlx::query_as(
        "SELECT p.school_id, p.role,
                (SELECT COUNT(*) FROM library_schools l WHERE l.school_id = p.school_id AND l.reviews = 1),
                (SELECT COUNT(*) FROM library_reviewers w WHERE w.school_id = p.school_id AND w.person_id = p.id)
         FROM people p WHERE p.id = $1",
    )
    .bind(id)
    .fetch_one(&mut **tx)
    .await?;
    Ok(Contributor {
        id,
        school,
        needs_review: reviews > 0 && reviewer == 0 && role != Role::Administrator,
    })
}

/// Resource that gets a new version.
struct ExistingResource {
    id: ResourceId,
    latest: i64,
    hash: String,
    asked_visibility: Visibility,
    owner: PersonId,
}

/// Returns `None` if the resource was removed during the upload; the file then becomes a new
/// resource instead of being lost.
async fn existing_resource(tx: &mut Tx, id: ResourceId) -> Result<Option<ExistingResource>> {
    let row: Option<(i64, String, Visibility, PersonId)> = sqlx::query_as(
        "SELECT r.latest, v.hash, r.asked_visibility, r.owner_id FROM resources r
         JOIN resource_versions v ON v.resource_id = r.id AND v.number = r.latest
         WHERE r.id = $1 AND r.removed_at IS NULL",
    )
    .bind(id)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(
        row.map(|(latest, hash, asked_visibility, owner)| ExistingResource {
            id,
            latest,
            hash,
            asked_visibility,
            owner,
        }),
    )
}

async fn add_version(
    tx: &mut Tx,
    contributor: &Contributor,
    resource: ExistingResource,
    file: &IncomingFile,
) -> Result<(ResourceId, i64)> {
    if resource.hash == file.content.hash {
        return Ok((resource.id, resource.latest));
    }
    let number = resource.latest + 1;
    insert_version(tx, contributor, resource.id, number, file).await?;
    let is_pending = contributor.needs_review
        && contributor.id == resource.owner
        && resource.asked_visibility != Visibility::Private;
    sqlx::query(
        "UPDATE resources SET latest = $2, published = CASE WHEN $3 = 1 THEN published ELSE $2 END,
            review = CASE WHEN $3 = 1 THEN 'pending' ELSE review END, updated_at = $4 WHERE id = $1",
    )
    .bind(resource.id)
    .bind(number)
    .bind(i64::from(is_pending))
    .bind(millis(now()))
    .execute(&mut **tx)
    .await?;
    Ok((resource.id, number))
}

async fn insert_version(
    tx: &mut Tx,
    contributor: &Contributor,
    id: ResourceId,
    number: i64,
    file: &IncomingFile,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO resource_versions (resource_id, number, hash, file_name, folder, changes, person_id, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(id)
    .bind(number)
    .bind(&file.content.hash)
    .bind(sanitize_file_name(&file.file_name))
    .bind(&file.options.folder)
    .bind(&file.options.changes)
    .bind(contributor.id)
    .bind(millis(now()))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn add_resource(
    tx: &mut Tx,
    contributor: &Contributor,
    file: &IncomingFile,
) -> Result<(ResourceId, i64)> {
    let id = ResourceId::fresh();
    let (description, suggested) = completed_description(tx, contributor, file).await?;
    let asked = file.options.visibility.unwrap_or(match contributor.school {
        Some(_) => Visibility::School,
        None => Visibility::County,
    });
    let is_pending = contributor.needs_review && asked != Visibility::Private;
    let statement = format!(
        "INSERT INTO resources (id, owner_id, school_id, suggested, visibility, asked_visibility, review, review_note, latest,
            published, uses, rating_sum, ratings, comments, created_at, updated_at, {})
         VALUES ($1, $2, $3, $4, $5, $6, $7, '', 1, $8, 0, 0, 0, 0, $9, $9,
            $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)",
        description_columns::names()
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(id)
        .bind(contributor.id)
        .bind(contributor.school)
        .bind(json_list(&suggested)?)
        .bind(if is_pending {
            Visibility::Private
        } else {
            asked
        })
        .bind(asked)
        .bind(if is_pending {
            Review::Pending
        } else {
            Review::None
        })
        .bind(i64::from(!is_pending))
        .bind(millis(now()));
    description_columns::bind(query, &description)?
        .execute(&mut **tx)
        .await?;
    insert_version(tx, contributor, id, 1, file).await?;
    Ok((id, 1))
}

/// Returns the given description with suggestions in its empty fields, and the names of the
/// suggested fields.
async fn completed_description(
    tx: &mut Tx,
    contributor: &Contributor,
    file: &IncomingFile,
) -> Result<(Description, Vec<&'static str>)> {
    let given = file.options.description.clone();
    let hints = suggestions::Hints {
        name: file_stem(&file.file_name),
        folder: &file.options.folder,
        file_type: file.content.sniffed.kind,
        text: "",
    };
    let habits = Habits::load(tx, contributor.id).await?;
    let suggestion = suggestions::suggest(&hints, &habits);
    let mut suggested = suggestions::suggested_fields(&given, &suggestion);
    // Sniffing does not recognise old office formats, so the analysis may still suggest the type.
    if given.kind.is_none() && !suggested.contains(&"type") {
        suggested.push("type");
    }
    let text = |given: Option<String>, suggestion: Option<String>| {
        Some(given.or(suggestion).unwrap_or_default())
    };
    let description = Description {
        title: Some(
            given
                .title
                .unwrap_or_else(|| file_stem(&file.file_name).to_owned()),
        ),
        description: text(given.description, None),
        kind: Some(
            given
                .kind
                .or(suggestion.kind)
                .unwrap_or(ResourceKind::Other),
        ),
        stage: text(given.stage, suggestion.stage),
        grade: text(given.grade, suggestion.grade),
        subject: text(given.subject, suggestion.subject),
        edition: text(given.edition, suggestion.edition),
        volume: text(given.volume, suggestion.volume),
        unit: text(given.unit, suggestion.unit),
        period: text(given.period, suggestion.period),
        keywords: Some(given.keywords.or(suggestion.keywords).unwrap_or_default()),
        licence: text(given.licence, None),
        source: text(given.source, None),
    };
    Ok((description, suggested))
}
