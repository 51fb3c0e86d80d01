//! Tongke 同课: live lessons across schools. The map of the server:
//!
//! ```text
//! top       memory cli demo app testing
//! http      assets http
//! features  identity schools timetable library live recording search
//! engines   db audit_log lease storage bus jobs index_queue worker download metrics listen
//! ground    ids string_enum lesson_types error config extract
//! ```
//!
//! A module may import the modules to its left in its own row, and all modules of the rows below;
//! `tests/architecture.rs` reads this map and fails on any other import.
//!
//! - `cli` `app` `listen` `http`: command line; start, stop and wiring; sockets and TLS; every URL
//! - `identity` `schools` `timetable`: who, where, when
//! - `library`: courseware and plans, shared · `live`: a lesson while it is on · `recording`: a subscriber
//!   of the lesson that writes it to disk and object storage · `search`: one box over all of them
//! - `db` `storage` `bus` `jobs` `index_queue`: the only modules that know which engine is behind them
//! - `worker`: runs `tongke-av` and `tongke-doc` in a sandbox · `download`: responses with stored objects
//!
//! Features communicate through ids, jobs and events. A query may join another feature's tables; only
//! the owning feature writes them.

mod app;
mod assets;
mod audit_log;
mod bus;
mod cli;
mod config;
mod db;
mod demo;
mod download;
mod error;
mod extract;
mod http;
mod identity;
mod ids;
mod index_queue;
mod jobs;
mod lease;
mod lesson_types;
mod library;
mod listen;
mod live;

mod memory;
mod metrics;
mod recording;
mod schools;
mod search;
mod storage;
mod string_enum;
#[cfg(test)]
mod testing;
mod timetable;
mod worker;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use jiff::Timestamp;
use tracing_subscriber::EnvFilter;

use cli::{Cli, Command, ConfigCommand, SearchCommand, Serve, Source};
use config::{Config, LogFormat};

fn main() -> ExitCode {
    restrict_file_modes();
    memory::set_mmap_threshold();
    let cli = Cli::parse();
    // Process-wide crypto provider of rustls.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if let Some(Command::Load(arguments)) = cli.command {
        return tongke_load::run(arguments);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let outcome = runtime.block_on(async {
        match cli.command {
            None => serve(cli.serve).await,
            Some(Command::Serve(arguments)) => serve(arguments).await,
            Some(Command::Config(ConfigCommand::Check(source))) => check(&source),
            Some(Command::AdminLink(source)) => admin_link(&source).await,
            Some(Command::Search(SearchCommand::Rebuild(source))) => rebuild_search(&source).await,
            Some(Command::Load(_)) => Ok(()),
        }
    });
    // Remaining tasks exceeded the shutdown limit.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(error.as_ref()),
    }
}

/// Creates every file without rights for group and others: they hold password hashes, keys and recordings
/// of children.
fn restrict_file_modes() {
    // SAFETY: umask only sets an attribute of the process; no other thread runs yet.
    unsafe { libc::umask(0o077) };
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("tongke: {error}");
    ExitCode::FAILURE
}

async fn serve(arguments: Serve) -> Outcome {
    let config = arguments.load()?;
    start_log(&config)?;
    memory::start_trimming()?;
    Ok(app::serve(config, arguments.demo).await?)
}

/// Sends log lines to standard error; standard output is for URLs and setup links.
fn start_log(config: &Config) -> Outcome {
    // rtc-dtls warns of every unknown ClientHello extension, a dozen per browser.
    let filter = EnvFilter::try_new(format!("rtc_dtls=error,{}", config.log.level))
        .map_err(|error| format!("[log] level: {error}"))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match config.log.format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    // Panics go to the log like other errors.
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!(%backtrace, "{panic}");
    }));
    Ok(())
}

fn check(source: &Source) -> Outcome {
    let config = source.load()?;
    println!(
        "The configuration is right. The server would listen on {}.",
        config.public_url()
    );
    Ok(())
}

async fn admin_link(source: &Source) -> Outcome {
    let (config, db) = open_database(source).await?;
    if identity::administrator_exists(&db).await? {
        return Err(
            "there is an administrator already; they can add others on the administration page"
                .into(),
        );
    }
    println!(
        "{}/setup/{}",
        config.public_url(),
        identity::create_setup_link(&db, Timestamp::now()).await?
    );
    Ok(())
}

async fn rebuild_search(source: &Source) -> Outcome {
    let (_, db) = open_database(source).await?;
    Ok(search::rebuild_with_progress(&db, |line| println!("{line}")).await?)
}

/// Opens the database of an existing installation; its server may be running.
async fn open_database(source: &Source) -> Result<(Config, db::Db), Box<dyn std::error::Error>> {
    let config = source.load()?;
    if config.database.url.is_empty() && !config.server.data_dir.exists() {
        let path = config.server.data_dir.display();
        return Err(format!(
            "there is no data directory {path}; start the server once, or name another with --data"
        )
        .into());
    }
    let db = db::Db::open(&config).await?;
    Ok((config, db))
}
