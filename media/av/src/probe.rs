//! Subcommand `probe`: container format, duration and streams of a file.

use std::path::Path;

use ffmpeg_next::codec::context::Context;
use ffmpeg_next::{Stream, media};
use serde_json::{Value, json};

use crate::error::Error;
use crate::input::open;

/// Runs the job; returns the `done` report.
pub fn run(file: &Path) -> Result<Value, Error> {
    let input = open(file)?;
    let streams: Vec<Value> = input.streams().map(|stream| describe(&stream)).collect();
    if streams.is_empty() {
        return Err(Error::NoStream {
            path: file.to_owned(),
            what: "stream",
        });
    }
    // libav gives the duration in microseconds; negative means unknown.
    let duration_ms = (input.duration() >= 0).then(|| input.duration() / 1000);
    Ok(json!({ "format": input.format().name(), "duration_ms": duration_ms, "streams": streams }))
}

fn describe(stream: &Stream) -> Value {
    let parameters = stream.parameters();
    let codec = parameters.id().name();
    let context = || Context::from_parameters(stream.parameters()).map(|context| context.decoder());
    match parameters.medium() {
        media::Type::Video => match context().and_then(|decoder| decoder.video()) {
            Ok(video) => {
                json!({ "kind": "video", "codec": codec, "width": video.width(), "height": video.height() })
            }
            Err(_) => json!({ "kind": "video", "codec": codec }),
        },
        media::Type::Audio => match context().and_then(|decoder| decoder.audio()) {
            Ok(audio) => {
                json!({ "kind": "audio", "codec": codec, "rate": audio.rate(), "channels": audio.channels() })
            }
            Err(_) => json!({ "kind": "audio", "codec": codec }),
        },
        _ => json!({ "kind": "other", "codec": codec }),
    }
}
