//! Puts content on the shelf: the one transaction in which a file becomes a resource or a version of one.

use std::sync::Arc;

use sqlx::{Any, Transaction};
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use crate::db::{Db, millis};
use crate::error::{Error, Result};
use crate::extract::now;
use crate::identity::Role;
use crate::ids::{PersonId, ResourceId, SchoolId, UploadId};
use crate::jobs::Jobs;
use crate::library::analysis;
use crate::library::content::sniff::Sniffed;
use crate::library::index_source;
use crate::library::resources::description::{Description, file_name, stem};
use crate::library::resources::suggestions;
use crate::library::upload::Wish;
use crate::library::{ResourceKind, Review, Visibility};
use crate::storage::Storage;

type Tx = Transaction<'static, Any>;

/// The shelf's contents and entries. Cloning shares it.
#[derive(Clone)]
pub struct Shelf {
    pub(in crate::library) db: Db,
    pub(in crate::library) storage: Storage,
    pub(in crate::library) jobs: Jobs,
    /// Read while content is stored and gets its row, written while content without rows is removed.
    pub(in crate::library) content: Arc<RwLock<()>>,
}

/// Content in the object store.
pub struct Content {
    pub hash: String,
    pub size_bytes: u64,
    pub sniffed: Sniffed,
}

/// A file that has come.
pub struct Arrival {
    pub person: PersonId,
    pub file_name: String,
    pub content: Content,
    pub wish: Wish,
    pub upload: Option<UploadId>,
}

/// Who puts it there.
struct Giver {
    id: PersonId,
    school: Option<SchoolId>,
    /// Others see what they give only after a review.
    reviewed: bool,
}

impl Shelf {
    pub fn new(db: Db, storage: Storage, jobs: Jobs) -> Shelf {
        Shelf {
            db,
            storage,
            jobs,
            content: Arc::default(),
        }
    }

    /// While this is held, no content is removed from the store.
    pub async fn keep_content(&self) -> OwnedRwLockReadGuard<()> {
        self.content.clone().read_owned().await
    }

    /// The resource and version that the file became. Repeating it for the same upload changes nothing.
    pub async fn arrive(&self, arrival: Arrival) -> Result<(ResourceId, i64)> {
        let mut tx = self.db.begin().await?;
        if let Some(upload) = arrival.upload
            && let Some(outcome) = outcome_of(&mut tx, upload).await?
        {
            return Ok(outcome);
        }
        add_content(&mut tx, &arrival.content).await?;
        let giver = giver(&mut tx, arrival.person).await?;
        let target = match arrival.wish.resource {
            Some(id) => present(&mut tx, id).await?,
            None => None,
        };
        let outcome = match target {
            Some(present) => add_version(&mut tx, &giver, present, &arrival).await?,
            None => add_resource(&mut tx, &giver, &arrival).await?,
        };
        index_source::mark(&mut tx, outcome.0).await?;
        if let Some(collection) = arrival.wish.collection {
            crate::library::collections::append(&mut tx, collection, outcome.0).await?;
        }
        let Content { hash, sniffed, .. } = &arrival.content;
        analysis::order(&self.jobs, &mut tx, hash, arrival.person).await?;
        analysis::order_words(&self.jobs, &mut tx, hash, sniffed.kind, arrival.person).await?;
        if let Some(upload) = arrival.upload {
            note_outcome(&mut tx, upload, outcome).await?;
        }
        tx.commit().await?;
        self.jobs.wake();
        Ok(outcome)
    }
}

/// What the upload became, if a try before this one got so far.
async fn outcome_of(tx: &mut Tx, upload: UploadId) -> Result<Option<(ResourceId, i64)>> {
    let row: Option<(Option<ResourceId>, Option<i64>)> =
        sqlx::query_as("SELECT resource_id, version FROM uploads WHERE id = $1")
            .bind(upload)
            .fetch_optional(&mut **tx)
            .await?;
    let (resource, version) =
        row.ok_or_else(|| Error::not_found("这次上传已被取消。", "This upload was given up."))?;
    Ok(resource.zip(version))
}

async fn note_outcome(
    tx: &mut Tx,
    upload: UploadId,
    (resource, version): (ResourceId, i64),
) -> Result<()> {
    let noted = sqlx::query(
        "UPDATE uploads SET resource_id = $2, version = $3 WHERE id = $1 AND resource_id IS NULL",
    )
    .bind(upload)
    .bind(resource)
    .bind(version)
    .execute(&mut **tx)
    .await?;
    match noted.rows_affected() {
        1 => Ok(()),
        _ => Err(Error::internal("another try finished the same upload")),
    }
}

async fn add_content(tx: &mut Tx, content: &Content) -> Result<()> {
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

async fn giver(tx: &mut Tx, id: PersonId) -> Result<Giver> {
    let (school, role, reviews, reviewer): (Option<SchoolId>, Role, i64, i64) = sqlx::query_as(
        "SELECT p.school_id, p.role,
                (SELECT COUNT(*) FROM library_schools l WHERE l.school_id = p.school_id AND l.reviews = 1),
                (SELECT COUNT(*) FROM library_reviewers w WHERE w.school_id = p.school_id AND w.person_id = p.id)
         FROM people p WHERE p.id = $1",
    )
    .bind(id)
    .fetch_one(&mut **tx)
    .await?;
    Ok(Giver {
        id,
        school,
        reviewed: reviews > 0 && reviewer == 0 && role != Role::Administrator,
    })
}

/// The entry that gets a new version.
struct Present {
    id: ResourceId,
    latest: i64,
    hash: String,
    asked: Visibility,
    owner: PersonId,
}

/// `None` when it was removed meanwhile: the file is not lost, it becomes a resource of its own.
async fn present(tx: &mut Tx, id: ResourceId) -> Result<Option<Present>> {
    let row: Option<(i64, String, Visibility, PersonId)> = sqlx::query_as(
        "SELECT r.latest, v.hash, r.asked_visibility, r.owner_id FROM resources r
         JOIN resource_versions v ON v.resource_id = r.id AND v.number = r.latest
         WHERE r.id = $1 AND r.removed_at IS NULL",
    )
    .bind(id)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|(latest, hash, asked, owner)| Present {
        id,
        latest,
        hash,
        asked,
        owner,
    }))
}

async fn add_version(
    tx: &mut Tx,
    giver: &Giver,
    present: Present,
    arrival: &Arrival,
) -> Result<(ResourceId, i64)> {
    if present.hash == arrival.content.hash {
        // Nothing changed.
        return Ok((present.id, present.latest));
    }
    let number = present.latest + 1;
    insert_version(tx, giver, present.id, number, arrival).await?;
    let waits = giver.reviewed && giver.id == present.owner && present.asked != Visibility::Private;
    sqlx::query(
        "UPDATE resources SET latest = $2, published = CASE WHEN $3 = 1 THEN published ELSE $2 END,
            review = CASE WHEN $3 = 1 THEN 'pending' ELSE review END, updated_at = $4 WHERE id = $1",
    )
    .bind(present.id)
    .bind(number)
    .bind(i64::from(waits))
    .bind(millis(now()))
    .execute(&mut **tx)
    .await?;
    Ok((present.id, number))
}

async fn insert_version(
    tx: &mut Tx,
    giver: &Giver,
    id: ResourceId,
    number: i64,
    arrival: &Arrival,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO resource_versions (resource_id, number, hash, file_name, folder, changes, person_id, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(id)
    .bind(number)
    .bind(&arrival.content.hash)
    .bind(file_name(&arrival.file_name))
    .bind(&arrival.wish.folder)
    .bind(&arrival.wish.changes)
    .bind(giver.id)
    .bind(millis(now()))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn add_resource(tx: &mut Tx, giver: &Giver, arrival: &Arrival) -> Result<(ResourceId, i64)> {
    let id = ResourceId::fresh();
    let said = &arrival.wish.description;
    let hints = suggestions::Hints {
        name: stem(&arrival.file_name),
        folder: &arrival.wish.folder,
        file_type: arrival.content.sniffed.kind,
        text: "",
    };
    let habits = suggestions::Habits::of(tx, giver.id).await?;
    let guess = suggestions::suggest(&hints, &habits);
    let mut suggested = suggestions::filled(said, &guess);
    // What an old office file is for is known when it has been read.
    if said.kind.is_none() && !suggested.contains(&"type") {
        suggested.push("type");
    }
    let asked = arrival.wish.visibility.unwrap_or(match giver.school {
        Some(_) => Visibility::School,
        None => Visibility::County,
    });
    let waits = giver.reviewed && asked != Visibility::Private;
    let text = |said: &Option<String>, guess: &Option<String>| {
        said.clone().or_else(|| guess.clone()).unwrap_or_default()
    };
    let Description {
        title,
        description,
        kind,
        keywords,
        licence,
        source,
        ..
    } = said;
    let time = millis(now());
    sqlx::query(
        "INSERT INTO resources (id, owner_id, school_id, title, description, kind, stage, grade, subject, edition, volume, unit,
            period, keywords, suggested, licence, source, visibility, asked_visibility, review, review_note, latest, published,
            uses, rating_sum, ratings, comments, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, '', 1, $21,
            0, 0, 0, 0, $22, $22)",
    )
    .bind(id)
    .bind(giver.id)
    .bind(giver.school)
    .bind(title.clone().unwrap_or_else(|| stem(&arrival.file_name).to_owned()))
    .bind(description.clone().unwrap_or_default())
    .bind(kind.or(guess.kind).unwrap_or(ResourceKind::Other))
    .bind(text(&said.stage, &guess.stage))
    .bind(text(&said.grade, &guess.grade))
    .bind(text(&said.subject, &guess.subject))
    .bind(text(&said.edition, &guess.edition))
    .bind(text(&said.volume, &guess.volume))
    .bind(text(&said.unit, &guess.unit))
    .bind(text(&said.period, &guess.period))
    .bind(json(keywords.as_ref().or(guess.keywords.as_ref()).unwrap_or(&Vec::new()))?)
    .bind(json(&suggested)?)
    .bind(licence.clone().unwrap_or_default())
    .bind(source.clone().unwrap_or_default())
    .bind(if waits { Visibility::Private } else { asked })
    .bind(asked)
    .bind(if waits { Review::Pending } else { Review::None })
    .bind(i64::from(!waits))
    .bind(time)
    .execute(&mut **tx)
    .await?;
    insert_version(tx, giver, id, 1, arrival).await?;
    Ok((id, 1))
}

/// A list as a column keeps it.
pub fn json<T: serde::Serialize>(list: &[T]) -> Result<String> {
    serde_json::to_string(list).map_err(Error::internal)
}

/// Something of a resource changed that lists show or people search for.
pub async fn changed(tx: &mut Tx, id: ResourceId) -> Result<()> {
    sqlx::query("UPDATE resources SET updated_at = $2 WHERE id = $1")
        .bind(id)
        .bind(millis(now()))
        .execute(&mut **tx)
        .await?;
    index_source::mark(tx, id).await?;
    Ok(())
}
