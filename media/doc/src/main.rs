//! `tongke-doc`: says what a file of the shared library is and what is in it. It runs as a child with limits, one file per process.
//!
//! Standard output is lines of JSON: `{"progress":0.4}` while it works, then one `{"done":{…}}` or `{"error":{"code":…,"message":…}}`.
//! The exit status is 0 for done, 2 for a file that cannot be used (trying again is useless), 1 for everything else.
//!
//! ```text
//! type      what a file is, by its bytes               kind     magic bytes and structure
//! words     its text and outline, quickly              inspect  which reader is asked, result.json
//! inspect   its text, outline and pages
//!   package, xml    zip and XML, bounded                 word, slides, sheets, odf   office packages
//!   ole             the older binary formats             office   LibreOffice: office file → PDF
//!   pdf, glyphs     PDF: outline, text, pages            draw     pages as WebP
//!   plain, html     text in any encoding                 picture, strip   upright, without EXIF
//!   separated       CSV                                  grid     cells where they stand, for the page's table
//! ```

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};

use tongke_doc::{Drawing, Error, Inspection, inspect, kind, report, supervise};

/// Enough for every recursion of the libraries that read documents; what needs more is an attack.
const STACK: usize = 64 << 20;
/// `type` reads a few kilobytes.
const TYPE_SECONDS: u64 = 20;

#[derive(Parser)]
#[command(about = "Document jobs of Tongke: type, text, outline and pages of a file")]
struct Cli {
    #[command(subcommand)]
    job: Job,
    /// Work in this process. Without it a child does the work, so that its crash too ends in a plain answer.
    #[arg(long, global = true, hide = true)]
    inside: bool,
}

#[derive(Subcommand)]
enum Job {
    /// Says what a file is, by its bytes.
    Type { input: PathBuf },
    /// Writes text and result.json of a file into a folder: what can be said of it before its pages are drawn.
    Words(Words),
    /// Writes text, pages and result.json of a file into a folder.
    Inspect(Inspect),
}

#[derive(Args)]
struct Words {
    #[command(flatten)]
    file: File,
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

#[derive(Args)]
struct Inspect {
    #[command(flatten)]
    file: File,
    #[arg(long, default_value_t = 500)]
    pages_max: usize,
    #[arg(long, default_value_t = 240)]
    seconds: u64,
    /// LibreOffice's program.
    #[arg(long, default_value = "/usr/lib/libreoffice/program/soffice.bin")]
    soffice: PathBuf,
}

/// Which file, and where to.
#[derive(Args)]
struct File {
    input: PathBuf,
    /// An existing folder.
    out_dir: PathBuf,
    /// What the uploader called it, which may begin with anything: only to say when the name promises something else.
    #[arg(long, allow_hyphen_values = true)]
    name: Option<String>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if !cli.inside {
        return supervise::run(Duration::from_secs(seconds(&cli.job)));
    }
    let worker = std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || run(cli.job));
    let outcome = match worker.map(std::thread::JoinHandle::join) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(Error::Broken("reading it failed".into())),
        Err(cause) => Err(Error::Start(cause)),
    };
    report::outcome(&outcome)
}

fn seconds(job: &Job) -> u64 {
    match job {
        Job::Type { .. } => TYPE_SECONDS,
        Job::Words(words) => words.seconds,
        Job::Inspect(inspect) => inspect.seconds,
    }
}

fn run(job: Job) -> Result<Value, Error> {
    match job {
        Job::Type { input } => {
            kind::detect(&input).map(|kind| json!({ "type": kind.name(), "mime": kind.mime() }))
        }
        Job::Words(Words { file, seconds }) => {
            let File {
                input,
                out_dir,
                name,
            } = file;
            inspect::run(&Inspection {
                input,
                out_dir,
                name,
                seconds,
                pages: None,
            })
        }
        Job::Inspect(Inspect {
            file,
            pages_max,
            seconds,
            soffice,
        }) => {
            let File {
                input,
                out_dir,
                name,
            } = file;
            inspect::run(&Inspection {
                input,
                out_dir,
                name,
                seconds,
                pages: Some(Drawing { pages_max, soffice }),
            })
        }
    }
}
