//! `tongke-av`: the only program of Tongke that links libav. The server runs one sandboxed child
//! per job, so a file that crashes a decoder affects nothing else.
//!
//! Standard output is JSON lines: `{"progress":0.4}` during the job, then one `{"done":{…}}` or
//! `{"error":{"code":…,"message":…}}`. The exit status is 0 for done, 2 for unusable input (a retry
//! is useless), 1 for every other error.
//!
//! ```text
//! probe      format and streams of a file          manifest  sources and scenes of an MP4
//! poster     one frame as JPEG                     input     opens media files
//! mp4        the lesson as one file                video     decoded frames by lesson time
//!   compose  tracks and stills on one canvas       audio     decoded and mixed samples
//! mix        all audio tracks as one (`voices`)    encode    H264 and AAC into a file
//! rendition  VP8 transcoded to H264 for HLS        report    JSON lines
//! ```

mod audio;
mod compose;
mod encode;
mod error;
mod input;
mod manifest;
mod mix;
mod mp4;
mod poster;
mod probe;
mod rendition;
mod report;
mod video;

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
    /// Reports format, duration and streams of a file.
    Probe { file: PathBuf },
    /// Writes one frame of a file as JPEG.
    Poster {
        #[arg(long)]
        input: PathBuf,
        #[arg(long)]
        output: PathBuf,
        /// Seconds after the first frame of the file.
        #[arg(long, default_value_t = 0.0)]
        at: f64,
    },
    /// Writes the lesson of a manifest as one MP4.
    Mp4 {
        #[arg(long)]
        manifest: PathBuf,
        #[arg(long)]
        output: PathBuf,
    },
    /// Writes all audio tracks of a manifest, mixed, as fragmented MP4 with AAC.
    #[command(name = "voices")]
    Mix {
        #[arg(long)]
        manifest: PathBuf,
        #[arg(long)]
        output: PathBuf,
    },
    /// Transcodes a video to fragmented MP4 with H264, timestamps unchanged.
    Rendition {
        #[arg(long)]
        input: PathBuf,
        #[arg(long)]
        output: PathBuf,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = init_libav().and_then(|()| run(cli.job));
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

fn init_libav() -> Result<(), Error> {
    ffmpeg_next::init()?;
    ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Error);
    Ok(())
}

fn run(job: Job) -> Result<Value, Error> {
    match job {
        Job::Probe { file } => probe::run(&file),
        Job::Poster { input, output, at } => poster::run(&input, &output, at),
        Job::Mp4 { manifest, output } => mp4::run(&manifest, &output),
        Job::Mix { manifest, output } => mix::run(&manifest, &output),
        Job::Rendition { input, output } => rendition::run(&input, &output),
    }
}
