//! `tongke-doc`: detects the type of a file of the resource library and extracts text, outline and
//! pages. The server runs one sandboxed child per file.
//!
//! Standard output is JSON lines: `{"progress":0.4}` during the job, then one `{"done":{…}}` or
//! `{"error":{"code":…,"message":…}}`. The exit status is 0 for done, 2 for an unusable file (a
//! retry is useless), 1 for every other error.
//!
//! ```text
//! subcommands
//!   type      file type by magic bytes       file_type    magic bytes and structure
//!   words     text and outline, fast         inspect      selects the reader, writes result.json
//!   inspect   text, outline and pages        supervise    runs the job in a child process
//! readers
//!   package, xml          bounded zip and XML   docx, pptx, excel, odf   office packages
//!   ole, office_binary    Office 97 to 2003     libreoffice  office file → PDF
//!   pdf, pdf_text         outline, page text    render       PDF pages → WebP
//!   plain_text, html      text, Markdown, HTML  image_file, strip_metadata   images without EXIF
//!   csv, grid             cells of tables       archive      file list of a zip
//! results
//!   content               text and headings     limits       resource limits for one file
//!   report                JSON lines            error        error codes
//! ```

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};

use tongke_doc::{Error, Inspection, RenderOptions, file_type, inspect, report, supervise};

/// Stack size in bytes: enough for the recursion of every parser library on valid documents.
const STACK_BYTES: usize = 64 << 20;
/// Time limit of `type`, which reads a few kilobytes.
const TYPE_SECONDS: u64 = 20;

#[derive(Parser)]
#[command(about = "Document jobs of Tongke: type, text, outline and pages of a file")]
struct Cli {
    #[command(subcommand)]
    job: Job,
    /// Runs the job in this process. Without it a child runs the job, so that a crash ends in a
    /// report.
    #[arg(long, global = true, hide = true)]
    inside: bool,
}

#[derive(Subcommand)]
enum Job {
    /// Detects the type of a file by its bytes.
    Type { input: PathBuf },
    /// Writes text and result.json of a file into a folder, without pages.
    #[command(name = "words")]
    Text(TextArgs),
    /// Writes text, pages and result.json of a file into a folder.
    Inspect(InspectArgs),
}

#[derive(Args)]
struct TextArgs {
    #[command(flatten)]
    file: FileArgs,
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

#[derive(Args)]
struct InspectArgs {
    #[command(flatten)]
    file: FileArgs,
    #[arg(long, default_value_t = 500)]
    pages_max: usize,
    #[arg(long, default_value_t = 240)]
    seconds: u64,
    /// Path of LibreOffice's program.
    #[arg(long, default_value = "/usr/lib/libreoffice/program/soffice.bin")]
    soffice: PathBuf,
}

/// Input file and output folder.
#[derive(Args)]
struct FileArgs {
    input: PathBuf,
    /// Existing folder for the results.
    out_dir: PathBuf,
    /// File name that the uploader gave; marks files with the wrong extension. May begin with a
    /// hyphen.
    #[arg(long, allow_hyphen_values = true)]
    name: Option<String>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if !cli.inside {
        return supervise::run(Duration::from_secs(seconds(&cli.job)));
    }
    let worker = std::thread::Builder::new()
        .stack_size(STACK_BYTES)
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
        Job::Text(args) => args.seconds,
        Job::Inspect(args) => args.seconds,
    }
}

fn run(job: Job) -> Result<Value, Error> {
    match job {
        Job::Type { input } => file_type::detect(&input)
            .map(|file_type| json!({ "type": file_type.name(), "mime": file_type.mime() })),
        Job::Text(TextArgs { file, seconds }) => {
            let FileArgs {
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
        Job::Inspect(InspectArgs {
            file,
            pages_max,
            seconds,
            soffice,
        }) => {
            let FileArgs {
                input,
                out_dir,
                name,
            } = file;
            inspect::run(&Inspection {
                input,
                out_dir,
                name,
                seconds,
                pages: Some(RenderOptions { pages_max, soffice }),
            })
        }
    }
}
