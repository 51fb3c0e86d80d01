//! Subcommand `rendition`: transcodes video that HLS cannot carry (VP8) to fragmented MP4 with
//! H264.
//!
//! The output has one fragment per GOP and keeps the timestamps of the input.

use std::path::Path;

use ffmpeg_next::software::scaling;
use ffmpeg_next::{Dictionary, format::context::Output, frame};
use serde_json::{Value, json};

use crate::compose::scale;
use crate::encode::{VideoEncoder, create};
use crate::error::Error;
use crate::report::Progress;
use crate::video::VideoReader;

/// Keyframe interval in milliseconds: each fragment becomes a segment of a playlist.
const SEGMENT_MS: i64 = 2_000;
/// Longest GOP in frames: a fallback that regular frame rates never reach.
const KEYFRAME_EVERY: u32 = 250;

/// Runs the job; returns the `done` report.
pub fn run(input: &Path, output: &Path) -> Result<Value, Error> {
    let mut reader = VideoReader::open(input)?;
    let Some((start, first)) = reader.next()? else {
        return Err(Error::NoStream {
            path: input.to_owned(),
            what: "video",
        });
    };
    let mut file = create(output)?;
    let (width, height) = (first.width().max(2) & !1, first.height().max(2) & !1);
    let mut encoder = VideoEncoder::add(&mut file, width, height, KEYFRAME_EVERY)?;
    let mut options = Dictionary::new();
    // `frag_discont` keeps the time of the first fragment; the muxer would start from zero.
    options.set(
        "movflags",
        "frag_keyframe+empty_moov+default_base_moof+frag_discont",
    );
    // Timescale of the recorder's own segments.
    options.set("video_track_timescale", "90000");
    options.set("avoid_negative_ts", "disabled");
    file.write_header_with(options)
        .map_err(Error::output(output))?;
    let end = transcode(
        &mut reader,
        (start, first),
        &mut encoder,
        &mut file,
        width,
        height,
    )?;
    encoder.finish(&mut file)?;
    file.write_trailer().map_err(Error::output(output))?;
    Ok(json!({ "start_ms": start, "end_ms": end, "width": width, "height": height }))
}

/// Transcodes all frames, scaled to the size of the first. Returns the time of the last one in
/// milliseconds.
fn transcode(
    reader: &mut VideoReader,
    first: (i64, frame::Video),
    encoder: &mut VideoEncoder,
    file: &mut Output,
    width: u32,
    height: u32,
) -> Result<i64, Error> {
    let mut scaler: Option<scaling::Context> = None;
    let mut progress = Progress::default();
    let (mut last, mut keyframe) = (i64::MIN, first.0);
    let mut next = Some(first);
    while let Some((time, frame)) = next {
        if time > last {
            let mut scaled = scale(&mut scaler, &frame, width, height)?;
            if time - keyframe >= SEGMENT_MS {
                scaled.set_kind(ffmpeg_next::picture::Type::I);
                keyframe = time;
            }
            encoder.encode(scaled, time, file)?;
            last = time;
        }
        // The total is unknown; a lesson lasts about 45 minutes.
        progress.update(time.max(0) as u64, 45 * 60 * 1000);
        next = reader.next()?;
    }
    Ok(last)
}
