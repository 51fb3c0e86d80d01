//! Crash recovery: rebuilds missing catalogue rows from the spool.
//!
//! A file is in the spool before its row is written and leaves it after `stored` is set, so spool
//! and catalogue together hold everything that reached the disk. Only the fragment being written,
//! half a second, is lost.
//!
//! The recording of an ended lesson is finished. That of a live lesson stays open: its tracks end,
//! because the publishers have to reconnect, and the downtime becomes a gap.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use tongke_record::scan::{self, ScannedSegment};

use super::catalogue::{Codec, Recorded};
use super::catalogue_writer::{self, CatalogueUpdate, NewInit, NewSegment, NewTrack};
use super::spool::{LayerFile, LayerKey, Spool};
use crate::db::{Db, DbError, millis};
use crate::ids::LessonId;
use crate::timetable::{RecordingState, set_recording};

/// Result of the recovery.
#[derive(Default)]
pub struct Recovered {
    /// Recordings that were finished.
    pub lessons: Vec<LessonId>,
    /// Complete files that have to be uploaded.
    pub files: Vec<(LayerKey, LayerFile)>,
}

#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error("the spool cannot be read: {0}")]
    Spool(#[from] io::Error),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Runs at every start, before anything is recorded; it is idempotent. `live` are the lessons that
/// continue.
pub async fn run(db: &Db, spool: &Spool, live: &[LessonId]) -> Result<Recovered, RecoveryError> {
    let mut recovered = Recovered::default();
    for lesson in folders::<LessonId>(spool.root())? {
        let before = recovered.files.len();
        let updates = read_lesson(spool, lesson, &mut recovered.files)?;
        if recovered.files.len() == before {
            spool.remove_empty_folders(lesson);
        }
        if let Err(error) = catalogue_writer::write(db, &updates).await {
            // The lesson was deleted; its files are kept for manual inspection.
            tracing::error!(%error, lesson.id = %lesson, "the catalogue rejects a recording found in the spool");
            recovered
                .files
                .retain(|(layer_key, _)| layer_key.lesson != lesson);
        }
    }
    for lesson in unfinished(db).await? {
        if live.contains(&lesson) {
            close_with_gap(db, lesson, Timestamp::now()).await?;
        } else {
            finish_recording(db, lesson).await?;
            recovered.lessons.push(lesson);
        }
    }
    Ok(recovered)
}

async fn unfinished(db: &Db) -> Result<Vec<LessonId>, DbError> {
    let rows: Vec<(LessonId,)> = sqlx::query_as(
        "SELECT lesson_id FROM recordings WHERE state IN ('recording', 'finishing')",
    )
    .fetch_all(db.pool())
    .await?;
    Ok(rows.into_iter().map(|(lesson,)| lesson).collect())
}

/// Ends the open tracks of a live lesson and records the downtime as a gap in each layer.
async fn close_with_gap(db: &Db, lesson: LessonId, now: Timestamp) -> Result<(), DbError> {
    let Some(recorded) = Recorded::read(db, lesson).await? else {
        return Ok(());
    };
    let (from_ms, to_ms) = (recorded.recorded_ms(), millis(now) - recorded.started_at);
    let open = recorded.tracks.iter().filter(|track| track.to_ms.is_none());
    let layers = open.flat_map(|track| track.layers.iter().map(|layer| (track.id, layer.number)));
    let gap = |(track, layer)| CatalogueUpdate::Gap {
        layer_key: LayerKey {
            lesson,
            track,
            layer,
        },
        from_ms,
        to_ms,
    };
    let gaps: Vec<CatalogueUpdate> = layers.map(gap).collect();
    catalogue_writer::write(db, &gaps).await?;
    close_tracks(db, lesson).await
}

/// Ends open tracks at their last segment.
async fn close_tracks(db: &Db, lesson: LessonId) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE recording_tracks SET to_ms = COALESCE(
            (SELECT MAX(s.start_us + s.duration_us) / 1000 FROM recording_segments s WHERE s.track_id = recording_tracks.id), from_ms)
         WHERE lesson_id = $1 AND to_ms IS NULL",
    )
    .bind(lesson)
    .execute(db.pool())
    .await
    .map(drop)
}

/// Ends open tracks, and the recording at its last segment.
async fn finish_recording(db: &Db, lesson: LessonId) -> Result<(), DbError> {
    close_tracks(db, lesson).await?;
    let Some(recorded) = Recorded::read(db, lesson).await? else {
        return Ok(());
    };
    let duration_ms = recorded.recorded_ms();
    let state = if duration_ms > 0 {
        RecordingState::Ready
    } else {
        RecordingState::Failed
    };
    sqlx::query("UPDATE recordings SET state = $2, duration_ms = $3 WHERE lesson_id = $1")
        .bind(lesson)
        .bind(state)
        .bind(duration_ms)
        .execute(db.pool())
        .await?;
    set_recording(db, lesson, state).await
}

/// Returns the catalogue updates for a lesson's folder; seals unfinished segments.
fn read_lesson(
    spool: &Spool,
    lesson: LessonId,
    files: &mut Vec<(LayerKey, LayerFile)>,
) -> io::Result<Vec<CatalogueUpdate>> {
    let mut updates = Vec::new();
    for track in folders(&spool.root().join(lesson.to_string()))? {
        let folder = spool.track_folder(lesson, track);
        let Some(row) = read_json::<NewTrack>(&folder.join("track.json")) else {
            continue;
        };
        let codec = row.codec;
        updates.push(CatalogueUpdate::Begin {
            lesson,
            started_at: row.lesson_started_at,
        });
        updates.push(CatalogueUpdate::Track(row));
        for layer in folders::<u8>(&folder)? {
            read_layer(
                LayerKey {
                    lesson,
                    track,
                    layer,
                },
                &folder.join(layer.to_string()),
                codec,
                &mut updates,
                files,
            )?;
        }
    }
    Ok(updates)
}

fn read_layer(
    layer_key: LayerKey,
    folder: &Path,
    codec: Codec,
    updates: &mut Vec<CatalogueUpdate>,
    files: &mut Vec<(LayerKey, LayerFile)>,
) -> io::Result<()> {
    for name in names(folder)? {
        let path = folder.join(&name);
        if let Some(number) = name
            .strip_prefix("init-")
            .and_then(|rest| rest.strip_suffix(".mp4")?.parse().ok())
        {
            let Some(init) = read_json::<NewInit>(&path.with_extension("json")) else {
                continue;
            };
            updates.push(CatalogueUpdate::Init { layer_key, init });
            files.push((layer_key, LayerFile::Init(number)));
        } else if let Some((number, init, sealed)) = parse_segment(&name) {
            let Some(found) = seal_segment(&path, codec, sealed)? else {
                continue;
            };
            let segment = NewSegment {
                number,
                init,
                start_us: found.start.as_micros() as i64,
                duration_us: found.duration.as_micros() as i64,
                size_bytes: found.valid_bytes as i64,
                keyframe: found.keyframe_start,
            };
            updates.push(CatalogueUpdate::Segment { layer_key, segment });
            files.push((layer_key, LayerFile::Segment { number, init }));
        }
    }
    Ok(())
}

/// Truncates an unfinished segment to its complete fragments and seals it. A segment without
/// complete fragments is removed and returns `None`.
fn seal_segment(path: &Path, codec: Codec, sealed: bool) -> io::Result<Option<ScannedSegment>> {
    let found = scan(&fs::read(path)?, codec);
    if sealed {
        return Ok(found);
    }
    let Some(found) = found else {
        fs::remove_file(path)?;
        return Ok(None);
    };
    let file = fs::OpenOptions::new().write(true).open(path)?;
    file.set_len(found.valid_bytes as u64)?;
    file.sync_all()?;
    fs::rename(path, path.with_extension("m4s"))?;
    Ok(Some(found))
}

fn scan(bytes: &[u8], codec: Codec) -> Option<ScannedSegment> {
    match codec {
        Codec::Vp8 => scan::ivf_segment(bytes),
        codec => scan::cmaf_segment(bytes, tongke_record::Codec::from(codec).clock_rate()),
    }
}

/// Parses `7.0.m4s` or `7.0.part` into segment number, init number and sealed.
fn parse_segment(name: &str) -> Option<(u32, u32, bool)> {
    let mut parts = name.split('.');
    let (number, init, extension) = (
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
        parts.next()?,
    );
    let sealed = match extension {
        "m4s" => true,
        "part" => false,
        _ => return None,
    };
    parts.next().is_none().then_some((number, init, sealed))
}

/// Reads a JSON file; `None` if it cannot be read. Files are renamed into place once complete, so a
/// crash leaves no partial file under this name.
fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Subfolders whose name parses as an id, in order.
fn folders<T: std::str::FromStr>(path: &Path) -> io::Result<Vec<T>> {
    let entries = names(path)?;
    let folder = |name: &String| -> PathBuf { path.join(name) };
    Ok(entries
        .iter()
        .filter(|name| folder(name).is_dir())
        .filter_map(|name| name.parse().ok())
        .collect())
}

fn names(path: &Path) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(path)? {
        names.extend(entry?.file_name().into_string().ok());
    }
    Ok(names)
}
