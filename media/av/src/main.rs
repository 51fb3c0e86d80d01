//! `tongke-av`: the one program of Tongke that links libav. It runs as a child with limits, one job per process, so that a file that
//! breaks a decoder breaks nothing else.
//!
//! Standard output is lines of JSON: `{"progress":0.4}` while it works, then one `{"done":{…}}` or `{"error":{"code":…,"message":…}}`.
//! The exit status is 0 for done, 2 for input that cannot be used (trying again is useless), 1 for everything else.
//!
//! ```text
//! probe      what a file holds                        manifest   what a lesson's MP4 is made of
//! poster     one picture as JPEG                      picture    decoded pictures by lesson time
//! mp4        the lesson as one file                   sound      decoded sound by lesson time
//!   compose  which pictures, where on the canvas      encode     H264 and AAC into a file
//! voices     all voices of the lesson as one track
//! rendition  a track that HLS cannot carry, as one that it can
//! ```

mod compose;
mod encode;
mod error;
mod manifest;
mod mp4;
mod picture;
mod poster;
mod probe;
mod rendition;
mod report;
mod sound;
mod voices;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::Value;

use error::Error;

#[derive(Parser)]
#[command(about = "Media jobs of Tongke: probe, poster, MP4, renditions")]
struct Cli {
    #[command(subcommand)]
    job: Job,
}

#[derive(Subcommand)]
enum Job {
    /// Says what a file holds.
    Probe { file: PathBuf },
    /// Writes one picture of a file as JPEG.
    Poster {
        #[arg(long)]
        input: PathBuf,
        #[arg(long)]
        output: PathBuf,
        /// Seconds from the file's first picture.
        #[arg(long, default_value_t = 0.0)]
        at: f64,
    },
    /// Writes the lesson that a manifest describes as one MP4.
    Mp4 {
        #[arg(long)]
        manifest: PathBuf,
        #[arg(long)]
        output: PathBuf,
    },
    /// Writes all voices of a manifest, mixed, as fragmented MP4 with AAC.
    Voices {
        #[arg(long)]
        manifest: PathBuf,
        #[arg(long)]
        output: PathBuf,
    },
    /// Writes a video as fragmented MP4 with H264, its times kept.
    Rendition {
        #[arg(long)]
        input: PathBuf,
        #[arg(long)]
        output: PathBuf,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = start().and_then(|()| run(cli.job));
    match outcome {
        Ok(done) => {
            report::done(done);
            ExitCode::SUCCESS
        }
        Err(error) => {
            report::failed(&error);
            ExitCode::from(if error.is_final() { 2 } else { 1 })
        }
    }
}

fn start() -> Result<(), Error> {
    ffmpeg_next::init()?;
    ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Error);
    Ok(())
}

fn run(job: Job) -> Result<Value, Error> {
    match job {
        Job::Probe { file } => probe::run(&file),
        Job::Poster { input, output, at } => poster::run(&input, &output, at),
        Job::Mp4 { manifest, output } => mp4::run(&manifest, &output),
        Job::Voices { manifest, output } => voices::run(&manifest, &output),
        Job::Rendition { input, output } => rendition::run(&input, &output),
    }
}
