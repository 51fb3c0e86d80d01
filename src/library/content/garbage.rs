//! Removes for good what was taken off the shelf long ago, and content that nothing has any more.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::db::{DbError, millis};
use crate::library::analysis::facts::{Facts, Media, Plays};
use crate::library::analysis::{IMAGE, POSTER, PageSize, RENDITION, SHEETS};
use crate::library::content::ingest::Shelf;
use crate::storage::{Key, StorageError};

/// How often it is looked for.
const EVERY: Duration = Duration::from_secs(3600);
/// Content goes this long after its last version, and its last lesson.
const UNUSED_FOR: SignedDuration = SignedDuration::from_hours(24);

#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    #[error("the database: {0}")]
    Db(#[from] DbError),
    #[error("the store: {0}")]
    Storage(#[from] StorageError),
}

impl Shelf {
    /// Sweeps as long as the server runs.
    pub async fn keep_tidy(self, removed_keep_days: u32) {
        loop {
            if let Err(error) = self.sweep(Timestamp::now(), removed_keep_days).await {
                tracing::warn!(%error, "the library could not be swept; trying again");
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Rows first, bytes after: a crash between the two leaves bytes that nobody sees, and they are taken over if the same content comes
    /// again.
    pub(in crate::library) async fn sweep(
        &self,
        now: Timestamp,
        removed_keep_days: u32,
    ) -> Result<(), SweepError> {
        let before = now - SignedDuration::from_hours(24 * i64::from(removed_keep_days));
        sqlx::query("DELETE FROM resources WHERE removed_at <= $1")
            .bind(millis(before))
            .execute(self.db.pool())
            .await?;
        sqlx::query(
            "UPDATE blobs SET unused_since = $1 WHERE unused_since IS NULL
                AND NOT EXISTS (SELECT 1 FROM resource_versions v WHERE v.hash = blobs.hash)
                AND NOT EXISTS (SELECT 1 FROM lesson_decks d WHERE d.hash = blobs.hash)",
        )
        .bind(millis(now))
        .execute(self.db.pool())
        .await?;
        let unused: Vec<(String, i64, String)> =
            sqlx::query_as("SELECT hash, pages, facts FROM blobs WHERE unused_since <= $1 ORDER BY hash LIMIT 1000")
                .bind(millis(now - UNUSED_FOR))
                .fetch_all(self.db.pool())
                .await?;
        for (hash, pages, facts) in unused {
            self.remove_content(&hash, pages, &Facts::of(&facts))
                .await?;
        }
        Ok(())
    }

    async fn remove_content(
        &self,
        hash: &str,
        pages: i64,
        facts: &Facts,
    ) -> Result<(), SweepError> {
        // Nothing arrives meanwhile; an upload that waits here stores its bytes anew.
        let _nobody = self.content.write().await;
        let removed = sqlx::query(
            "DELETE FROM blobs WHERE hash = $1 AND unused_since IS NOT NULL
                AND NOT EXISTS (SELECT 1 FROM resource_versions v WHERE v.hash = blobs.hash)
                AND NOT EXISTS (SELECT 1 FROM lesson_decks d WHERE d.hash = blobs.hash)",
        )
        .bind(hash)
        .execute(self.db.pool())
        .await?;
        if removed.rows_affected() == 0 {
            return Ok(());
        }
        for kind in ["words", "understand", "playable"] {
            self.jobs.remove(&format!("{kind}:{hash}")).await?;
        }
        for name in names(pages, facts) {
            self.storage.remove(&Key::derived(hash, &name)).await?;
        }
        self.storage.remove(&Key::blob(hash)).await?;
        Ok(())
    }
}

/// What was made of a content.
fn names(pages: i64, facts: &Facts) -> Vec<String> {
    let mut names: Vec<String> = (1..=pages)
        .flat_map(|n| [PageSize::Large.name(n), PageSize::Small.name(n)])
        .collect();
    names.extend(
        facts
            .picture
            .as_ref()
            .and_then(|picture| picture.mime.as_ref())
            .map(|_| IMAGE.to_owned()),
    );
    names.extend((facts.sheets > 0).then(|| SHEETS.to_owned()));
    if let Some(Media {
        has_poster, plays, ..
    }) = &facts.media
    {
        names.extend(has_poster.then(|| POSTER.to_owned()));
        names.extend((*plays == Some(Plays::Rendition)).then(|| RENDITION.to_owned()));
    }
    names
}
