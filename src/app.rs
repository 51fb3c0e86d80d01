//! Start and stop of the server, and the wiring of its parts.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum_server::Handle;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tongke_plane::Plane;

use crate::bus::Bus;
use crate::config::Config;
use crate::db::{self, Db, DbError};
use crate::http::{self, Services};
use crate::identity::{self, Identity};
use crate::ids::LessonId;
use crate::jobs::Jobs;
use crate::lease::{Lease, LeaseError};
use crate::library::Library;
use crate::listen::{self, ListenError};
use crate::live::{self, Lessons, Live};
use crate::recording::{self, Health, Recordings};
use crate::schools::{self, Schools};
use crate::search::{self, Search};
use crate::storage::{self, Storage};
use crate::timetable::{self, InterruptedLesson, Timetable};
use crate::worker::Worker;
use crate::{audit_log, demo, metrics};

/// Minimum shutdown time of each part, even after the limit has passed.
const MIN_SHUTDOWN: Duration = Duration::from_secs(1);

/// Fatal errors of the server, at start or later.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot use the data directory {}: {cause}", path.display())]
    DataDir { path: PathBuf, cause: io::Error },
    #[error("another tongke is running on the data directory {}", .0.display())]
    Running(PathBuf),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Db(#[from] db::OpenError),
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error("the database failed: {0}")]
    Statement(#[from] db::DbError),
    #[error(transparent)]
    Storage(#[from] storage::OpenError),
    #[error("the demonstration could not be set up: {0}")]
    Demo(#[from] demo::DemoError),
    #[error("the media plane could not start: {0}")]
    Plane(#[from] tongke_plane::StartError),
    #[error(transparent)]
    Recordings(#[from] recording::StartError),
    #[error("the library cannot be opened: {0}")]
    Library(io::Error),
    #[error(transparent)]
    Search(#[from] search::OpenError),
    #[error("the web server failed: {0}")]
    Http(io::Error),
}

/// Opens every engine and feature that the configuration names.
pub async fn open(config: Config) -> Result<Services, ServeError> {
    let config = Arc::new(config);
    let db = Db::open(&config).await?;
    let lease = Lease::acquire(&db, &config.server.data_dir, Timestamp::now()).await?;
    let storage = Storage::open(&config)?;
    let jobs = Jobs::new(
        db.clone(),
        config.worker.concurrent,
        config.documents.concurrent,
    );
    let (bus, metrics) = (Bus::default(), metrics::install());
    let (plane, events) = tongke_plane::start(plane_config(&config))?;
    let lessons = Lessons::start(&config, plane.clone(), events, db.clone(), bus.clone());
    let recordings = open_recordings(&config, &db, &storage, &jobs, &plane, &lessons, &bus).await?;
    let library = Library::start(
        config.clone(),
        db.clone(),
        storage.clone(),
        jobs.clone(),
        &bus,
    );
    let library = library.await.map_err(ServeError::Library)?;
    library.register_jobs(&config, Worker::media(&config.worker), &jobs, &storage, &db);
    let search = Search::open(&config, db.clone()).await?;
    let sources = [
        identity::index_source(&db),
        schools::index_source(&db),
        recordings.index_source(),
    ];
    for (kind, source) in sources.into_iter().chain(library.index_sources()) {
        search.register(kind, source);
    }
    Ok(Services {
        identity: Identity::new(config.clone(), db.clone()),
        schools: Schools {
            config: config.clone(),
            db: db.clone(),
            bus,
        },
        timetable: Timetable {
            config: config.clone(),
            db: db.clone(),
        },
        live: Live {
            config: config.clone(),
            db: db.clone(),
            lessons,
        },
        config,
        db,
        lease,
        refusals: audit_log::RefusalLimit::new(Instant::now()),
        storage,
        jobs,
        metrics,
        plane,
        recordings,
        library,
        search,
    })
}

/// Resumes the lessons that were live when the server died, with their recordings. Clients are
/// reconnecting already.
async fn resume_lessons(
    config: &Config,
    lessons: &Lessons,
    recordings: &Recordings,
    interrupted: Vec<InterruptedLesson>,
) -> Result<(), DbError> {
    for lesson in interrupted {
        tracing::warn!(lesson.id = %lesson.id, "resuming a lesson that was live when the server stopped");
        let past = recordings.timeline(lesson.id).await?;
        let recording = if config.recording.enabled {
            recordings
                .resume_recording(lesson.id, lesson.began_at)
                .await?;
            live::protocol::RecorderStatus::On
        } else {
            live::protocol::RecorderStatus::Off
        };
        lessons.resume(lesson, &past, recording);
    }
    Ok(())
}

/// Recovers the spool before lessons can begin and jobs run, and resumes interrupted lessons.
async fn open_recordings(
    config: &Config,
    db: &Db,
    storage: &Storage,
    jobs: &Jobs,
    plane: &Plane,
    lessons: &Lessons,
    bus: &Bus,
) -> Result<Recordings, ServeError> {
    let interrupted =
        timetable::resume_interrupted(db, Timestamp::now() - live::ABANDONED_AFTER).await?;
    let source = Arc::new(plane.clone());
    let reporting = lessons.clone();
    let report = Arc::new(move |lesson, health| {
        let state = match health {
            Health::Ok => live::protocol::RecorderStatus::On,
            Health::Failing => live::protocol::RecorderStatus::Failing,
        };
        reporting.set_recording(lesson, state);
    });
    let resumed: Vec<LessonId> = interrupted
        .iter()
        .filter(|_| config.recording.enabled)
        .map(|lesson| lesson.id)
        .collect();
    let recordings = Recordings::start(
        config,
        db.clone(),
        storage.clone(),
        jobs.clone(),
        source,
        report,
        &resumed,
    )
    .await?;
    recordings.register_exports(
        &Worker::media(&config.worker),
        &config.server.data_dir.join("scratch"),
    );
    if config.recording.enabled {
        recordings.listen(bus.subscribe());
    }
    resume_lessons(config, lessons, &recordings, interrupted).await?;
    Ok(recordings)
}

/// Configuration of the media plane. Without `[media] advertise` the ICE candidates are this machine's
/// reachable addresses.
fn plane_config(config: &Config) -> tongke_plane::Config {
    let media = &config.media;
    let advertise = match (media.advertise.is_empty(), media.listen.is_unspecified()) {
        (false, _) => media.advertise.clone(),
        (true, false) => vec![media.listen],
        (true, true) => {
            let addresses = listen::local_addresses();
            addresses
                .into_iter()
                .filter(|address| address.is_ipv4() == media.listen.is_ipv4())
                .collect()
        }
    };
    tongke_plane::Config {
        shards: config.shard_addresses(),
        advertise,
        max_peers: media.max_peers,
    }
}

/// Runs the server until SIGTERM or SIGINT.
pub async fn serve(config: Config, with_demo: bool) -> Result<(), ServeError> {
    let listener = listen::bind(config.server.listen)?;
    let _lock = lock_data_dir(&config).await?;
    let services = open(config).await?;
    let tls = listen::tls(&services.config).await?;
    services.jobs.start().await?;
    services.search.start();
    let keep_days = services.config.audit.keep_days;
    tokio::spawn(audit_log::keep_retention(services.db.clone(), keep_days));
    tokio::spawn(metrics::run_upkeep(services.metrics.clone()));
    if with_demo {
        demo::start(&services).await?;
    } else {
        invite_administrator(&services).await?;
    }
    tokio::spawn(exit_when_lease_is_lost(services.lease.clone()));
    run(services.clone(), listener, tls).await?;
    if let Err(error) = services.lease.release().await {
        tracing::warn!(%error, "the lease of the database was not released");
    }
    services.db.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Exits without finishing anything: another server has this one's lessons and jobs already, and
/// whatever this process still wrote would damage them.
async fn exit_when_lease_is_lost(lease: Lease) {
    lease.keep().await;
    tracing::error!("another server has taken over this database; exiting at once");
    std::process::exit(1);
}

/// A killed server's child inherits the lock until its `exec`; the start retries for this long.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Creates and locks the data directory. A second server would treat this one's running jobs as
/// interrupted by a crash.
async fn lock_data_dir(config: &Config) -> Result<std::fs::File, ServeError> {
    let path = config.server.data_dir.clone();
    let failed = |cause| ServeError::DataDir {
        path: path.clone(),
        cause,
    };
    create_private_dir(&path).map_err(failed)?;
    let lock = std::fs::File::create(path.join("lock")).map_err(failed)?;
    let begun = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(std::fs::TryLockError::WouldBlock) if begun.elapsed() < LOCK_TIMEOUT => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(std::fs::TryLockError::WouldBlock) => return Err(ServeError::Running(path)),
            Err(std::fs::TryLockError::Error(cause)) => return Err(failed(cause)),
        }
    }
}

/// Creates the directory, and gives it mode 0700 even if it exists: it holds password hashes, keys and
/// recordings.
fn create_private_dir(path: &std::path::Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
}

/// Prints the setup link while there is no administrator.
async fn invite_administrator(services: &Services) -> Result<(), ServeError> {
    if identity::administrator_exists(&services.db).await? {
        return Ok(());
    }
    let token = identity::create_setup_link(&services.db, Timestamp::now()).await?;
    println!("还没有管理员。请在 24 小时内打开此链接创建管理员（仅可使用一次）：");
    println!("No administrator yet. Open this link within 24 hours to create one (it works once):");
    println!("    {}/setup/{token}", services.config.public_url());
    Ok(())
}

async fn run(
    services: Services,
    listener: TcpListener,
    tls: Option<listen::Tls>,
) -> Result<(), ServeError> {
    let limit = Duration::from_secs(services.config.server.shutdown_seconds);
    let handle = Handle::new();
    let stopping = tokio::spawn(shut_down_on_signal(services.clone(), handle.clone(), limit));
    tracing::info!(url = services.config.public_url(), "listening");
    println!("Tongke 同课  {}", services.config.public_url());
    let router = http::router(services.clone());
    let served = listen::serve(&services.config, listener, tls, handle, router).await;
    served.map_err(ServeError::Http)?;
    // The accept loop ended on a signal; the shutdown task has a limit of its own.
    let _ = stopping.await;
    Ok(())
}

/// Graceful shutdown on SIGTERM or SIGINT: stops accepting requests, ends lessons, finishes recordings
/// and jobs, within the limit. A second signal exits immediately.
async fn shut_down_on_signal(services: Services, handle: Handle<SocketAddr>, limit: Duration) {
    termination_signal().await;
    tracing::info!(
        limit_seconds = limit.as_secs(),
        "stopping: lessons end and recordings finish"
    );
    tokio::spawn(async {
        termination_signal().await;
        tracing::warn!("second signal: exiting without finishing");
        std::process::exit(1);
    });
    let began = Instant::now();
    handle.graceful_shutdown(Some(limit));
    // The recorder receives the end of each lesson from the bus.
    if tokio::time::timeout(limit, services.live.lessons.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some lessons did not end in time");
    }
    services
        .library
        .stop(limit.saturating_sub(began.elapsed()).max(MIN_SHUTDOWN))
        .await;
    services
        .recordings
        .stop(limit.saturating_sub(began.elapsed()).max(MIN_SHUTDOWN))
        .await;
    // An interrupted job runs again at the next start.
    services
        .jobs
        .stop(limit.saturating_sub(began.elapsed()).max(MIN_SHUTDOWN))
        .await;
    services
        .search
        .stop(limit.saturating_sub(began.elapsed()).max(MIN_SHUTDOWN))
        .await;
    handle.shutdown();
}

async fn termination_signal() {
    let mut terminate =
        signal(SignalKind::terminate()).expect("the process may install signal handlers");
    let mut interrupt =
        signal(SignalKind::interrupt()).expect("the process may install signal handlers");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_directory_is_closed_to_others_whatever_it_was_before() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("set");
        create_private_dir(folder.path()).expect("set");
        let mode = std::fs::metadata(folder.path())
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[tokio::test]
    async fn a_start_waits_for_the_lock_of_a_killed_server() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = Config::default();
        config.server.data_dir = folder.path().to_owned();
        let held = lock_data_dir(&config).await.expect("the lock is free");
        let next = tokio::spawn(async move { lock_data_dir(&config).await.is_ok() });
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!next.is_finished(), "the lock is still held");
        drop(held);
        assert!(next.await.expect("no panic"));
    }
}
