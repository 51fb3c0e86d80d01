//! The rows of what has been understood.

use sqlx::{Any, Transaction};

use super::{Findings, UnderstandError};
use crate::db::{Db, DbError};
use crate::error::{Error, Result};
use crate::ids::{PersonId, ResourceId};
use crate::library::analysis::facts::Facts;
use crate::library::content::ingest;
use crate::library::resources::description::{Description, stem};
use crate::library::resources::suggestions;

/// What a reader of cards is told of a failure at most.
const MOST_WORDS: usize = 300;

/// What the first look said a content is.
pub async fn kind(db: &Db, hash: &str) -> Result<Option<String>, DbError> {
    let row: Option<(String,)> = sqlx::query_as("SELECT type FROM blobs WHERE hash = $1")
        .bind(hash)
        .fetch_optional(db.pool())
        .await?;
    Ok(row.map(|(kind,)| kind))
}

/// The name under which a content came first: a hint, never believed.
pub async fn file_name(db: &Db, hash: &str) -> Result<String, DbError> {
    let row: Option<(String,)> = sqlx::query_as(
        "SELECT file_name FROM resource_versions WHERE hash = $1 ORDER BY created_at LIMIT 1",
    )
    .bind(hash)
    .fetch_optional(db.pool())
    .await?;
    Ok(row.map(|(name,)| name).unwrap_or_default())
}

/// Everything at once, with what it means for the resources that show this content.
pub(super) async fn write(
    tx: &mut Transaction<'static, Any>,
    hash: &str,
    found: &Findings,
) -> Result<(), UnderstandError> {
    sqlx::query(
        "UPDATE blobs SET type = $2, mime = CASE WHEN $3 = '' THEN mime ELSE $3 END, state = 'ready', problem = NULL,
            problem_text = NULL, title = $4, author = $5, facts = $6, pages = $7 WHERE hash = $1",
    )
    .bind(hash)
    .bind(&found.kind)
    .bind(&found.mime)
    .bind(&found.title)
    .bind(&found.author)
    .bind(serde_json::to_string(&found.facts).map_err(Error::internal)?)
    .bind(found.pages.len() as i64)
    .execute(&mut **tx)
    .await?;
    sqlx::query("DELETE FROM blob_pages WHERE hash = $1")
        .bind(hash)
        .execute(&mut **tx)
        .await?;
    for page in &found.pages {
        sqlx::query(
            "INSERT INTO blob_pages (hash, number, width, height, drawn, body) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(hash)
        .bind(page.number)
        .bind(page.width)
        .bind(page.height)
        .bind(i64::from(page.drawn))
        .bind(&page.text)
        .execute(&mut **tx)
        .await?;
    }
    Ok(write_text(tx, hash, found).await?)
}

/// Whether nothing but the first look is known of a content.
pub async fn is_waiting(db: &Db, hash: &str) -> Result<bool, DbError> {
    let (waiting,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM blobs WHERE hash = $1 AND state = 'waiting'")
            .bind(hash)
            .fetch_one(db.pool())
            .await?;
    Ok(waiting > 0)
}

/// What a content says, while everything else of it is not known yet. What is understood meanwhile stays as it is.
pub(super) async fn write_words(
    db: &Db,
    hash: &str,
    found: &Findings,
) -> Result<(), UnderstandError> {
    let mut tx = db.begin().await?;
    let waiting = sqlx::query(
        "UPDATE blobs SET title = $2, author = $3 WHERE hash = $1 AND state = 'waiting'",
    )
    .bind(hash)
    .bind(&found.title)
    .bind(&found.author)
    .execute(&mut *tx)
    .await?;
    if waiting.rows_affected() > 0 {
        write_text(&mut tx, hash, found).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// The text, with what it means for the resources that show this content.
async fn write_text(
    tx: &mut Transaction<'static, Any>,
    hash: &str,
    found: &Findings,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO blob_texts (hash, body) VALUES ($1, $2) ON CONFLICT (hash) DO UPDATE SET body = excluded.body",
    )
    .bind(hash)
    .bind(&found.text)
    .execute(&mut **tx)
    .await?;
    for id in showing(tx, hash).await? {
        // First, because it locks the row: what its owner says at this moment comes before or after, and is never written over.
        ingest::changed(tx, id).await?;
        refine(tx, id, found).await?;
    }
    Ok(())
}

/// Who brought a content first.
pub async fn giver(
    tx: &mut Transaction<'static, Any>,
    hash: &str,
) -> Result<Option<PersonId>, DbError> {
    let row: Option<(PersonId,)> = sqlx::query_as(
        "SELECT person_id FROM resource_versions WHERE hash = $1 ORDER BY created_at LIMIT 1",
    )
    .bind(hash)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|(person,)| person))
}

pub async fn facts(db: &Db, hash: &str) -> Result<Option<Facts>, DbError> {
    let row: Option<(String,)> = sqlx::query_as("SELECT facts FROM blobs WHERE hash = $1")
        .bind(hash)
        .fetch_optional(db.pool())
        .await?;
    Ok(row.map(|(facts,)| Facts::of(&facts)))
}

pub async fn set_facts(db: &Db, hash: &str, facts: &Facts) -> Result<()> {
    sqlx::query("UPDATE blobs SET facts = $2 WHERE hash = $1")
        .bind(hash)
        .bind(serde_json::to_string(facts).map_err(Error::internal)?)
        .execute(db.pool())
        .await?;
    Ok(())
}

/// A content that cannot be understood: its cards say why.
pub async fn fail(db: &Db, hash: &str, code: &str, why: &str) -> Result<()> {
    let mut tx = db.begin().await?;
    sqlx::query("UPDATE blobs SET state = 'failed', problem = $2, problem_text = $3, facts = $4 WHERE hash = $1")
        .bind(hash)
        .bind(code)
        .bind(why.replace('\0', "").chars().take(MOST_WORDS).collect::<String>())
        .bind(serde_json::to_string(&Facts::default()).map_err(Error::internal)?)
        .execute(&mut *tx)
        .await?;
    for id in showing(&mut tx, hash).await? {
        ingest::changed(&mut tx, id).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Forgets a failure; refuses when there is none.
pub async fn start_anew(tx: &mut Transaction<'static, Any>, hash: &str) -> Result<()> {
    let ready: (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM blobs WHERE hash = $1 AND state = 'ready'")
            .bind(hash)
            .fetch_one(&mut **tx)
            .await?;
    if ready.0 > 0 {
        return Err(Error::conflict(
            "understood",
            "这个文件已经处理完成。",
            "This file has been processed already.",
        ));
    }
    sqlx::query(
        "UPDATE blobs SET state = 'waiting', problem = NULL, problem_text = NULL WHERE hash = $1",
    )
    .bind(hash)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Resources of which a version has this content.
async fn showing(
    tx: &mut Transaction<'static, Any>,
    hash: &str,
) -> Result<Vec<ResourceId>, DbError> {
    let rows: Vec<(ResourceId,)> = sqlx::query_as(
        "SELECT DISTINCT r.id FROM resources r JOIN resource_versions v ON v.resource_id = r.id
         WHERE v.hash = $1 AND r.removed_at IS NULL",
    )
    .bind(hash)
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

#[derive(sqlx::FromRow)]
struct Suggestible {
    owner_id: PersonId,
    file_name: String,
    folder: String,
    stage: String,
    grade: String,
    subject: String,
    edition: String,
    volume: String,
    unit: String,
    period: String,
    suggested: String,
    settled: String,
}

/// Fills fields that are empty, or were only guessed before, with what the text says. What a person emptied stays empty.
async fn refine(
    tx: &mut Transaction<'static, Any>,
    id: ResourceId,
    found: &Findings,
) -> Result<()> {
    let row: Suggestible = sqlx::query_as(
        "SELECT r.owner_id, v.file_name, v.folder, r.stage, r.grade, r.subject, r.edition, r.volume, r.unit, r.period, r.suggested,
            r.settled
         FROM resources r JOIN resource_versions v ON v.resource_id = r.id AND v.number = r.latest WHERE r.id = $1",
    )
    .bind(id)
    .fetch_one(&mut **tx)
    .await?;
    let text = format!(
        "{}\n{}",
        found.title.as_deref().unwrap_or_default(),
        found.beginning()
    );
    let hints = suggestions::Hints {
        name: stem(&row.file_name),
        folder: &row.folder,
        file_type: &found.kind,
        text: &text,
    };
    let habits = suggestions::Habits::of(tx, row.owner_id).await?;
    let guess = suggestions::suggest(&hints, &habits);
    let mut suggested: Vec<String> = serde_json::from_str(&row.suggested).unwrap_or_default();
    let settled: Vec<String> = serde_json::from_str(&row.settled).unwrap_or_default();
    let mut settle = |field: &str, present: &str, guess: &Option<String>| -> String {
        let was_guessed = suggested.iter().any(|name| name == field);
        match guess {
            Some(guess)
                if was_guessed
                    || (present.is_empty() && !settled.iter().any(|name| name == field)) =>
            {
                if !was_guessed {
                    suggested.push(field.to_owned());
                }
                guess.clone()
            }
            _ => present.to_owned(),
        }
    };
    let Description {
        stage,
        grade,
        subject,
        edition,
        volume,
        unit,
        period,
        ..
    } = &guess;
    let fields = [
        settle("stage", &row.stage, stage),
        settle("grade", &row.grade, grade),
        settle("subject", &row.subject, subject),
        settle("edition", &row.edition, edition),
        settle("volume", &row.volume, volume),
        settle("unit", &row.unit, unit),
        settle("period", &row.period, period),
    ];
    let kind = guess
        .kind
        .filter(|_| suggested.iter().any(|name| name == "type"));
    let mut update = sqlx::query(
        "UPDATE resources SET stage = $2, grade = $3, subject = $4, edition = $5, volume = $6, unit = $7, period = $8,
            kind = COALESCE($9, kind), suggested = $10 WHERE id = $1",
    )
    .bind(id);
    for field in fields {
        update = update.bind(field);
    }
    update
        .bind(kind)
        .bind(ingest::json(&suggested)?)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

impl Findings {
    /// The beginning of the text, or of the first page's.
    fn beginning(&self) -> &str {
        match self.text.as_str() {
            "" => self.pages.first().map_or("", |page| &page.text),
            text => text,
        }
    }
}
