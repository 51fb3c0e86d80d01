//! Subcommand `poster`: one frame of a file as JPEG.

use std::path::Path;

use ffmpeg_next::codec::{self, Id};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::{Packet, encoder, frame};
use serde_json::{Value, json};

use crate::compose::scale;
use crate::error::Error;
use crate::video::{MILLISECONDS, VideoReader};

/// Width in pixels: twice the width of a card in the lesson list, for high-density screens.
const WIDTH: u32 = 640;

/// Runs the job; returns the `done` report.
pub fn run(input: &Path, output: &Path, at_seconds: f64) -> Result<Value, Error> {
    let frame = find_frame(input, (at_seconds.max(0.0) * 1000.0) as i64)?;
    let height =
        (u64::from(WIDTH) * u64::from(frame.height()) / u64::from(frame.width().max(1))) as u32;
    let scaled = scale(&mut None, &frame, WIDTH, (height & !1).clamp(2, 4 * WIDTH))?;
    let jpeg = encode(scaled)?;
    std::fs::write(output, &jpeg).map_err(|error| {
        Error::output(output)(ffmpeg_next::Error::Other {
            errno: error.raw_os_error().unwrap_or_default(),
        })
    })?;
    Ok(json!({ "width": WIDTH, "height": height & !1, "size_bytes": jpeg.len() }))
}

/// Returns the first frame at or after `at_ms`, relative to the first frame, or else the last
/// frame.
fn find_frame(input: &Path, at_ms: i64) -> Result<frame::Video, Error> {
    let mut reader = VideoReader::open(input)?;
    let (mut begin, mut found) = (None, None);
    while let Some((time, frame)) = reader.next()? {
        let is_wanted = time - *begin.get_or_insert(time) >= at_ms;
        found = Some(frame);
        if is_wanted {
            break;
        }
    }
    found.ok_or_else(|| Error::NoStream {
        path: input.to_owned(),
        what: "video",
    })
}

fn encode(mut frame: frame::Video) -> Result<Vec<u8>, Error> {
    let codec = encoder::find(Id::MJPEG).ok_or(Error::MissingCodec("a JPEG encoder"))?;
    let mut encoder = codec::context::Context::new_with_codec(codec)
        .encoder()
        .video()?;
    encoder.set_width(frame.width());
    encoder.set_height(frame.height());
    // JPEG is full range. The frame has limited-range values; a conversion would cost a second pass
    // and gain a little contrast.
    encoder.set_format(Pixel::YUVJ420P);
    encoder.set_time_base(MILLISECONDS);
    frame.set_format(Pixel::YUVJ420P);
    frame.set_pts(Some(0));
    let mut encoder = encoder.open()?;
    encoder.send_frame(&frame)?;
    encoder.send_eof()?;
    let mut packet = Packet::empty();
    encoder.receive_packet(&mut packet)?;
    Ok(packet.data().unwrap_or_default().to_vec())
}
