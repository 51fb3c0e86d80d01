//! Catalogue writer: one task that writes the updates of all recorder threads in order.
//!
//! It batches updates into transactions and retries while the database is unavailable. Updates that
//! are lost with the process are recovered from the spool ([`super::recovery`]).

use std::time::Duration;

use sqlx::{Any, Transaction};
use tokio::sync::{mpsc, oneshot};

use super::catalogue::{Codec, MediaKind};
use super::spool::LayerKey;
use crate::bus::{ParticipantRef, Purpose};
use crate::db::{Db, DbError};
use crate::ids::{LessonId, TrackKey};
use crate::timetable::RecordingState;

/// Time during which updates are batched into one transaction; each commit costs an fsync.
const BATCH_INTERVAL: Duration = Duration::from_millis(250);
/// Maximum updates per transaction.
const MAX_BATCH: usize = 500;
/// Pause between attempts while the database is unavailable.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Idempotent update of the catalogue.
#[derive(Debug)]
pub enum CatalogueUpdate {
    /// Start of a recording.
    Begin {
        lesson: LessonId,
        /// Milliseconds since 1970.
        started_at: i64,
    },
    Track(NewTrack),
    Init {
        layer_key: LayerKey,
        init: NewInit,
    },
    Segment {
        layer_key: LayerKey,
        segment: NewSegment,
    },
    Gap {
        layer_key: LayerKey,
        from_ms: i64,
        to_ms: i64,
    },
    TrackEnd {
        track: TrackKey,
        to_ms: i64,
    },
    Event {
        lesson: LessonId,
        number: i64,
        at_ms: i64,
        kind: String,
        body: String,
    },
    /// End of a recording; `written` is signalled after the commit.
    End {
        lesson: LessonId,
        state: RecordingState,
        duration_ms: i64,
        written: oneshot::Sender<()>,
    },
}

/// Row of a track; also its `track.json` in the spool.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct NewTrack {
    pub id: TrackKey,
    pub lesson: LessonId,
    /// Start of the lesson in milliseconds since 1970.
    pub lesson_started_at: i64,
    pub participant: Participant,
    pub purpose: Purpose,
    pub kind: MediaKind,
    pub codec: Codec,
    pub from_ms: i64,
}

/// [`ParticipantRef`] as stored in `track.json`.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Participant {
    pub id: uuid::Uuid,
    pub name: String,
    pub kind: crate::bus::ParticipantKind,
}

impl From<ParticipantRef> for Participant {
    fn from(participant: ParticipantRef) -> Participant {
        Participant {
            id: participant.id,
            name: participant.name,
            kind: participant.kind,
        }
    }
}

/// Row of an initialization segment; also its JSON in the spool.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct NewInit {
    pub number: u32,
    pub codec: String,
    pub width: u16,
    pub height: u16,
    pub playable: bool,
}

/// Row of a media segment.
#[derive(Clone, Copy, Debug)]
pub struct NewSegment {
    pub number: u32,
    pub init: u32,
    pub start_us: i64,
    pub duration_us: i64,
    pub size_bytes: i64,
    pub keyframe: bool,
}

/// Writes updates until all senders are dropped.
pub async fn run(db: Db, mut updates: mpsc::UnboundedReceiver<CatalogueUpdate>) {
    let mut batch = Vec::new();
    while updates.recv_many(&mut batch, MAX_BATCH).await > 0 {
        while let Err(error) = write(&db, &batch).await {
            tracing::warn!(%error, updates = batch.len(), "the catalogue cannot be written; retrying");
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
        let mut ended = false;
        for update in batch.drain(..) {
            if let CatalogueUpdate::End { written, .. } = update {
                ended = true;
                // At shutdown the receiver may be dropped.
                let _ = written.send(());
            }
        }
        if !ended {
            tokio::time::sleep(BATCH_INTERVAL).await;
        }
    }
}

/// Writes the updates in one transaction.
pub async fn write(db: &Db, updates: &[CatalogueUpdate]) -> Result<(), DbError> {
    let mut transaction = db.begin().await?;
    for update in updates {
        write_one(&mut transaction, update).await?;
    }
    transaction.commit().await
}

async fn write_one(
    transaction: &mut Transaction<'static, Any>,
    update: &CatalogueUpdate,
) -> Result<(), DbError> {
    let query = match update {
        CatalogueUpdate::Begin { lesson, started_at } => sqlx::query(
            "INSERT INTO recordings (lesson_id, state, started_at, duration_ms, has_poster, has_voices, mp4_bytes)
             VALUES ($1, 'recording', $2, NULL, 0, 0, NULL) ON CONFLICT (lesson_id) DO NOTHING",
        )
        .bind(*lesson)
        .bind(*started_at),
        CatalogueUpdate::Track(track) => sqlx::query(
            "INSERT INTO recording_tracks (id, lesson_id, participant_id, participant_name, participant_kind, purpose, kind, codec, from_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING",
        )
        .bind(track.id)
        .bind(track.lesson)
        .bind(track.participant.id.to_string())
        .bind(&track.participant.name)
        .bind(track.participant.kind)
        .bind(track.purpose)
        .bind(track.kind)
        .bind(track.codec)
        .bind(track.from_ms),
        CatalogueUpdate::Init { layer_key, init } => sqlx::query(
            "INSERT INTO recording_inits (track_id, layer, number, codec, width, height, playable, stored)
             VALUES ($1, $2, $3, $4, $5, $6, $7, 0) ON CONFLICT (track_id, layer, number) DO NOTHING",
        )
        .bind(layer_key.track)
        .bind(i64::from(layer_key.layer))
        .bind(i64::from(init.number))
        .bind(&init.codec)
        .bind(i64::from(init.width))
        .bind(i64::from(init.height))
        .bind(i64::from(init.playable)),
        CatalogueUpdate::Segment { layer_key, segment } => sqlx::query(
            "INSERT INTO recording_segments (track_id, layer, number, init, start_us, duration_us, size_bytes, keyframe, stored)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0) ON CONFLICT (track_id, layer, number) DO NOTHING",
        )
        .bind(layer_key.track)
        .bind(i64::from(layer_key.layer))
        .bind(i64::from(segment.number))
        .bind(i64::from(segment.init))
        .bind(segment.start_us)
        .bind(segment.duration_us)
        .bind(segment.size_bytes)
        .bind(i64::from(segment.keyframe)),
        CatalogueUpdate::Gap { layer_key, from_ms, to_ms } => sqlx::query(
            "INSERT INTO recording_gaps (track_id, layer, from_ms, to_ms) VALUES ($1, $2, $3, $4)
             ON CONFLICT (track_id, layer, from_ms) DO NOTHING",
        )
        .bind(layer_key.track)
        .bind(i64::from(layer_key.layer))
        .bind(*from_ms)
        .bind(*to_ms),
        CatalogueUpdate::TrackEnd { track, to_ms } => {
            sqlx::query("UPDATE recording_tracks SET to_ms = $2 WHERE id = $1 AND to_ms IS NULL").bind(*track).bind(*to_ms)
        }
        CatalogueUpdate::Event { lesson, number, at_ms, kind, body } => sqlx::query(
            "INSERT INTO timeline_events (lesson_id, number, at_ms, kind, body) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (lesson_id, number) DO NOTHING",
        )
        .bind(*lesson)
        .bind(*number)
        .bind(*at_ms)
        .bind(kind)
        .bind(body),
        CatalogueUpdate::End { lesson, state, duration_ms, .. } => {
            sqlx::query("UPDATE recordings SET state = $2, duration_ms = $3 WHERE lesson_id = $1 AND duration_ms IS NULL")
                .bind(*lesson)
                .bind(*state)
                .bind(*duration_ms)
        }
    };
    query.execute(&mut **transaction).await.map(drop)
}
