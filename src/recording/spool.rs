//! Spool: recorded files on the local disk until they are in the object store.
//!
//! ```text
//! LESSON/TRACK/track.json          catalogue row of the track, for recovery
//! LESSON/TRACK/LAYER/init-0.mp4    initialization segment 0, and its row in init-0.json
//! LESSON/TRACK/LAYER/7.0.part      media segment 7 with init 0, growing fragment by fragment
//! LESSON/TRACK/LAYER/7.0.m4s       the same segment, sealed
//! ```
//!
//! Every write is fsync'd when the call returns. A file is removed only after it is in the object
//! store and the catalogue has marked it as stored.

use crate::ids::{LessonId, TrackKey};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The spool. Clones share it.
#[derive(Clone)]
pub struct Spool {
    root: PathBuf,
    limit_bytes: u64,
    used_bytes: Arc<AtomicU64>,
}

/// Identifies one layer of a recorded track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LayerKey {
    pub lesson: LessonId,
    pub track: TrackKey,
    pub layer: u8,
}

/// Complete file of a layer: an initialization segment or a media segment (RFC 8216 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayerFile {
    Init(u32),
    Segment { number: u32, init: u32 },
}

/// Open file of a media segment that grows fragment by fragment.
pub struct SegmentFile {
    file: File,
    path: PathBuf,
    sealed: PathBuf,
}

impl Spool {
    /// Opens the spool and counts the bytes in it.
    pub fn open(root: PathBuf, limit_bytes: u64) -> io::Result<Spool> {
        fs::create_dir_all(&root)?;
        let used = folder_size(&root)?;
        Ok(Spool {
            root,
            limit_bytes,
            used_bytes: Arc::new(AtomicU64::new(used)),
        })
    }

    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Writes `track.json`, which precedes all other files of the track.
    pub fn write_track(&self, layer_key: LayerKey, json: &[u8]) -> io::Result<()> {
        let folder = self.track_folder(layer_key.lesson, layer_key.track);
        create_folder(&folder)?;
        self.write_atomically(&folder.join("track.json"), json)
    }

    /// Writes an initialization segment and the JSON of its row.
    pub fn write_init(
        &self,
        layer_key: LayerKey,
        number: u32,
        bytes: &[u8],
        json: &[u8],
    ) -> io::Result<()> {
        let folder = self.folder(layer_key);
        create_folder(&folder)?;
        // The JSON first, so that every initialization segment has one.
        self.write_atomically(&folder.join(format!("init-{number}.json")), json)?;
        self.write_atomically(&self.path(layer_key, LayerFile::Init(number)), bytes)
    }

    /// Creates the file of a media segment.
    pub fn create_segment(
        &self,
        layer_key: LayerKey,
        number: u32,
        init: u32,
    ) -> io::Result<SegmentFile> {
        let sealed = self.path(layer_key, LayerFile::Segment { number, init });
        let path = sealed.with_extension("part");
        let file = File::create(&path)?;
        sync_parent(&path)?;
        Ok(SegmentFile { file, path, sealed })
    }

    /// Appends a fragment and fsyncs it.
    pub fn append(&self, segment: &mut SegmentFile, bytes: &[u8]) -> io::Result<()> {
        self.reserve(bytes.len())?;
        segment.file.write_all(bytes)?;
        segment.file.sync_data()
    }

    /// Renames a segment to its final name; truncates it to `size_bytes` if a failed write left
    /// more.
    pub fn seal(&self, segment: SegmentFile, size_bytes: u64) -> io::Result<()> {
        if segment.file.metadata()?.len() != size_bytes {
            segment.file.set_len(size_bytes)?;
            segment.file.sync_all()?;
        }
        fs::rename(&segment.path, &segment.sealed)?;
        sync_parent(&segment.sealed)
    }

    /// Removes a segment without any complete fragment.
    pub fn discard(&self, segment: SegmentFile) -> io::Result<()> {
        fs::remove_file(&segment.path)
    }

    /// Removes a file after its upload and frees its space.
    pub fn remove(&self, layer_key: LayerKey, layer_file: LayerFile) -> io::Result<()> {
        let path = self.path(layer_key, layer_file);
        let mut freed = fs::metadata(&path).map(|meta| meta.len()).unwrap_or(0);
        fs::remove_file(&path)?;
        if let LayerFile::Init(_) = layer_file {
            let json = path.with_extension("json");
            freed += fs::metadata(&json).map(|meta| meta.len()).unwrap_or(0);
            fs::remove_file(json)?;
        }
        self.used_bytes
            .fetch_sub(freed.min(self.used_bytes()), Ordering::Relaxed);
        Ok(())
    }

    /// Removes a lesson's folders once they hold no media.
    pub fn remove_empty_folders(&self, lesson: LessonId) {
        let folder = self.root.join(lesson.to_string());
        let Ok(tracks) = fs::read_dir(&folder) else {
            return;
        };
        for track in tracks.flatten() {
            let layers = fs::read_dir(track.path()).into_iter().flatten().flatten();
            // remove_dir fails if the folder is not empty.
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

    /// Path of a complete file, whether it exists or not.
    pub fn path(&self, layer_key: LayerKey, layer_file: LayerFile) -> PathBuf {
        self.folder(layer_key).join(match layer_file {
            LayerFile::Init(number) => format!("init-{number}.mp4"),
            LayerFile::Segment { number, init } => format!("{number}.{init}.m4s"),
        })
    }

    pub fn track_folder(&self, lesson: LessonId, track: TrackKey) -> PathBuf {
        self.root.join(lesson.to_string()).join(track.to_string())
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    fn folder(&self, layer_key: LayerKey) -> PathBuf {
        self.track_folder(layer_key.lesson, layer_key.track)
            .join(layer_key.layer.to_string())
    }

    /// Writes a file atomically: to a temporary name, then renamed.
    fn write_atomically(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.reserve(bytes.len())?;
        let temporary = path.with_extension("new");
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        fs::rename(&temporary, path)?;
        sync_parent(path)
    }

    fn reserve(&self, bytes: usize) -> io::Result<()> {
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

/// Creates a folder and its parents durably: their directory entries are fsync'd.
fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_folder(parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_parent(path),
    }
}

/// Fsyncs the directory entry of `path`.
fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn folder_size(folder: &Path) -> io::Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        size += if meta.is_dir() {
            folder_size(&entry.path())?
        } else {
            meta.len()
        };
    }
    Ok(size)
}
