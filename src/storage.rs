//! Object storage: local files or any S3 service. Features name objects by typed keys.
//!
//! Keys are ASCII and never reused for other content. Correctness never depends on conditional
//! puts, which some S3 services ignore: the database decides who may write an object.

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

/// Part size of a multipart upload. S3 takes at most 10 000 parts of at least 5 MiB, so 8 MiB
/// carries 80 GB.
const PART_BYTES: usize = 8 << 20;
/// Concurrent parts of one upload; bounds its memory to 32 MiB.
const PARTS_IN_FLIGHT: usize = 4;
/// Time after which a failing request is reported to the caller; the recorder then retries from its
/// spool.
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);

/// Failure of a storage request.
pub type StorageError = object_store::Error;

/// Returns true if the object does not exist.
pub fn is_missing(error: &StorageError) -> bool {
    matches!(error, object_store::Error::NotFound { .. })
}

/// Name of one object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(Path);

impl Key {
    /// Media segment `n` of one layer of a track.
    pub fn segment(lesson: LessonId, track: &str, layer: u8, n: u64) -> Self {
        Self::in_lesson(lesson, &[track, &layer.to_string(), &format!("{n}.m4s")])
    }

    /// Initialization segment `n` of one layer of a track; each change of parameters starts a new
    /// one.
    pub fn init(lesson: LessonId, track: &str, layer: u8, n: u64) -> Self {
        Self::in_lesson(
            lesson,
            &[track, &layer.to_string(), &format!("init-{n}.mp4")],
        )
    }

    /// The lesson's poster image.
    pub fn poster(lesson: LessonId) -> Self {
        Self::in_lesson(lesson, &["poster.jpg"])
    }

    /// The whole lesson as one file to download.
    pub fn mp4(lesson: LessonId) -> Self {
        Self::in_lesson(lesson, &["lesson.mp4"])
    }

    /// Uploaded content, by its SHA-256.
    pub fn blob(hash: &str) -> Self {
        Self::by_hash("blobs", hash, &[])
    }

    /// File derived from uploaded content: a page image, a poster, a rendition.
    pub fn derived(hash: &str, name: &str) -> Self {
        Self::by_hash("derived", hash, &[name])
    }

    /// Shards by the first two digits: a directory of a hundred thousand entries is slow to list.
    fn by_hash(top: &str, hash: &str, rest: &[&str]) -> Self {
        let all = [top, hash.get(..2).unwrap_or("_"), hash]
            .into_iter()
            .chain(rest.iter().copied());
        Self(Path::from_iter(all.map(sanitize)))
    }

    /// Other file of a lesson's recording. Characters outside `[A-Za-z0-9._-]` become `_`.
    pub fn in_lesson(lesson: LessonId, parts: &[&str]) -> Self {
        let lesson = lesson.to_string();
        let all = ["lessons", lesson.as_str()]
            .into_iter()
            .chain(parts.iter().copied());
        Self(Path::from_iter(all.map(sanitize)))
    }
}

/// HTTP client that trusts the system's certificate authorities and those in the PEM file `path`.
fn client_options(path: &str) -> Result<ClientOptions, OpenError> {
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

/// Replaces characters that a store could interpret; `..` and separators cannot survive.
fn sanitize(part: &str) -> String {
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

/// The object store. Clones share it.
#[derive(Clone)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    /// Root directory of a local store.
    folder: Option<PathBuf>,
}

/// Failure to open the configured store.
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

    /// Opens a store of files below `folder`. A put returns after the file and its directory entry
    /// are fsync'd.
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
            retry_timeout: RETRY_TIMEOUT,
            max_retries: 6,
            backoff: BackoffConfig::default(),
        };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(&settings.region)
            .with_virtual_hosted_style_request(!settings.path_style)
            .with_client_options(client_options(&settings.ca_certificate)?)
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

    /// Stores a small object in one request; it is durable on return.
    pub async fn put(&self, key: &Key, content: Bytes) -> Result<(), StorageError> {
        self.store
            .put(&key.0, PutPayload::from_bytes(content))
            .await
            .map(drop)
    }

    /// Uploads a file of any size in bounded memory and returns its size; it is durable on return.
    pub async fn put_file(&self, key: &Key, file: &std::path::Path) -> Result<u64, StorageError> {
        let mut source = tokio::fs::File::open(file).await.map_err(read_failed)?;
        let upload = self.store.put_multipart(&key.0).await?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        match copy(&mut source, &mut writer).await {
            Ok(size_bytes) => writer.finish().await.map(|_| size_bytes),
            Err(error) => {
                // Report the first error. Parts that cannot be removed are left to the lifecycle
                // rule of the bucket.
                let _ = writer.abort().await;
                Err(error)
            }
        }
    }

    /// Stores an immutable, fsync'd file: by a hard link in a local store on the same disk, else by
    /// a copy. An existing object is kept.
    pub async fn link_file(&self, key: &Key, file: &std::path::Path) -> Result<(), StorageError> {
        if let Some(folder) = &self.folder {
            let (object, file) = (folder.join(key.0.as_ref()), file.to_owned());
            let linked = tokio::task::spawn_blocking(move || hard_link(&file, &object)).await;
            match linked.unwrap_or_else(|panic| Err(std::io::Error::other(panic))) {
                Ok(()) => return Ok(()),
                // The store is on another disk, or its file system has no hard links.
                Err(error) => tracing::debug!(%error, "a file is copied into the store"),
            }
        }
        self.put_file(key, file).await.map(drop)
    }

    /// Returns the path of an object in a local store, for reading only.
    pub fn local_path(&self, key: &Key) -> Option<PathBuf> {
        self.folder
            .as_ref()
            .map(|folder| folder.join(key.0.as_ref()))
            .filter(|path| path.is_file())
    }

    /// Removes an object; a missing object is no error.
    pub async fn remove(&self, key: &Key) -> Result<(), StorageError> {
        match self.store.delete(&key.0).await {
            Err(error) if !is_missing(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Returns the complete object.
    pub async fn get(&self, key: &Key) -> Result<Bytes, StorageError> {
        self.store.get(&key.0).await?.bytes().await
    }

    /// Streams the object, or a byte range of it.
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

    /// Returns the object's size.
    pub async fn size_bytes(&self, key: &Key) -> Result<u64, StorageError> {
        Ok(self.store.head(&key.0).await?.size)
    }

    /// Checks that the store answers.
    pub async fn probe(&self) -> Result<(), StorageError> {
        match self.store.head(&Path::from("probe")).await {
            Err(error) if !is_missing(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

/// Hard-links an fsync'd file and fsyncs the new directory entry.
fn hard_link(file: &std::path::Path, object: &std::path::Path) -> std::io::Result<()> {
    let folder = object.parent().unwrap_or(std::path::Path::new("."));
    std::fs::create_dir_all(folder)?;
    match std::fs::hard_link(file, object) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // The directory entry of the object, and that of the directory in case it is new.
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
