//! Writes the catalogue. The recorder's threads only send notes; one task writes them down in order, several at a time, and tries again for
//! as long as the database is away. What is lost with the process is found again in the spool ([`super::recover`]).

use std::time::Duration;

use sqlx::{Any, Transaction};
use tokio::sync::{mpsc, oneshot};

use super::catalogue::{Codec, Kind};
use super::spool::Place;
use crate::bus::{ParticipantRef, Purpose};
use crate::db::{Db, DbError};
use crate::ids::{LessonId, TrackKey};
use crate::timetable::RecordingState;

/// Notes of a quarter of a second share a transaction: each costs the disk one flush.
const GATHER: Duration = Duration::from_millis(250);
/// Notes in one transaction at most.
const BATCH: usize = 500;
/// Between tries while the database is away.
const RETRY: Duration = Duration::from_secs(1);

/// Something to be written down. Every note may be written twice and counts once.
#[derive(Debug)]
pub enum Note {
    /// The lesson began, in milliseconds since 1970.
    Begin {
        lesson: LessonId,
        started_at: i64,
    },
    Track(TrackNote),
    Init {
        place: Place,
        init: InitNote,
    },
    Segment {
        place: Place,
        segment: SegmentNote,
    },
    Gap {
        place: Place,
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
    /// The lesson's recording is complete; `written` is told when the catalogue says so.
    End {
        lesson: LessonId,
        state: RecordingState,
        duration_ms: i64,
        written: oneshot::Sender<()>,
    },
}

/// A track's row; also its `track.json` in the spool.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct TrackNote {
    pub id: TrackKey,
    pub lesson: LessonId,
    /// When the lesson began, in milliseconds since 1970.
    pub lesson_started_at: i64,
    pub participant: Participant,
    pub purpose: Purpose,
    pub kind: Kind,
    pub codec: Codec,
    pub from_ms: i64,
}

/// [`ParticipantRef`] as it is written down.
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

/// An init part's row; also its JSON in the spool.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct InitNote {
    pub number: u32,
    pub codec: String,
    pub width: u16,
    pub height: u16,
    pub playable: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct SegmentNote {
    pub number: u32,
    pub init: u32,
    pub start_us: i64,
    pub duration_us: i64,
    pub size_bytes: i64,
    pub keyframe: bool,
}

/// Writes notes until all senders are gone.
pub async fn keep(db: Db, mut notes: mpsc::UnboundedReceiver<Note>) {
    let mut batch = Vec::new();
    while notes.recv_many(&mut batch, BATCH).await > 0 {
        while let Err(error) = write(&db, &batch).await {
            tracing::warn!(%error, notes = batch.len(), "the catalogue cannot be written; trying again");
            tokio::time::sleep(RETRY).await;
        }
        let mut ended = false;
        for note in batch.drain(..) {
            if let Note::End { written, .. } = note {
                ended = true;
                // Nobody waits when the server is going down.
                let _ = written.send(());
            }
        }
        if !ended {
            tokio::time::sleep(GATHER).await;
        }
    }
}

/// Writes all of them or none.
pub async fn write(db: &Db, notes: &[Note]) -> Result<(), DbError> {
    let mut transaction = db.begin().await?;
    for note in notes {
        write_one(&mut transaction, note).await?;
    }
    transaction.commit().await
}

async fn write_one(
    transaction: &mut Transaction<'static, Any>,
    note: &Note,
) -> Result<(), DbError> {
    let query = match note {
        Note::Begin { lesson, started_at } => sqlx::query(
            "INSERT INTO recordings (lesson_id, state, started_at, duration_ms, has_poster, has_voices, mp4_bytes)
             VALUES ($1, 'recording', $2, NULL, 0, 0, NULL) ON CONFLICT (lesson_id) DO NOTHING",
        )
        .bind(*lesson)
        .bind(*started_at),
        Note::Track(track) => sqlx::query(
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
        Note::Init { place, init } => sqlx::query(
            "INSERT INTO recording_inits (track_id, layer, number, codec, width, height, playable, stored)
             VALUES ($1, $2, $3, $4, $5, $6, $7, 0) ON CONFLICT (track_id, layer, number) DO NOTHING",
        )
        .bind(place.track)
        .bind(i64::from(place.layer))
        .bind(i64::from(init.number))
        .bind(&init.codec)
        .bind(i64::from(init.width))
        .bind(i64::from(init.height))
        .bind(i64::from(init.playable)),
        Note::Segment { place, segment } => sqlx::query(
            "INSERT INTO recording_segments (track_id, layer, number, init, start_us, duration_us, size_bytes, keyframe, stored)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0) ON CONFLICT (track_id, layer, number) DO NOTHING",
        )
        .bind(place.track)
        .bind(i64::from(place.layer))
        .bind(i64::from(segment.number))
        .bind(i64::from(segment.init))
        .bind(segment.start_us)
        .bind(segment.duration_us)
        .bind(segment.size_bytes)
        .bind(i64::from(segment.keyframe)),
        Note::Gap { place, from_ms, to_ms } => sqlx::query(
            "INSERT INTO recording_gaps (track_id, layer, from_ms, to_ms) VALUES ($1, $2, $3, $4)
             ON CONFLICT (track_id, layer, from_ms) DO NOTHING",
        )
        .bind(place.track)
        .bind(i64::from(place.layer))
        .bind(*from_ms)
        .bind(*to_ms),
        Note::TrackEnd { track, to_ms } => {
            sqlx::query("UPDATE recording_tracks SET to_ms = $2 WHERE id = $1 AND to_ms IS NULL").bind(*track).bind(*to_ms)
        }
        Note::Event { lesson, number, at_ms, kind, body } => sqlx::query(
            "INSERT INTO timeline_events (lesson_id, number, at_ms, kind, body) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (lesson_id, number) DO NOTHING",
        )
        .bind(*lesson)
        .bind(*number)
        .bind(*at_ms)
        .bind(kind)
        .bind(body),
        Note::End { lesson, state, duration_ms, .. } => {
            sqlx::query("UPDATE recordings SET state = $2, duration_ms = $3 WHERE lesson_id = $1 AND duration_ms IS NULL")
                .bind(*lesson)
                .bind(*state)
                .bind(*duration_ms)
        }
    };
    query.execute(&mut **transaction).await.map(drop)
}
