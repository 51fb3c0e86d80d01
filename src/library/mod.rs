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
//! Content is stored once, under its SHA-256, and analysed once. A resource has numbered versions; each points to content. Readers
//! other than the owner see the published version, which is the newest one unless a review is pending.

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

use content::ingest::{Arrival, Content, Shelf};
use content::sniff;
use upload::{Uploads, Wish};

pub use lesson_decks::{Deck, deck, page_pictures, page_text};
pub use resources::description::Description;

crate::string_enum! {
    /// What a resource is for.
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
    /// Who may see a resource besides its owner and administrators, once it is published.
    Visibility {
        /// Nobody else: a draft.
        Private = "private",
        /// The owner's school.
        School = "school",
        /// The schools of its community.
        Community = "community",
        /// Everybody who is signed in here.
        County = "county",
        /// Everybody, signed in or not.
        Public = "public",
    }
}

crate::string_enum! {
    /// How a resource stands with its school's reviewers.
    Review {
        /// Nobody needs to look at it.
        None = "none",
        /// The newest version, or a wider visibility, waits for a reviewer.
        Pending = "pending",
        Approved = "approved",
        /// A reviewer wants something changed.
        Returned = "returned",
    }
}

/// The library of this server. Cloning shares it.
#[derive(Clone)]
pub struct Library {
    config: Arc<Config>,
    db: Db,
    storage: Storage,
    jobs: Jobs,
    uploads: Uploads,
    shelf: Shelf,
}

impl Library {
    /// Opens the shelf and takes up uploads that a crash interrupted.
    pub async fn start(
        config: Arc<Config>,
        db: Db,
        storage: Storage,
        jobs: Jobs,
        bus: &Bus,
    ) -> io::Result<Library> {
        bus.subscribe_to_schools(Arc::new(index_source::SharedWithCommunity));
        let shelf = Shelf::new(db.clone(), storage.clone(), jobs.clone());
        tokio::spawn(shelf.clone().keep_tidy(config.library.removed_keep_days));
        let folder = config.server.data_dir.join("uploads");
        let uploads = Uploads::start(
            db.clone(),
            storage.clone(),
            shelf.clone(),
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
            shelf,
        })
    }

    /// Sources of resources and collections for the search index.
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

    /// Puts a small file on the shelf in a person's name.
    pub async fn put(
        &self,
        person: PersonId,
        name: &str,
        content: Vec<u8>,
        visibility: Visibility,
        description: Description,
    ) -> Result<ResourceId> {
        let sniffed = sniff::sniff(&content[..content.len().min(sniff::HEAD_BYTES)]);
        let (hash, size_bytes) = (hex::encode(Sha256::digest(&content)), content.len() as u64);
        let _kept = self.shelf.keep_content().await;
        self.shelf
            .storage
            .put(&Key::blob(&hash), content.into())
            .await
            .map_err(download::storage_error)?;
        let wish = Wish {
            visibility: Some(visibility),
            description: description.check()?,
            ..Wish::default()
        };
        let content = Content {
            hash,
            size_bytes,
            sniffed,
        };
        let arrival = Arrival {
            person,
            file_name: name.to_owned(),
            content,
            wish,
            upload: None,
        };
        Ok(self.shelf.arrive(arrival).await?.0)
    }

    /// Whether a person has anything on the shelf.
    pub async fn shares_something(&self, person: PersonId) -> Result<bool> {
        let found: Option<(String,)> =
            sqlx::query_as("SELECT id FROM resources WHERE owner_id = $1 LIMIT 1")
                .bind(person)
                .fetch_optional(self.shelf.db.pool())
                .await?;
        Ok(found.is_some())
    }

    /// Lets uploads write down what they have.
    pub async fn stop(&self, limit: Duration) {
        self.uploads.stop(limit).await;
    }
}

/// Every route of the library.
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
