//! The one module that knows where objects are kept: files beside the server, or any S3 service. Features name objects by typed keys.
//!
//! Keys are ASCII and never reused for other content. Correctness never rests on conditional puts (some S3 services ignore them):
//! who may write what is decided in the database.

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    BackoffConfig, Certificate, ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt,
    PutPayload, RetryConfig, WriteMultipart,
};
use tokio::io::AsyncReadExt;

use crate::config::{self, Config};
use crate::ids::LessonId;

/// The part size of a large upload: S3 takes at most 10 000 parts of at least 5 MiB, so this carries 80 GB.
const PART_BYTES: usize = 8 << 20;
/// Parts of one upload that are under way at a time; bounds its memory to 32 MiB.
const PARTS_IN_FLIGHT: usize = 4;
/// A put or get that failed for longer than this is reported; the recorder keeps its spool and tries again.
const RETRY_FOR: Duration = Duration::from_secs(20);

/// A failed access.
pub type StorageError = object_store::Error;

/// Whether the object does not exist.
pub fn is_missing(error: &StorageError) -> bool {
    matches!(error, object_store::Error::NotFound { .. })
}

/// The name of one object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(Path);

impl Key {
    /// Media segment `n` of one layer of a track.
    pub fn segment(lesson: LessonId, track: &str, layer: u8, n: u64) -> Self {
        Self::in_lesson(lesson, &[track, &layer.to_string(), &format!("{n}.m4s")])
    }

    /// Init segment `n` of one layer of a track: a new one begins with each change of parameters.
    pub fn init(lesson: LessonId, track: &str, layer: u8, n: u64) -> Self {
        Self::in_lesson(
            lesson,
            &[track, &layer.to_string(), &format!("init-{n}.mp4")],
        )
    }

    /// The lesson's picture.
    pub fn poster(lesson: LessonId) -> Self {
        Self::in_lesson(lesson, &["poster.jpg"])
    }

    /// The whole lesson as one file to download.
    pub fn mp4(lesson: LessonId) -> Self {
        Self::in_lesson(lesson, &["lesson.mp4"])
    }

    /// Content by its SHA-256.
    pub fn blob(hash: &str) -> Self {
        Self::by_hash("blobs", hash, &[])
    }

    /// Something made from a content: a page, a poster, a rendition.
    pub fn derived(hash: &str, name: &str) -> Self {
        Self::by_hash("derived", hash, &[name])
    }

    /// Two digits first: a folder with a hundred thousand entries is slow to list.
    fn by_hash(top: &str, hash: &str, rest: &[&str]) -> Self {
        let all = [top, hash.get(..2).unwrap_or("_"), hash]
            .into_iter()
            .chain(rest.iter().copied());
        Self(Path::from_iter(all.map(plain)))
    }

    /// Anything else that belongs to a lesson's recording. Characters outside `[A-Za-z0-9._-]` become `_`.
    pub fn in_lesson(lesson: LessonId, parts: &[&str]) -> Self {
        let lesson = lesson.to_string();
        let all = ["lessons", lesson.as_str()]
            .into_iter()
            .chain(parts.iter().copied());
        Self(Path::from_iter(all.map(plain)))
    }
}

/// Trusts the system's authorities and, where one is named, the county's own.
fn trusting(path: &str) -> Result<ClientOptions, OpenError> {
    if path.is_empty() {
        return Ok(ClientOptions::new());
    }
    let pem = std::fs::read(path).map_err(|cause| OpenError::Certificate {
        path: path.to_owned(),
        cause,
    })?;
    let certificates = Certificate::from_pem_bundle(&pem)?;
    if certificates.is_empty() {
        return Err(OpenError::NoCertificate(path.to_owned()));
    }
    Ok(certificates
        .into_iter()
        .fold(ClientOptions::new(), ClientOptions::with_root_certificate))
}

/// A path segment that no engine reads as anything else: `..` and separators cannot survive.
fn plain(part: &str) -> String {
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
            c
        } else {
            '_'
        }
    };
    let part: String = part.chars().map(safe).collect();
    if part.trim_matches('.').is_empty() {
        format!("_{}", part.len())
    } else {
        part
    }
}

/// The object store. Cloning shares it.
#[derive(Clone)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    /// Where objects are files.
    folder: Option<PathBuf>,
}

/// Why the configured store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("[storage] url {0:?} must be empty, a folder (file:///…) or s3://bucket/prefix")]
    UnknownUrl(String),
    #[error("cannot make the folder {}: {cause}", path.display())]
    Folder {
        path: PathBuf,
        cause: std::io::Error,
    },
    #[error("[storage] ca_certificate {path:?} cannot be read: {cause}")]
    Certificate { path: String, cause: std::io::Error },
    #[error("[storage] ca_certificate {0:?} holds no certificate in PEM form")]
    NoCertificate(String),
    #[error("cannot open the object store: {0}")]
    Store(#[from] StorageError),
}

impl Storage {
    /// Opens the configured store.
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        let url = config.storage.url.as_str();
        match url.split_once("://") {
            None if url.is_empty() => Self::local(config.objects_dir()),
            Some(("file", path)) if !path.is_empty() => Self::local(PathBuf::from(path)),
            Some(("s3", rest)) if !rest.is_empty() => Self::s3(rest, &config.storage),
            _ => Err(OpenError::UnknownUrl(url.to_owned())),
        }
    }

    /// Files below a folder. Each put is on disk, its folder entry included, before it is acknowledged.
    pub fn local(folder: PathBuf) -> Result<Self, OpenError> {
        std::fs::create_dir_all(&folder).map_err(|cause| OpenError::Folder {
            path: folder.clone(),
            cause,
        })?;
        let store = LocalFileSystem::new_with_prefix(&folder)?
            .with_fsync(true)
            .with_automatic_cleanup(true);
        Ok(Self {
            store: Arc::new(store),
            folder: Some(folder),
        })
    }

    fn s3(bucket_and_prefix: &str, settings: &config::Storage) -> Result<Self, OpenError> {
        let (bucket, prefix) = bucket_and_prefix
            .split_once('/')
            .unwrap_or((bucket_and_prefix, ""));
        let retry = RetryConfig {
            retry_timeout: RETRY_FOR,
            max_retries: 6,
            backoff: BackoffConfig::default(),
        };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(&settings.region)
            .with_virtual_hosted_style_request(!settings.path_style)
            .with_client_options(trusting(&settings.ca_certificate)?)
            .with_allow_http(settings.allow_http)
            .with_retry(retry);
        if !settings.endpoint.is_empty() {
            builder = builder.with_endpoint(&settings.endpoint);
        }
        if !settings.access_key.is_empty() {
            builder = builder
                .with_access_key_id(&settings.access_key)
                .with_secret_access_key(&settings.secret_key);
        }
        Ok(Self {
            store: Arc::new(PrefixStore::new(builder.build()?, prefix)),
            folder: None,
        })
    }

    /// Stores a small object whole. When this returns, the object is durable.
    pub async fn put(&self, key: &Key, content: Bytes) -> Result<(), StorageError> {
        self.store
            .put(&key.0, PutPayload::from_bytes(content))
            .await
            .map(drop)
    }

    /// Stores a file of any size; memory stays bounded. When this returns, the object is durable.
    pub async fn put_file(&self, key: &Key, file: &std::path::Path) -> Result<u64, StorageError> {
        let mut source = tokio::fs::File::open(file).await.map_err(read_failed)?;
        let upload = self.store.put_multipart(&key.0).await?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        match copy(&mut source, &mut writer).await {
            Ok(size_bytes) => writer.finish().await.map(|_| size_bytes),
            Err(error) => {
                // The failure that matters is the first one; parts that cannot be removed are the store's lifecycle rule's.
                let _ = writer.abort().await;
                Err(error)
            }
        }
    }

    /// Stores a file that is on the disk already and will not change any more. Where objects are files beside it, it is not copied: both
    /// names are the same file. An object that is there already stays.
    pub async fn take_file(&self, key: &Key, file: &std::path::Path) -> Result<(), StorageError> {
        if let Some(folder) = &self.folder {
            let (object, file) = (folder.join(key.0.as_ref()), file.to_owned());
            let linked = tokio::task::spawn_blocking(move || link(&file, &object)).await;
            match linked.unwrap_or_else(|panic| Err(std::io::Error::other(panic))) {
                Ok(()) => return Ok(()),
                // Another disk, or one that knows no links.
                Err(error) => tracing::debug!(%error, "a file is copied into the store"),
            }
        }
        self.put_file(key, file).await.map(drop)
    }

    /// Where an object is a file of this machine, that file: only to be read.
    pub fn file(&self, key: &Key) -> Option<PathBuf> {
        self.folder
            .as_ref()
            .map(|folder| folder.join(key.0.as_ref()))
            .filter(|path| path.is_file())
    }

    /// Removes an object; one that is not there is no failure.
    pub async fn remove(&self, key: &Key) -> Result<(), StorageError> {
        match self.store.delete(&key.0).await {
            Err(error) if !is_missing(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// The whole object.
    pub async fn get(&self, key: &Key) -> Result<Bytes, StorageError> {
        self.store.get(&key.0).await?.bytes().await
    }

    /// The object, or a part of it, piece by piece.
    pub async fn stream(
        &self,
        key: &Key,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Bytes, StorageError>>, StorageError> {
        let options = GetOptions {
            range: range.map(GetRange::Bounded),
            ..GetOptions::default()
        };
        Ok(self.store.get_opts(&key.0, options).await?.into_stream())
    }

    /// The object's size.
    pub async fn size_bytes(&self, key: &Key) -> Result<u64, StorageError> {
        Ok(self.store.head(&key.0).await?.size)
    }

    /// Whether the store answers.
    pub async fn probe(&self) -> Result<(), StorageError> {
        match self.store.head(&Path::from("probe")).await {
            Err(error) if !is_missing(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

/// Gives a durable file a second, durable name.
fn link(file: &std::path::Path, object: &std::path::Path) -> std::io::Result<()> {
    let folder = object.parent().unwrap_or(std::path::Path::new("."));
    std::fs::create_dir_all(folder)?;
    match std::fs::hard_link(file, object) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // The folder's entry, and the folder's own entry where it is new.
    for folder in folder.ancestors().take(2) {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

async fn copy(
    source: &mut tokio::fs::File,
    writer: &mut WriteMultipart,
) -> Result<u64, StorageError> {
    let mut buffer = vec![0; 1 << 20];
    let mut size_bytes = 0;
    loop {
        let read = source.read(&mut buffer).await.map_err(read_failed)?;
        if read == 0 {
            return Ok(size_bytes);
        }
        size_bytes += read as u64;
        writer.wait_for_capacity(PARTS_IN_FLIGHT).await?;
        writer.write(&buffer[..read]);
    }
}

fn read_failed(cause: std::io::Error) -> StorageError {
    object_store::Error::Generic {
        store: "local file",
        source: Box::new(cause),
    }
}
