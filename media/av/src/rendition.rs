//! A video that HLS cannot carry (VP8), as fragmented MP4 with H264: an init part, then a fragment from each keyframe to the next, on the
//! times of the input.

use std::path::Path;

use ffmpeg_next::software::scaling;
use ffmpeg_next::{Dictionary, format::context::Output, frame};
use serde_json::{Value, json};

use crate::compose::scale;
use crate::encode::{PictureEncoder, create};
use crate::error::Error;
use crate::picture::Reader;
use crate::report::Progress;

/// A keyframe is made this often: fragments become segments of a playlist.
const SEGMENT_MS: i64 = 2_000;
/// Never reached by pictures that come in time.
const KEYFRAME_EVERY: u32 = 250;

pub fn run(input: &Path, output: &Path) -> Result<Value, Error> {
    let mut reader = Reader::open(input)?;
    let Some((start, first)) = reader.next()? else {
        return Err(Error::Missing {
            path: input.to_owned(),
            what: "picture",
        });
    };
    let mut file = create(output)?;
    let (width, height) = (first.width().max(2) & !1, first.height().max(2) & !1);
    let mut encoder = PictureEncoder::add(&mut file, width, height, KEYFRAME_EVERY)?;
    let mut options = Dictionary::new();
    // `frag_discont` makes the muxer take the first fragment's time as it is, instead of starting from zero.
    options.set(
        "movflags",
        "frag_keyframe+empty_moov+default_base_moof+frag_discont",
    );
    // The clock rate of the recorder's own segments.
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

/// Returns the time of the last picture. Pictures of another size are scaled to the first one's.
fn transcode(
    reader: &mut Reader,
    first: (i64, frame::Video),
    encoder: &mut PictureEncoder,
    file: &mut Output,
    width: u32,
    height: u32,
) -> Result<i64, Error> {
    let mut scaler: Option<scaling::Context> = None;
    let mut progress = Progress::default();
    let (mut last, mut keyframe) = (i64::MIN, first.0);
    let mut next = Some(first);
    while let Some((time, picture)) = next {
        if time > last {
            let mut scaled = scale(&mut scaler, &picture, width, height)?;
            if time - keyframe >= SEGMENT_MS {
                scaled.set_kind(ffmpeg_next::picture::Type::I);
                keyframe = time;
            }
            encoder.encode(scaled, time, file)?;
            last = time;
        }
        // How much is left is unknown; a lesson lasts about 45 minutes.
        progress.tell(time.max(0) as u64, 45 * 60 * 1000);
        next = reader.next()?;
    }
    Ok(last)
}
