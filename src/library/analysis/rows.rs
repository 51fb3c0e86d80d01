//! Rows of analysed content: `blobs`, `blob_pages`, `blob_texts`.

use sqlx::{Any, Transaction};

use super::facts::Facts;
use super::refine::refine_description;
use super::{Analysis, AnalysisError};
use crate::db::{Db, DbError};
use crate::error::{Error, Result};
use crate::ids::{PersonId, ResourceId};
use crate::library::resources::mark_changed;

/// Length of a stored failure message.
const MAX_MESSAGE_CHARS: usize = 300;

/// Returns the type of a content, sniffed unless it is analysed.
pub async fn kind(db: &Db, hash: &str) -> Result<Option<String>, DbError> {
    let row: Option<(String,)> = sqlx::query_as("SELECT type FROM blobs WHERE hash = $1")
        .bind(hash)
        .fetch_optional(db.pool())
        .await?;
    Ok(row.map(|(kind,)| kind))
}

/// Returns the file name of the first upload of a content; a hint, not trusted.
pub async fn file_name(db: &Db, hash: &str) -> Result<String, DbError> {
    let row: Option<(String,)> = sqlx::query_as(
        "SELECT file_name FROM resource_versions WHERE hash = $1 ORDER BY created_at LIMIT 1",
    )
    .bind(hash)
    .fetch_optional(db.pool())
    .await?;
    Ok(row.map(|(name,)| name).unwrap_or_default())
}

/// Saves a complete analysis and refines the descriptions of the resources that have the content.
pub(super) async fn save(
    tx: &mut Transaction<'static, Any>,
    hash: &str,
    analysis: &Analysis,
) -> Result<(), AnalysisError> {
    sqlx::query(
        "UPDATE blobs SET type = $2, mime = CASE WHEN $3 = '' THEN mime ELSE $3 END, state = 'ready', problem = NULL,
            problem_text = NULL, title = $4, author = $5, facts = $6, pages = $7 WHERE hash = $1",
    )
    .bind(hash)
    .bind(&analysis.kind)
    .bind(&analysis.mime)
    .bind(&analysis.title)
    .bind(&analysis.author)
    .bind(serde_json::to_string(&analysis.facts).map_err(Error::internal)?)
    .bind(analysis.pages.len() as i64)
    .execute(&mut **tx)
    .await?;
    sqlx::query("DELETE FROM blob_pages WHERE hash = $1")
        .bind(hash)
        .execute(&mut **tx)
        .await?;
    for page in &analysis.pages {
        sqlx::query(
            "INSERT INTO blob_pages (hash, number, width, height, drawn, body) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(hash)
        .bind(page.number)
        .bind(page.width)
        .bind(page.height)
        .bind(i64::from(page.is_rendered))
        .bind(&page.text)
        .execute(&mut **tx)
        .await?;
    }
    Ok(upsert_text(tx, hash, analysis).await?)
}

/// Returns true if a content is not analysed yet.
pub async fn is_waiting(db: &Db, hash: &str) -> Result<bool, DbError> {
    let (waiting,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM blobs WHERE hash = $1 AND state = 'waiting'")
            .bind(hash)
            .fetch_one(db.pool())
            .await?;
    Ok(waiting > 0)
}

/// Saves the text of a content that is not analysed yet; does nothing if the analysis finished
/// meanwhile.
pub(super) async fn save_text(
    db: &Db,
    hash: &str,
    analysis: &Analysis,
) -> Result<(), AnalysisError> {
    let mut tx = db.begin().await?;
    let updated = sqlx::query(
        "UPDATE blobs SET title = $2, author = $3 WHERE hash = $1 AND state = 'waiting'",
    )
    .bind(hash)
    .bind(&analysis.title)
    .bind(&analysis.author)
    .execute(&mut *tx)
    .await?;
    if updated.rows_affected() > 0 {
        upsert_text(&mut tx, hash, analysis).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Saves the text and refines the descriptions of the resources that have the content.
async fn upsert_text(
    tx: &mut Transaction<'static, Any>,
    hash: &str,
    analysis: &Analysis,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO blob_texts (hash, body) VALUES ($1, $2) ON CONFLICT (hash) DO UPDATE SET body = excluded.body",
    )
    .bind(hash)
    .bind(&analysis.text)
    .execute(&mut **tx)
    .await?;
    for id in resources_with(tx, hash).await? {
        // Locks the row first, so that a concurrent change by the owner is not overwritten.
        mark_changed(tx, id).await?;
        refine_description(tx, id, analysis).await?;
    }
    Ok(())
}

/// Returns the person who uploaded a content first.
pub async fn first_contributor(
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
    Ok(row.map(|(facts,)| Facts::parse(&facts)))
}

pub async fn set_facts(db: &Db, hash: &str, facts: &Facts) -> Result<()> {
    sqlx::query("UPDATE blobs SET facts = $2 WHERE hash = $1")
        .bind(hash)
        .bind(serde_json::to_string(facts).map_err(Error::internal)?)
        .execute(db.pool())
        .await?;
    Ok(())
}

/// Saves a failure with its code and message.
pub async fn save_failure(db: &Db, hash: &str, code: &str, message: &str) -> Result<()> {
    let mut tx = db.begin().await?;
    sqlx::query("UPDATE blobs SET state = 'failed', problem = $2, problem_text = $3, facts = $4 WHERE hash = $1")
        .bind(hash)
        .bind(code)
        .bind(message.replace('\0', "").chars().take(MAX_MESSAGE_CHARS).collect::<String>())
        .bind(serde_json::to_string(&Facts::default()).map_err(Error::internal)?)
        .execute(&mut *tx)
        .await?;
    for id in resources_with(&mut tx, hash).await? {
        mark_changed(&mut tx, id).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Resets a failed analysis; rejects if the content is analysed already.
pub async fn reset(tx: &mut Transaction<'static, Any>, hash: &str) -> Result<()> {
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

/// Returns the resources of which a version has the content.
async fn resources_with(
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
