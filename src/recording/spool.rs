//! Recorded bytes on the local disk, until the object store has them.
//!
//! ```text
//! LESSON/TRACK/track.json          who and what, for a recovery without its row
//! LESSON/TRACK/LAYER/init-0.mp4    and init-0.json, what its row says
//! LESSON/TRACK/LAYER/7.0.part      segment 7 with init 0, growing fragment by fragment
//! LESSON/TRACK/LAYER/7.0.m4s       … whole
//! ```
//!
//! Every write is on disk when the call returns. A file leaves only after the store has it and the catalogue says so.

use crate::ids::{LessonId, TrackKey};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The spool. Cloning shares it.
#[derive(Clone)]
pub struct Spool {
    root: PathBuf,
    limit_bytes: u64,
    used_bytes: Arc<AtomicU64>,
}

/// One layer's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub lesson: LessonId,
    pub track: TrackKey,
    pub layer: u8,
}

/// A whole file of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Piece {
    Init(u32),
    Segment { number: u32, init: u32 },
}

/// A segment that grows.
pub struct Part {
    file: File,
    path: PathBuf,
    sealed: PathBuf,
}

impl Spool {
    /// Opens the folder and counts what lies in it.
    pub fn open(root: PathBuf, limit_bytes: u64) -> io::Result<Spool> {
        fs::create_dir_all(&root)?;
        let used = size_of_folder(&root)?;
        Ok(Spool {
            root,
            limit_bytes,
            used_bytes: Arc::new(AtomicU64::new(used)),
        })
    }

    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Writes what is known of a track, before anything else of it.
    pub fn write_track(&self, place: Place, json: &[u8]) -> io::Result<()> {
        let folder = self.track_folder(place.lesson, place.track);
        make_folder(&folder)?;
        self.write_whole(&folder.join("track.json"), json)
    }

    /// Writes an init part, and beside it what its row says.
    pub fn write_init(
        &self,
        place: Place,
        number: u32,
        bytes: &[u8],
        json: &[u8],
    ) -> io::Result<()> {
        let folder = self.folder(place);
        make_folder(&folder)?;
        // The description first: an init part that is there is complete with it.
        self.write_whole(&folder.join(format!("init-{number}.json")), json)?;
        self.write_whole(&self.path(place, Piece::Init(number)), bytes)
    }

    /// Begins a segment.
    pub fn begin(&self, place: Place, number: u32, init: u32) -> io::Result<Part> {
        let sealed = self.path(place, Piece::Segment { number, init });
        let path = sealed.with_extension("part");
        let file = File::create(&path)?;
        sync_folder(&path)?;
        Ok(Part { file, path, sealed })
    }

    /// Adds a fragment to a segment.
    pub fn append(&self, part: &mut Part, bytes: &[u8]) -> io::Result<()> {
        self.take_room(bytes.len())?;
        part.file.write_all(bytes)?;
        part.file.sync_data()
    }

    /// A growing segment becomes a whole one of this size; what a failed write left behind it is cut off.
    pub fn seal(&self, part: Part, size_bytes: u64) -> io::Result<()> {
        if part.file.metadata()?.len() != size_bytes {
            part.file.set_len(size_bytes)?;
            part.file.sync_all()?;
        }
        fs::rename(&part.path, &part.sealed)?;
        sync_folder(&part.sealed)
    }

    /// Removes a segment of which nothing could be written.
    pub fn discard(&self, part: Part) -> io::Result<()> {
        fs::remove_file(&part.path)
    }

    /// Gives a file's room back after it has been stored.
    pub fn remove(&self, place: Place, piece: Piece) -> io::Result<()> {
        let path = self.path(place, piece);
        let mut freed = fs::metadata(&path).map(|meta| meta.len()).unwrap_or(0);
        fs::remove_file(&path)?;
        if let Piece::Init(_) = piece {
            let json = path.with_extension("json");
            freed += fs::metadata(&json).map(|meta| meta.len()).unwrap_or(0);
            fs::remove_file(json)?;
        }
        self.used_bytes
            .fetch_sub(freed.min(self.used_bytes()), Ordering::Relaxed);
        Ok(())
    }

    /// Removes a lesson's folders once no media are left in them.
    pub fn tidy(&self, lesson: LessonId) {
        let folder = self.root.join(lesson.to_string());
        let Ok(tracks) = fs::read_dir(&folder) else {
            return;
        };
        for track in tracks.flatten() {
            let layers = fs::read_dir(track.path()).into_iter().flatten().flatten();
            // Only an empty folder can be removed this way.
            let left = layers
                .filter(|entry| entry.path().is_dir() && fs::remove_dir(entry.path()).is_err())
                .count();
            if left == 0 {
                let _ = fs::remove_file(track.path().join("track.json"));
                let _ = fs::remove_dir(track.path());
            }
        }
        let _ = fs::remove_dir(folder);
    }

    /// Where a whole file lies, or would lie.
    pub fn path(&self, place: Place, piece: Piece) -> PathBuf {
        self.folder(place).join(match piece {
            Piece::Init(number) => format!("init-{number}.mp4"),
            Piece::Segment { number, init } => format!("{number}.{init}.m4s"),
        })
    }

    pub fn track_folder(&self, lesson: LessonId, track: TrackKey) -> PathBuf {
        self.root.join(lesson.to_string()).join(track.to_string())
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    fn folder(&self, place: Place) -> PathBuf {
        self.track_folder(place.lesson, place.track)
            .join(place.layer.to_string())
    }

    /// Whole or not at all: written beside, then renamed.
    fn write_whole(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.take_room(bytes.len())?;
        let beside = path.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        fs::rename(&beside, path)?;
        sync_folder(path)
    }

    fn take_room(&self, bytes: usize) -> io::Result<()> {
        let bytes = bytes as u64;
        if self.used_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.limit_bytes {
            return Ok(());
        }
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        Err(io::Error::new(
            io::ErrorKind::StorageFull,
            "the spool has reached [recording] spool_max_bytes",
        ))
    }
}

/// Makes a folder whose entry survives a power cut, its parents included.
fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_folder(parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(path),
    }
}

/// Makes the entry of `path` in its folder durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn size_of_folder(folder: &Path) -> io::Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        size += if meta.is_dir() {
            size_of_folder(&entry.path())?
        } else {
            meta.len()
        };
    }
    Ok(size)
}
