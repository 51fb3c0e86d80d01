//! One picture of a file as JPEG.

use std::path::Path;

use ffmpeg_next::codec::{self, Id};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::{Packet, encoder, frame};
use serde_json::{Value, json};

use crate::compose::scale;
use crate::error::Error;
use crate::picture::{MILLISECONDS, Reader};

/// Twice the width of a card in the list, for sharp screens.
const WIDTH: u32 = 640;

pub fn run(input: &Path, output: &Path, at_seconds: f64) -> Result<Value, Error> {
    let picture = find(input, (at_seconds.max(0.0) * 1000.0) as i64)?;
    let height =
        (u64::from(WIDTH) * u64::from(picture.height()) / u64::from(picture.width().max(1))) as u32;
    let scaled = scale(
        &mut None,
        &picture,
        WIDTH,
        (height & !1).clamp(2, 4 * WIDTH),
    )?;
    let jpeg = encode(scaled)?;
    std::fs::write(output, &jpeg).map_err(|error| {
        Error::output(output)(ffmpeg_next::Error::Other {
            errno: error.raw_os_error().unwrap_or_default(),
        })
    })?;
    Ok(json!({ "width": WIDTH, "height": height & !1, "size_bytes": jpeg.len() }))
}

/// The first picture at or after `at_ms` from the file's first, or else its last.
fn find(input: &Path, at_ms: i64) -> Result<frame::Video, Error> {
    let mut reader = Reader::open(input)?;
    let (mut begin, mut found) = (None, None);
    while let Some((time, picture)) = reader.next()? {
        let enough = time - *begin.get_or_insert(time) >= at_ms;
        found = Some(picture);
        if enough {
            break;
        }
    }
    found.ok_or_else(|| Error::Missing {
        path: input.to_owned(),
        what: "picture",
    })
}

fn encode(mut picture: frame::Video) -> Result<Vec<u8>, Error> {
    let codec = encoder::find(Id::MJPEG).ok_or(Error::Lacks("a JPEG encoder"))?;
    let mut encoder = codec::context::Context::new_with_codec(codec)
        .encoder()
        .video()?;
    encoder.set_width(picture.width());
    encoder.set_height(picture.height());
    // The full-range twin of 4:2:0; the values were scaled as limited range, which costs a little contrast and no second pass.
    encoder.set_format(Pixel::YUVJ420P);
    encoder.set_time_base(MILLISECONDS);
    picture.set_format(Pixel::YUVJ420P);
    picture.set_pts(Some(0));
    let mut encoder = encoder.open()?;
    encoder.send_frame(&picture)?;
    encoder.send_eof()?;
    let mut packet = Packet::empty();
    encoder.receive_packet(&mut packet)?;
    Ok(packet.data().unwrap_or_default().to_vec())
}
