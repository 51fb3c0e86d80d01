//! The job that understands a content, once for all resources that have it: `tongke-doc` reads documents and draws their pages, `tongke-av`
//! looks at sound and pictures. Both run in the sandbox. What comes out is stored first and written to the rows last, in one transaction,
//! so a run that is killed is repeated from the start and leaves nothing half done.
//!
//! Drawing the pages of a deck takes seconds to minutes, and decks wait for each other; people want to find at once what is in them. So
//! a second job in a lane of its own, `words`, reads only what the file says and is done in a moment. It helps the search and decides
//! nothing: what it cannot read is left to `understand`, which reads everything again. Both in one run, words first, was turned down: a
//! text would still wait for all the decks before it.

mod document;
pub mod facts;
mod media;
mod rows;

use std::path::{Path as FilePath, PathBuf};

use axum::extract::State;
use axum::http::StatusCode;
use sqlx::{Any, Transaction};
use tokio::io::AsyncWriteExt;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::config::Config;
use crate::db::{Db, DbError};
use crate::error::{Error, Result};
use crate::extract::{Json, Path};
use crate::identity::Actor;
use crate::ids::{JobId, PersonId, ResourceId};
use crate::jobs::{Failure, Job, JobState, Jobs, Lane, NewJob, Owner, RunningJob};
use crate::library::Library;
use crate::library::access::Reader;
use crate::library::analysis::facts::Facts;
use crate::library::resources::detail;
use crate::storage::{Key, Storage, StorageError};
use crate::worker::{ScratchDir, Worker, WorkerError};

pub fn routes() -> OpenApiRouter<Library> {
    OpenApiRouter::new().routes(routes!(again))
}

/// Tries once more to understand a file that failed or was cancelled, or to make the copy of it that browsers play.
#[utoipa::path(post, path = "/api/resources/{id}/understand", tag = "library", params(("id" = ResourceId, Path)), responses((status = 202, body = Job), (status = 403, body = crate::error::Body), (status = 409, body = crate::error::Body)))]
async fn again(
    State(library): State<Library>,
    actor: Actor,
    Path(id): Path<ResourceId>,
) -> Result<(StatusCode, Json<Job>)> {
    detail::editable(&library, &actor, id).await?;
    let reader = Reader::of(&library.db, Some(&actor)).await?;
    let seen = detail::seen(&library.db, &reader, id, None).await?;
    let mut tx = library.db.begin().await?;
    let person = PersonId(actor.id());
    let job = match Facts::of(&seen.facts)
        .media
        .is_some_and(|media| media.plays.is_none())
    {
        true => media::order_playable(&library.jobs, &mut tx, &seen.hash, Some(person)).await?,
        false => {
            rows::start_anew(&mut tx, &seen.hash).await?;
            order(&library.jobs, &mut tx, &seen.hash, person).await?
        }
    };
    tx.commit().await?;
    library.jobs.wake();
    let job = library.jobs.get(job).await?.ok_or_else(detail::missing)?;
    Ok((StatusCode::ACCEPTED, Json(job)))
}

/// Names of what is made of a content, in the store.
pub const IMAGE: &str = "image";
pub const POSTER: &str = "poster.jpg";
pub const RENDITION: &str = "rendition.mp4";
pub const SHEETS: &str = "sheets.json";
/// A content's name in the folder of a run.
const INPUT: &str = "input";

/// A program that crashes on a file crashes again; a machine that ran out of memory for a moment does not.
const TRIES_OF_A_CRASH: i64 = 2;
/// The share of the progress that the program's own work is.
const READ: f64 = 0.8;

/// Pages are drawn in two sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageSize {
    Large,
    Small,
}

impl PageSize {
    pub fn of(word: &str) -> Option<PageSize> {
        match word {
            "large" => Some(Self::Large),
            "small" => Some(Self::Small),
            _ => None,
        }
    }

    /// The stored picture of page `n`.
    pub fn name(self, n: i64) -> String {
        match self {
            Self::Large => format!("page-{n}-large.webp"),
            Self::Small => format!("page-{n}-small.webp"),
        }
    }
}

/// Orders the understanding of a content in the transaction that puts it on the shelf. What is understood already stays so.
pub async fn order(
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

/// What has no words that could be read before it is understood, as the first look calls it.
const WORDLESS: [&str; 9] = [
    "audio", "video", "png", "jpeg", "gif", "bmp", "webp", "heic", "zip",
];

/// Orders, beside the understanding of a content that seems to be of this kind, that its words be found before.
pub async fn order_words(
    jobs: &Jobs,
    tx: &mut Transaction<'static, Any>,
    hash: &str,
    kind: &str,
    person: PersonId,
) -> Result<(), DbError> {
    if WORDLESS.contains(&kind) {
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

/// What a run found out, besides what it stored.
#[derive(Default)]
struct Findings {
    kind: String,
    mime: String,
    title: Option<String>,
    author: Option<String>,
    text: String,
    pages: Vec<PageFound>,
    facts: Facts,
}

struct PageFound {
    number: i64,
    width: i64,
    height: i64,
    /// Its pictures are stored.
    drawn: bool,
    text: String,
}

#[derive(Debug, thiserror::Error)]
enum UnderstandError {
    #[error("the program: {0}")]
    Worker(#[from] WorkerError),
    #[error("the store: {0}")]
    Storage(#[from] StorageError),
    #[error("the database: {0}")]
    Db(#[from] DbError),
    #[error("the scratch folder: {0}")]
    Scratch(#[from] std::io::Error),
    #[error("{0}")]
    Server(#[from] Error),
    #[error("the program says what cannot be: {0}")]
    Nonsense(&'static str),
    #[error("the content is gone")]
    Gone,
}

/// Where contents are understood.
#[derive(Clone)]
struct Desk {
    db: Db,
    storage: Storage,
    jobs: Jobs,
    media: Worker,
    documents: Worker,
    most_pages: u32,
    /// The program ends by itself, with what it has, before it is ended.
    document_seconds: u64,
    scratch: PathBuf,
}

impl Library {
    /// Says who understands contents. What is in `scratch` does not outlive a run.
    pub fn register_jobs(
        &self,
        config: &Config,
        media: Worker,
        jobs: &Jobs,
        storage: &Storage,
        db: &Db,
    ) {
        let desk = Desk {
            db: db.clone(),
            storage: storage.clone(),
            jobs: jobs.clone(),
            media,
            documents: Worker::documents(&config.documents),
            most_pages: config.documents.pages,
            document_seconds: config.documents.wall_seconds * 4 / 5,
            scratch: config.server.data_dir.join("scratch").join("library"),
        };
        let (films, texts) = (desk.clone(), desk.clone());
        jobs.register(Lane::Text, "words", move |job| {
            texts.clone().find_words(job)
        });
        jobs.register(Lane::Documents, "understand", move |job| {
            desk.clone().understand(job)
        });
        jobs.register(Lane::Media, "playable", move |job| {
            films.clone().make_playable(job)
        });
    }
}

impl Desk {
    async fn understand(self, job: RunningJob) -> Result<(), Failure> {
        let Some(hash) = job.key.strip_prefix("understand:").map(str::to_owned) else {
            return Err(Failure::Permanent("the job names no content".into()));
        };
        match self.read(&hash, &job).await {
            Ok(()) => Ok(()),
            Err(error) => self.judge(&hash, &job, error).await,
        }
    }

    /// Fails only where another try helps: what is wrong with a file is written down by the job that understands it.
    async fn find_words(self, job: RunningJob) -> Result<(), Failure> {
        let Some(hash) = job.key.strip_prefix("words:") else {
            return Err(Failure::Permanent("the job names no content".into()));
        };
        let Err(error) = self.read_words(hash, &job).await else {
            return Ok(());
        };
        match &error {
            // The server stops.
            UnderstandError::Worker(WorkerError::Cancelled) => {
                Err(Failure::Retry(error.to_string()))
            }
            UnderstandError::Worker(_) | UnderstandError::Nonsense(_) | UnderstandError::Gone => {
                tracing::debug!(%error, hash, "the words of a file are left to the job that understands it");
                Ok(())
            }
            _ => Err(Failure::Retry(error.to_string())),
        }
    }

    async fn read_words(&self, hash: &str, job: &RunningJob) -> Result<(), UnderstandError> {
        if !rows::is_waiting(&self.db, hash).await? {
            return Ok(());
        }
        let scratch = ScratchDir::create(&self.scratch, job.id)?;
        let input = self.fetch(hash, &scratch).await?;
        let findings = self.words(hash, &input, &scratch, job).await?;
        rows::write_words(&self.db, hash, &findings).await
    }

    async fn read(&self, hash: &str, job: &RunningJob) -> Result<(), UnderstandError> {
        let kind = rows::kind(&self.db, hash)
            .await?
            .ok_or(UnderstandError::Gone)?;
        let scratch = ScratchDir::create(&self.scratch, job.id)?;
        let input = self.fetch(hash, &scratch).await?;
        let findings = match kind.as_str() {
            "audio" | "video" => self.look(hash, &input, &scratch, job).await?,
            _ => match self.inspect(hash, &input, &scratch, job).await? {
                found if matches!(found.kind.as_str(), "audio" | "video") => {
                    self.look(hash, &input, &scratch, job).await?
                }
                found => found,
            },
        };
        // Together: a page that sees the one without the other says that there is nothing to play, and looks no more.
        let mut tx = self.db.begin().await?;
        rows::write(&mut tx, hash, &findings).await?;
        if findings
            .facts
            .media
            .is_some_and(|media| media.plays.is_none())
        {
            let giver = rows::giver(&mut tx, hash).await?;
            media::order_playable(&self.jobs, &mut tx, hash, giver).await?;
        }
        tx.commit().await?;
        self.jobs.wake();
        Ok(())
    }

    /// Writes down what cannot be understood, and says whether another try may help.
    async fn judge(
        &self,
        hash: &str,
        job: &RunningJob,
        error: UnderstandError,
    ) -> Result<(), Failure> {
        let why = error.to_string();
        let code = match &error {
            UnderstandError::Worker(WorkerError::BadInput { code, .. }) => code.as_str(),
            UnderstandError::Worker(WorkerError::Limit(_) | WorkerError::TooLong(_)) => "limit",
            UnderstandError::Worker(WorkerError::Failed(_)) | UnderstandError::Nonsense(_)
                if job.attempt >= TRIES_OF_A_CRASH =>
            {
                "crashed"
            }
            UnderstandError::Worker(WorkerError::Cancelled) if self.was_cancelled(job).await => {
                "cancelled"
            }
            UnderstandError::Gone => return Err(Failure::Permanent(why)),
            _ => return Err(Failure::Retry(why)),
        };
        match rows::fail(&self.db, hash, code, &why).await {
            Ok(()) => Err(Failure::Permanent(why)),
            Err(error) => Err(Failure::Retry(error.to_string())),
        }
    }

    /// By a person, not by the server's stop.
    async fn was_cancelled(&self, job: &RunningJob) -> bool {
        let found = self.jobs.get(job.id).await;
        found.is_ok_and(|job| job.is_some_and(|job| job.state == JobState::Cancelled))
    }

    /// The content as a file: the store's own where it has one, or else a copy.
    async fn fetch(&self, hash: &str, scratch: &ScratchDir) -> Result<PathBuf, UnderstandError> {
        if let Some(path) = self.storage.local_path(&Key::blob(hash)) {
            return Ok(std::path::absolute(path)?);
        }
        let path = scratch.file(INPUT);
        let mut file = tokio::fs::File::create(&path).await?;
        let mut stream = self.storage.stream(&Key::blob(hash), None).await?;
        while let Some(bytes) = futures_util::StreamExt::next(&mut stream).await {
            file.write_all(&bytes?).await?;
        }
        file.flush().await?;
        Ok(path)
    }

    /// The content under a name in the run's own folder: a manifest names nothing outside of it.
    async fn bring(&self, hash: &str, scratch: &ScratchDir) -> Result<(), UnderstandError> {
        let (input, inside) = (self.fetch(hash, scratch).await?, scratch.file(INPUT));
        if input != inside && tokio::fs::hard_link(&input, &inside).await.is_err() {
            // The store is on another disk.
            tokio::fs::copy(&input, &inside).await?;
        }
        Ok(())
    }

    async fn store(&self, hash: &str, name: &str, file: &FilePath) -> Result<(), UnderstandError> {
        self.storage
            .put_file(&Key::derived(hash, name), file)
            .await?;
        Ok(())
    }
}

/// A path as an argument.
fn argument(path: &FilePath) -> &str {
    path.to_str().unwrap_or_default()
}
