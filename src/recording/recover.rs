//! After a crash: bring every recording to order from what the spool holds.
//!
//! The spool is written before the catalogue and emptied after it, so at every moment the two together hold all that reached the disk. What
//! may be missing is the fragment that was being written: half a second.
//!
//! The recording of a lesson that is over is finished. That of a lesson that goes on stays open: its tracks end, for who published them has to
//! come again, and the time without a server is a gap.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use tongke_record::scan::{self, ScannedSegment};

use super::catalogue::{Codec, Recorded};
use super::ledger::{self, InitNote, Note, SegmentNote, TrackNote};
use super::spool::{Piece, Place, Spool};
use crate::db::{Db, DbError, millis};
use crate::ids::LessonId;
use crate::timetable::{RecordingState, set_recording};

/// What was found and brought to order.
#[derive(Default)]
pub struct Recovered {
    /// Recordings that are finished now.
    pub lessons: Vec<LessonId>,
    /// Whole files that still have to be stored.
    pub files: Vec<(Place, Piece)>,
}

#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    #[error("the spool cannot be read: {0}")]
    Spool(#[from] io::Error),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Runs once at start, before anything is recorded. Interrupted itself, it simply runs again. `going_on` are lessons that are still on.
pub async fn run(db: &Db, spool: &Spool, going_on: &[LessonId]) -> Result<Recovered, RecoverError> {
    let mut recovered = Recovered::default();
    for lesson in folders::<LessonId>(spool.root())? {
        let known = recovered.files.len();
        let notes = read_lesson(spool, lesson, &mut recovered.files)?;
        if recovered.files.len() == known {
            spool.tidy(lesson);
        }
        if let Err(error) = ledger::write(db, &notes).await {
            // A lesson that was deleted has no row to refer to; its files stay until a person looks.
            tracing::error!(%error, lesson.id = %lesson, "the spool holds a recording that the catalogue does not take");
            recovered.files.retain(|(place, _)| place.lesson != lesson);
        }
    }
    for lesson in unfinished(db).await? {
        if going_on.contains(&lesson) {
            interrupt(db, lesson, Timestamp::now()).await?;
        } else {
            finish(db, lesson).await?;
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

/// Ends the tracks of a lesson that goes on, and notes from when to when they have a gap.
async fn interrupt(db: &Db, lesson: LessonId, now: Timestamp) -> Result<(), DbError> {
    let Some(recorded) = Recorded::read(db, lesson).await? else {
        return Ok(());
    };
    let (from_ms, to_ms) = (recorded.recorded_ms(), millis(now) - recorded.started_at);
    let open = recorded.tracks.iter().filter(|track| track.to_ms.is_none());
    let layers = open.flat_map(|track| track.layers.iter().map(|layer| (track.id, layer.number)));
    let gap = |(track, layer)| Note::Gap {
        place: Place {
            lesson,
            track,
            layer,
        },
        from_ms,
        to_ms,
    };
    let gaps: Vec<Note> = layers.map(gap).collect();
    ledger::write(db, &gaps).await?;
    close_tracks(db, lesson).await
}

/// Closes open tracks at their last segment.
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

/// Closes open tracks, and the recording at its last segment.
async fn finish(db: &Db, lesson: LessonId) -> Result<(), DbError> {
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

/// The notes of everything in a lesson's folder; growing segments are cut to their whole fragments and sealed.
fn read_lesson(
    spool: &Spool,
    lesson: LessonId,
    files: &mut Vec<(Place, Piece)>,
) -> io::Result<Vec<Note>> {
    let mut notes = Vec::new();
    for track in folders(&spool.root().join(lesson.to_string()))? {
        let folder = spool.track_folder(lesson, track);
        let Some(about) = read_json::<TrackNote>(&folder.join("track.json")) else {
            continue;
        };
        let codec = about.codec;
        notes.push(Note::Begin {
            lesson,
            started_at: about.lesson_started_at,
        });
        notes.push(Note::Track(about));
        for layer in folders::<u8>(&folder)? {
            read_layer(
                Place {
                    lesson,
                    track,
                    layer,
                },
                &folder.join(layer.to_string()),
                codec,
                &mut notes,
                files,
            )?;
        }
    }
    Ok(notes)
}

fn read_layer(
    place: Place,
    folder: &Path,
    codec: Codec,
    notes: &mut Vec<Note>,
    files: &mut Vec<(Place, Piece)>,
) -> io::Result<()> {
    for name in names(folder)? {
        let path = folder.join(&name);
        if let Some(number) = name
            .strip_prefix("init-")
            .and_then(|rest| rest.strip_suffix(".mp4")?.parse().ok())
        {
            let Some(init) = read_json::<InitNote>(&path.with_extension("json")) else {
                continue;
            };
            notes.push(Note::Init { place, init });
            files.push((place, Piece::Init(number)));
        } else if let Some((number, init, sealed)) = parse_segment(&name) {
            let Some(found) = settle(&path, codec, sealed)? else {
                continue;
            };
            let segment = SegmentNote {
                number,
                init,
                start_us: found.start.as_micros() as i64,
                duration_us: found.duration.as_micros() as i64,
                size_bytes: found.valid_bytes as i64,
                keyframe: found.keyframe_start,
            };
            notes.push(Note::Segment { place, segment });
            files.push((place, Piece::Segment { number, init }));
        }
    }
    Ok(())
}

/// Cuts a growing segment to its whole fragments and seals it; `None` when it has none, and then it is removed.
fn settle(path: &Path, codec: Codec, sealed: bool) -> io::Result<Option<ScannedSegment>> {
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

/// `7.0.m4s` or `7.0.part`: segment, init, whether it is whole.
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

/// A file that a crash left half-written was never renamed to its name; one that cannot be read is passed over.
fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Folders whose name is an id, in order.
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
