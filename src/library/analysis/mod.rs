//! Analysis of content, once for all resources that have it: `tongke-doc` extracts text and renders
//! pages, `tongke-av` probes audio and video. Both run in the sandbox. Derived files are stored
//! first and rows are written last, in one transaction, so a killed run is repeated from the start
//! and leaves nothing half done.
//!
//! Rendering a deck takes seconds to minutes and decks queue behind each other, but text should be
//! searchable at once. A second job in a lane of its own, `words`, therefore extracts only the
//! text, within seconds. It feeds only the search index and the suggestions: `understand` reads the
//! file again and overrides its results. Rejected alternative: both in one run, text first. The
//! text would still wait for all decks queued before.

mod analyzer;
pub mod derived;
mod document;
pub mod facts;
mod media;
mod refine;
mod rendition;
mod report;
mod routes;
mod rows;

use sqlx::{Any, Transaction};

use crate::config::Config;
use crate::db::{Db, DbError};
use crate::error::Error;
use crate::ids::{JobId, PersonId};
use crate::jobs::{Jobs, Lane, NewJob, Owner};
use crate::library::Library;
use crate::storage::{Storage, StorageError};
use crate::worker::{Worker, WorkerError};
use analyzer::Analyzer;
use facts::Facts;

pub use routes::routes;

/// Submits the analysis of a content, in the transaction that stores it. A queued, running or done
/// job stays as it is; a failed or cancelled one is queued again.
pub async fn submit_analysis(
    jobs: &Jobs,
    tx: &mut Transaction<'static, Any>,
    hash: &str,
    person: PersonId,
) -> Result<JobId, DbError> {
    let key = format!("understand:{hash}");
    jobs.submit_in(
        tx,
        NewJob {
            kind: "understand",
            key,
            owner: Some(Owner::Person(person)),
        },
    )
    .await
}

/// Sniffed types without extractable text.
const TYPES_WITHOUT_TEXT: [&str; 9] = [
    "audio", "video", "png", "jpeg", "gif", "bmp", "webp", "heic", "zip",
];

/// Submits the text extraction of a content, unless its sniffed type has no text.
pub async fn submit_text_extraction(
    jobs: &Jobs,
    tx: &mut Transaction<'static, Any>,
    hash: &str,
    kind: &str,
    person: PersonId,
) -> Result<(), DbError> {
    if TYPES_WITHOUT_TEXT.contains(&kind) {
        return Ok(());
    }
    let key = format!("words:{hash}");
    jobs.submit_in(
        tx,
        NewJob {
            kind: "words",
            key,
            owner: Some(Owner::Person(person)),
        },
    )
    .await
    .map(drop)
}

/// Submits the conversion of audio or video that browsers do not play, in the lane of long jobs.
async fn submit_rendition(
    jobs: &Jobs,
    tx: &mut Transaction<'static, Any>,
    hash: &str,
    person: Option<PersonId>,
) -> Result<JobId, DbError> {
    let key = format!("playable:{hash}");
    jobs.submit_in(
        tx,
        NewJob {
            kind: "playable",
            key,
            owner: person.map(Owner::Person),
        },
    )
    .await
}

impl Library {
    /// Registers the job handlers of the library.
    pub fn register_jobs(
        &self,
        config: &Config,
        media: Worker,
        jobs: &Jobs,
        storage: &Storage,
        db: &Db,
    ) {
        let analyzer = Analyzer {
            db: db.clone(),
            storage: storage.clone(),
            jobs: jobs.clone(),
            media,
            documents: Worker::documents(&config.documents),
            max_pages: config.documents.pages,
            document_seconds: config.documents.wall_seconds * 4 / 5,
            scratch: config.server.data_dir.join("scratch").join("library"),
        };
        let (renditions, texts) = (analyzer.clone(), analyzer.clone());
        jobs.register(Lane::Text, "words", move |job| {
            texts.clone().run_text_extraction(job)
        });
        jobs.register(Lane::Documents, "understand", move |job| {
            analyzer.clone().run_analysis(job)
        });
        jobs.register(Lane::Media, "playable", move |job| {
            renditions.clone().run_rendition(job)
        });
    }
}

/// Result of a run, besides the files that it stored.
#[derive(Default)]
struct Analysis {
    kind: String,
    mime: String,
    title: Option<String>,
    author: Option<String>,
    text: String,
    pages: Vec<AnalyzedPage>,
    facts: Facts,
}

struct AnalyzedPage {
    number: i64,
    width: i64,
    height: i64,
    /// Its images are stored.
    is_rendered: bool,
    text: String,
}

#[derive(Debug, thiserror::Error)]
enum AnalysisError {
    #[error("worker: {0}")]
    Worker(#[from] WorkerError),
    #[error("object store: {0}")]
    Storage(#[from] StorageError),
    #[error("database: {0}")]
    Db(#[from] DbError),
    #[error("scratch directory: {0}")]
    Scratch(#[from] std::io::Error),
    #[error("{0}")]
    Server(#[from] Error),
    #[error("invalid worker output: {0}")]
    InvalidOutput(&'static str),
    #[error("the content was removed")]
    ContentRemoved,
}
