//! Shared library: teachers upload, describe, share and reuse resources.
//!
//! ```text
//! upload        tus 1.0 server: bytes to disk, hashed, then into the object store
//! content       content-addressed storage: ingest transaction, MIME sniffing, garbage collection
//! analysis      jobs that extract text, page images, posters and renditions in the sandbox
//! resources     lists, detail, description, suggestions, changes one by one and in batches
//! access        visibility rule as SQL, part of every query; checks before a change
//! review        approval by the school's reviewers before publication
//! files         downloads of originals and derived files, with ranges; several files as one zip
//! collections   ordered sets of resources
//! feedback      ratings, comments, use counts
//! links         lesson plan ↔ deck ↔ lesson ↔ recording
//! lesson_decks  decks of a lesson, page by page, kept for its replay
//! index_source  documents and ACL groups for the search index
//! ```
//!
//! Content is stored once, under its SHA-256, and analysed once. A resource has numbered versions;
//! each points to content. Readers other than the owner see the published version, which is the
//! newest one unless a review is pending.

mod access;
mod analysis;
mod collections;
mod content;
mod feedback;
mod files;
mod index_source;
mod lesson_decks;
mod links;
mod resources;
mod review;
#[cfg(test)]
mod tests;
mod upload;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use utoipa_axum::router::OpenApiRouter;

use crate::bus::Bus;
use crate::config::Config;
use crate::db::Db;
use crate::download;
use crate::error::Result;
use crate::ids::{PersonId, ResourceId};
use crate::index_queue::{IndexSource, Kind};
use crate::jobs::Jobs;
use crate::storage::{Key, Storage};

use content::ContentStore;
use content::ingest::{Content, IncomingFile, IngestOptions};
use content::sniff;
use upload::Uploads;

pub use lesson_decks::{Deck, deck, page_images, page_text};
pub use resources::description::Description;

crate::string_enum! {
    /// Purpose of a resource.
    ResourceKind {
        /// 课件
        Courseware = "courseware",
        /// 教案
        LessonPlan = "lesson_plan",
        /// 习题
        Exercise = "exercise",
        /// 微课
        MicroLesson = "micro_lesson",
        /// 录课
        Recording = "recording",
        Other = "other",
    }
}

crate::string_enum! {
    /// Audience of a published resource, besides its owner and administrators.
    Visibility {
        /// Owner only: a draft.
        Private = "private",
        /// The owner's school.
        School = "school",
        /// The schools of its community.
        Community = "community",
        /// Every signed-in user of this server.
        County = "county",
        /// Everybody, without sign-in.
        Public = "public",
    }
}

crate::string_enum! {
    /// Review state of a resource.
    Review {
        /// No review is required.
        None = "none",
        /// The newest version or a wider visibility waits for a reviewer.
        Pending = "pending",
        Approved = "approved",
        /// A reviewer requests changes.
        Returned = "returned",
    }
}

/// State of the library. Clones share it.
#[derive(Clone)]
pub struct Library {
    config: Arc<Config>,
    db: Db,
    storage: Storage,
    jobs: Jobs,
    uploads: Uploads,
    content: ContentStore,
}

impl Library {
    /// Starts the garbage collector and resumes uploads that a crash interrupted.
    pub async fn start(
        config: Arc<Config>,
        db: Db,
        storage: Storage,
        jobs: Jobs,
        bus: &Bus,
    ) -> io::Result<Library> {
        bus.subscribe_to_schools(Arc::new(index_source::SharedWithCommunity));
        let content = ContentStore::new(db.clone(), storage.clone(), jobs.clone());
        tokio::spawn(
            content
                .clone()
                .run_garbage_collector(config.library.removed_keep_days),
        );
        let folder = config.server.data_dir.join("uploads");
        let uploads = Uploads::start(
            db.clone(),
            storage.clone(),
            content.clone(),
            folder,
            config.library.clone(),
        )
        .await?;
        Ok(Library {
            config,
            db,
            storage,
            jobs,
            uploads,
            content,
        })
    }

    /// Returns the sources of resources and collections for the search index.
    pub fn index_sources(&self) -> [IndexSource; 2] {
        let (resources, collections) = (self.db.clone(), self.db.clone());
        [
            (Kind::Resource, Arc::new(index_source::Resources(resources))),
            (
                Kind::Collection,
                Arc::new(index_source::Collections(collections)),
            ),
        ]
    }

    /// Adds a small file as a resource of a person.
    pub async fn add_file(
        &self,
        person: PersonId,
        name: &str,
        bytes: Vec<u8>,
        visibility: Visibility,
        description: Description,
    ) -> Result<ResourceId> {
        let sniffed = sniff::sniff(&bytes[..bytes.len().min(sniff::HEAD_BYTES)]);
        let (hash, size_bytes) = (hex::encode(Sha256::digest(&bytes)), bytes.len() as u64);
        let _paused = self.content.pause_garbage_collection().await;
        self.content
            .storage
            .put(&Key::blob(&hash), bytes.into())
            .await
            .map_err(download::storage_error)?;
        let options = IngestOptions {
            visibility: Some(visibility),
            description: description.validate()?,
            ..IngestOptions::default()
        };
        let content = Content {
            hash,
            size_bytes,
            sniffed,
        };
        let file = IncomingFile {
            person,
            file_name: name.to_owned(),
            content,
            options,
            upload: None,
        };
        Ok(self.content.ingest(file).await?.0)
    }

    /// Returns true if the person owns a resource, even a removed one.
    pub async fn has_resources(&self, person: PersonId) -> Result<bool> {
        let found: Option<(String,)> =
            sqlx::query_as("SELECT id FROM resources WHERE owner_id = $1 LIMIT 1")
                .bind(person)
                .fetch_optional(self.db.pool())
                .await?;
        Ok(found.is_some())
    }

    /// Stops uploads after they acknowledge the bytes on disk; waits at most `limit`.
    pub async fn stop(&self, limit: Duration) {
        self.uploads.stop(limit).await;
    }
}

/// All routes of the library.
pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new()
        .merge(upload::routes())
        .merge(resources::routes())
        .merge(files::routes())
        .merge(review::routes())
        .merge(analysis::routes())
        .merge(feedback::routes())
        .merge(links::routes())
        .merge(lesson_decks::routes())
        .merge(collections::routes())
}
