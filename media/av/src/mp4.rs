//! Subcommand `mp4`: the lesson as one MP4 with H264 and AAC and the `moov` box in front.
//!
//! Video is composed ([`Composer`]) at 25 frames per second. An unchanged canvas is encoded again
//! only every two seconds, so a page that is shown for five minutes costs little. A lesson with one
//! camera in one resolution is remuxed: its H264 is copied.

use std::path::Path;

use ffmpeg_next::codec::Id;
use ffmpeg_next::format::context::{Input, Output};
use ffmpeg_next::{Dictionary, Packet, Rational, Rescale, media};
use serde_json::{Value, json};

use crate::audio::{Mixer, SAMPLE_RATE};
use crate::compose::{Composer, HEIGHT, WIDTH};
use crate::encode::{AudioEncoder, VideoEncoder, create, write};
use crate::error::Error;
use crate::input::open;
use crate::manifest::Manifest;
use crate::report::Progress;
use crate::video::MILLISECONDS;

/// Frame interval in milliseconds: 25 frames per second.
const FRAME_MS: u64 = 40;
/// Interval in milliseconds at which an unchanged canvas is repeated, for the precision of seeking.
const REPEAT_MS: u64 = 2_000;
/// Longest GOP in frames: five seconds.
const KEYFRAME_EVERY: u32 = 125;

/// Runs the job; returns the `done` report.
pub fn run(manifest: &Path, output: &Path) -> Result<Value, Error> {
    let manifest = Manifest::read(manifest)?;
    let copied = manifest
        .full_canvas_clip()
        .map(|clip| open(&clip.path))
        .transpose()?
        .filter(is_h264);
    let method = if copied.is_some() {
        "copied"
    } else {
        "composed"
    };
    let mut file = create(output)?;
    let video = match copied {
        Some(input) => Video::Copied(CopiedVideo::add(&mut file, input)?),
        None if manifest.video.is_empty() && manifest.stills.is_empty() => Video::None,
        None => Video::Composed(ComposedVideo::add(&mut file, &manifest)?),
    };
    let audio = MixedAudio::add(&mut file, &manifest)?;
    let mut options = Dictionary::new();
    options.set("movflags", "+faststart");
    file.write_header_with(options)
        .map_err(Error::output(output))?;
    write_media(&mut file, video, audio, manifest.duration_ms)?;
    file.write_trailer().map_err(Error::output(output))?;
    Ok(json!({ "duration_ms": manifest.duration_ms, "video": method }))
}

/// Writes video and audio in turn, one frame interval at a time, which bounds the muxer's
/// interleaving queue.
fn write_media(
    file: &mut Output,
    mut video: Video,
    mut audio: MixedAudio,
    duration_ms: u64,
) -> Result<(), Error> {
    let mut progress = Progress::default();
    for time_ms in (0..duration_ms).step_by(FRAME_MS as usize) {
        video.advance(file, time_ms)?;
        audio.advance(file, time_ms + FRAME_MS)?;
        progress.update(time_ms, duration_ms);
    }
    video.finish(file, duration_ms)?;
    audio.finish(file)
}

/// Video of the MP4.
enum Video {
    None,
    Composed(ComposedVideo),
    Copied(CopiedVideo),
}

impl Video {
    /// Writes the video up to `time_ms`.
    fn advance(&mut self, file: &mut Output, time_ms: u64) -> Result<(), Error> {
        match self {
            Video::None => Ok(()),
            Video::Composed(composed) => composed.advance(file, time_ms),
            Video::Copied(copied) => copied.advance(file, time_ms),
        }
    }

    fn finish(self, file: &mut Output, duration_ms: u64) -> Result<(), Error> {
        match self {
            Video::None => Ok(()),
            Video::Composed(mut composed) => composed.finish(file, duration_ms),
            Video::Copied(mut copied) => copied.advance(file, u64::MAX),
        }
    }
}

/// Video composed from tracks and stills, encoded as H264.
struct ComposedVideo {
    composer: Composer,
    encoder: VideoEncoder,
    /// Current canvas, and the time in milliseconds at which it was last encoded.
    canvas: Option<(ffmpeg_next::frame::Video, u64)>,
}

impl ComposedVideo {
    fn add(file: &mut Output, manifest: &Manifest) -> Result<ComposedVideo, Error> {
        let encoder = VideoEncoder::add(file, WIDTH, HEIGHT, KEYFRAME_EVERY)?;
        Ok(ComposedVideo {
            composer: Composer::new(manifest),
            encoder,
            canvas: None,
        })
    }

    fn advance(&mut self, file: &mut Output, time_ms: u64) -> Result<(), Error> {
        let changed = self.composer.at(time_ms)?;
        let is_repeat_due = self
            .canvas
            .as_ref()
            .is_none_or(|(_, encoded)| time_ms - encoded >= REPEAT_MS);
        let canvas = match (changed, self.canvas.take()) {
            (Some(canvas), _) => canvas,
            (None, Some((canvas, _))) if is_repeat_due => canvas,
            (None, kept) => {
                self.canvas = kept;
                return Ok(());
            }
        };
        self.encoder.encode(canvas.clone(), time_ms as i64, file)?;
        self.canvas = Some((canvas, time_ms));
        Ok(())
    }

    /// Encodes the canvas once more at the end; without it the video would end with the last
    /// change.
    fn finish(&mut self, file: &mut Output, duration_ms: u64) -> Result<(), Error> {
        let end = duration_ms.saturating_sub(FRAME_MS);
        if let Some((canvas, encoded)) = self.canvas.take()
            && encoded < end
        {
            self.encoder.encode(canvas, end as i64, file)?;
        }
        self.encoder.finish(file)
    }
}

/// H264 video copied from one clip.
struct CopiedVideo {
    input: Input,
    /// Stream index in the input.
    from: usize,
    /// Stream index in the output.
    to: usize,
    time_base: Rational,
    /// Packet that was read ahead and is not due.
    pending: Option<Packet>,
}

impl CopiedVideo {
    fn add(file: &mut Output, input: Input) -> Result<CopiedVideo, Error> {
        let source = input
            .streams()
            .best(media::Type::Video)
            .ok_or(ffmpeg_next::Error::StreamNotFound)?;
        let (from, time_base) = (source.index(), source.time_base());
        let mut stream = file.add_stream(ffmpeg_next::encoder::find(Id::None))?;
        stream.set_parameters(source.parameters());
        stream.set_time_base(time_base);
        // A codec tag belongs to its container: the muxer chooses its own.
        // SAFETY: the stream lives as long as the file, and its parameters were just set.
        unsafe { (*stream.parameters().as_mut_ptr()).codec_tag = 0 };
        let to = stream.index();
        Ok(CopiedVideo {
            input,
            from,
            to,
            time_base,
            pending: None,
        })
    }

    fn advance(&mut self, file: &mut Output, time_ms: u64) -> Result<(), Error> {
        loop {
            let Some(packet) = self.pending.take().or_else(|| self.read()) else {
                return Ok(());
            };
            let due = packet
                .dts()
                .unwrap_or(0)
                .rescale(self.time_base, MILLISECONDS);
            if due > i64::try_from(time_ms).unwrap_or(i64::MAX) {
                self.pending = Some(packet);
                return Ok(());
            }
            write(packet, self.to, self.time_base, file)?;
        }
    }

    fn read(&mut self) -> Option<Packet> {
        loop {
            let mut packet = Packet::empty();
            packet.read(&mut self.input).ok()?;
            if packet.stream() == self.from {
                return Some(packet);
            }
        }
    }
}

fn is_h264(input: &Input) -> bool {
    input
        .streams()
        .best(media::Type::Video)
        .is_some_and(|stream| stream.parameters().id() == Id::H264)
}

/// Mix of all audio tracks, encoded as AAC; silence in gaps.
struct MixedAudio {
    mixer: Mixer,
    /// `None` if the lesson has no audio track.
    encoder: Option<AudioEncoder>,
    /// Encoded samples since the start of the lesson.
    position: i64,
}

impl MixedAudio {
    fn add(file: &mut Output, manifest: &Manifest) -> Result<MixedAudio, Error> {
        let encoder = if manifest.audio.is_empty() {
            None
        } else {
            Some(AudioEncoder::add(file)?)
        };
        Ok(MixedAudio {
            mixer: Mixer::new(&manifest.audio),
            encoder,
            position: 0,
        })
    }

    /// Encodes audio up to `until_ms`.
    fn advance(&mut self, file: &mut Output, until_ms: u64) -> Result<(), Error> {
        let Some(encoder) = &mut self.encoder else {
            return Ok(());
        };
        let until = (until_ms * u64::from(SAMPLE_RATE) / 1000) as i64;
        let (mut left, mut right) = (
            vec![0.0; encoder.frame_size()],
            vec![0.0; encoder.frame_size()],
        );
        while self.position < until {
            self.mixer.mix(self.position, &mut left, &mut right)?;
            encoder.encode(self.position, &left, &right, file)?;
            self.position += left.len() as i64;
        }
        Ok(())
    }

    fn finish(mut self, file: &mut Output) -> Result<(), Error> {
        match &mut self.encoder {
            Some(encoder) => encoder.finish(file),
            None => Ok(()),
        }
    }
}
