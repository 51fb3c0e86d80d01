//! The lesson as one MP4 that every browser, phone and player opens: H264 and AAC, its index in front.
//!
//! The picture is composed ([`Composer`]) on a grid of 25 per second, and a canvas that did not change is not encoded again: a page that
//! stands for five minutes costs nothing. Where there is only one camera in one resolution, its H264 is copied as it came.

use std::path::Path;

use ffmpeg_next::codec::Id;
use ffmpeg_next::format::context::{Input, Output};
use ffmpeg_next::{Dictionary, Packet, Rational, Rescale, media};
use serde_json::{Value, json};

use crate::compose::{Composer, HEIGHT, WIDTH};
use crate::encode::{PictureEncoder, SoundEncoder, create, write};
use crate::error::Error;
use crate::manifest::Manifest;
use crate::picture::{MILLISECONDS, open};
use crate::report::Progress;
use crate::sound::{Mixer, RATE};

/// 25 pictures a second.
const PICTURE_MS: u64 = 40;
/// A canvas that stands is repeated after this, so that seeking finds something near.
const REPEAT_MS: u64 = 2_000;
/// Five seconds of moving picture from keyframe to keyframe.
const KEYFRAME_EVERY: u32 = 125;

pub fn run(manifest: &Path, output: &Path) -> Result<Value, Error> {
    let manifest = Manifest::read(manifest)?;
    let copied = manifest
        .only_clip()
        .map(|clip| open(&clip.path))
        .transpose()?
        .filter(is_h264);
    let method = if copied.is_some() {
        "copied"
    } else {
        "composed"
    };
    let mut file = create(output)?;
    let pictures = match copied {
        Some(input) => Pictures::Copied(CopiedPictures::add(&mut file, input)?),
        None if manifest.pictures.is_empty() && manifest.stills.is_empty() => Pictures::None,
        None => Pictures::Composed(ComposedPictures::add(&mut file, &manifest)?),
    };
    let sounds = Sounds::add(&mut file, &manifest)?;
    let mut options = Dictionary::new();
    options.set("movflags", "+faststart");
    file.write_header_with(options)
        .map_err(Error::output(output))?;
    fill(&mut file, pictures, sounds, manifest.duration_ms)?;
    file.write_trailer().map_err(Error::output(output))?;
    Ok(json!({ "duration_ms": manifest.duration_ms, "video": method }))
}

/// Writes pictures and sound side by side, a picture's length at a time, so that the muxer never holds more than that.
fn fill(
    file: &mut Output,
    mut pictures: Pictures,
    mut sounds: Sounds,
    duration_ms: u64,
) -> Result<(), Error> {
    let mut progress = Progress::default();
    for time_ms in (0..duration_ms).step_by(PICTURE_MS as usize) {
        pictures.advance(file, time_ms)?;
        sounds.advance(file, time_ms + PICTURE_MS)?;
        progress.tell(time_ms, duration_ms);
    }
    pictures.finish(file, duration_ms)?;
    sounds.finish(file)
}

enum Pictures {
    None,
    Composed(ComposedPictures),
    Copied(CopiedPictures),
}

impl Pictures {
    fn advance(&mut self, file: &mut Output, time_ms: u64) -> Result<(), Error> {
        match self {
            Pictures::None => Ok(()),
            Pictures::Composed(composed) => composed.advance(file, time_ms),
            Pictures::Copied(copied) => copied.advance(file, time_ms),
        }
    }

    fn finish(self, file: &mut Output, duration_ms: u64) -> Result<(), Error> {
        match self {
            Pictures::None => Ok(()),
            Pictures::Composed(mut composed) => composed.finish(file, duration_ms),
            Pictures::Copied(mut copied) => copied.advance(file, u64::MAX),
        }
    }
}

struct ComposedPictures {
    composer: Composer,
    encoder: PictureEncoder,
    /// The canvas that is on, and when it was last encoded.
    canvas: Option<(ffmpeg_next::frame::Video, u64)>,
}

impl ComposedPictures {
    fn add(file: &mut Output, manifest: &Manifest) -> Result<ComposedPictures, Error> {
        let encoder = PictureEncoder::add(file, WIDTH, HEIGHT, KEYFRAME_EVERY)?;
        Ok(ComposedPictures {
            composer: Composer::new(manifest),
            encoder,
            canvas: None,
        })
    }

    fn advance(&mut self, file: &mut Output, time_ms: u64) -> Result<(), Error> {
        let fresh = self.composer.at(time_ms)?;
        let stale = self
            .canvas
            .as_ref()
            .is_none_or(|(_, encoded)| time_ms - encoded >= REPEAT_MS);
        let canvas = match (fresh, self.canvas.take()) {
            (Some(canvas), _) => canvas,
            (None, Some((canvas, _))) if stale => canvas,
            (None, kept) => {
                self.canvas = kept;
                return Ok(());
            }
        };
        self.encoder.encode(canvas.clone(), time_ms as i64, file)?;
        self.canvas = Some((canvas, time_ms));
        Ok(())
    }

    /// The last picture is encoded once more at the end, or the file would end with its last change.
    fn finish(&mut self, file: &mut Output, duration_ms: u64) -> Result<(), Error> {
        let end = duration_ms.saturating_sub(PICTURE_MS);
        if let Some((canvas, encoded)) = self.canvas.take()
            && encoded < end
        {
            self.encoder.encode(canvas, end as i64, file)?;
        }
        self.encoder.finish(file)
    }
}

struct CopiedPictures {
    input: Input,
    from: usize,
    to: usize,
    time_base: Rational,
    /// Read, and not due yet.
    waiting: Option<Packet>,
}

impl CopiedPictures {
    fn add(file: &mut Output, input: Input) -> Result<CopiedPictures, Error> {
        let source = input
            .streams()
            .best(media::Type::Video)
            .ok_or(ffmpeg_next::Error::StreamNotFound)?;
        let (from, time_base) = (source.index(), source.time_base());
        let mut stream = file.add_stream(ffmpeg_next::encoder::find(Id::None))?;
        stream.set_parameters(source.parameters());
        stream.set_time_base(time_base);
        // SAFETY: the stream lives as long as the file, and its parameters were just set. A tag belongs to its container: let the muxer choose.
        unsafe { (*stream.parameters().as_mut_ptr()).codec_tag = 0 };
        let to = stream.index();
        Ok(CopiedPictures {
            input,
            from,
            to,
            time_base,
            waiting: None,
        })
    }

    fn advance(&mut self, file: &mut Output, time_ms: u64) -> Result<(), Error> {
        loop {
            let Some(packet) = self.waiting.take().or_else(|| self.read()) else {
                return Ok(());
            };
            let due = packet
                .dts()
                .unwrap_or(0)
                .rescale(self.time_base, MILLISECONDS);
            if due > i64::try_from(time_ms).unwrap_or(i64::MAX) {
                self.waiting = Some(packet);
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

/// The mix of all voices; silence where nobody speaks.
struct Sounds {
    mixer: Mixer,
    encoder: Option<SoundEncoder>,
    position: i64,
}

impl Sounds {
    fn add(file: &mut Output, manifest: &Manifest) -> Result<Sounds, Error> {
        let encoder = if manifest.sounds.is_empty() {
            None
        } else {
            Some(SoundEncoder::add(file)?)
        };
        Ok(Sounds {
            mixer: Mixer::new(&manifest.sounds),
            encoder,
            position: 0,
        })
    }

    fn advance(&mut self, file: &mut Output, until_ms: u64) -> Result<(), Error> {
        let Some(encoder) = &mut self.encoder else {
            return Ok(());
        };
        let until = (until_ms * u64::from(RATE) / 1000) as i64;
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
