//! Decoded sound by lesson time, mixed.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use ffmpeg_next::codec::context::Context;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::format::sample::{Sample, Type};
use ffmpeg_next::software::resampling;
use ffmpeg_next::{ChannelLayout, Packet, Rational, Rescale, decoder, frame, media};

use crate::error::Error;
use crate::manifest::Clip;
use crate::picture::open;

pub const RATE: u32 = 48_000;
const SAMPLES: Rational = Rational(1, RATE as i32);

/// A frame this close to the end of the last one continues it: rounding of times must not click.
const SEAM: i64 = RATE as i64 / 50;

/// A frame that lies this far ahead is damaged: a lesson lasts at most a day.
const HORIZON: i64 = 24 * 3600 * RATE as i64;

/// All voices of the lesson as one stereo stream.
pub struct Mixer {
    tracks: Vec<Track>,
}

impl Mixer {
    pub fn new(sounds: &BTreeMap<String, Vec<Clip>>) -> Mixer {
        Mixer {
            tracks: sounds.values().map(|clips| Track::new(clips)).collect(),
        }
    }

    /// The mix of `left.len()` samples from `position` on. Positions must not go back.
    pub fn mix(&mut self, position: i64, left: &mut [f32], right: &mut [f32]) -> Result<(), Error> {
        left.fill(0.0);
        right.fill(0.0);
        for track in &mut self.tracks {
            track.add_to(position, left, right)?;
        }
        left.iter_mut()
            .chain(right)
            .for_each(|sample| *sample = limited(*sample));
        Ok(())
    }
}

/// Bends what several voices together push beyond full scale, instead of clipping it.
fn limited(sample: f32) -> f32 {
    const KNEE: f32 = 0.8;
    let over = sample.abs() - KNEE;
    if over <= 0.0 {
        sample
    } else {
        sample.signum() * (KNEE + (1.0 - KNEE) * (over / (1.0 - KNEE)).tanh())
    }
}

/// Decoded sound that has not been used up: where it lies, and its samples.
struct Piece {
    position: i64,
    left: Vec<f32>,
    right: Vec<f32>,
}

impl Piece {
    fn end(&self) -> i64 {
        self.position + self.left.len() as i64
    }
}

struct Track {
    clips: VecDeque<Clip>,
    reader: Option<Reader>,
    pieces: VecDeque<Piece>,
    end: i64,
}

impl Track {
    fn new(clips: &[Clip]) -> Track {
        Track {
            clips: clips.to_vec().into(),
            reader: None,
            pieces: VecDeque::new(),
            end: i64::MIN / 2,
        }
    }

    fn add_to(&mut self, position: i64, left: &mut [f32], right: &mut [f32]) -> Result<(), Error> {
        let until = position + left.len() as i64;
        while self.end < until {
            let Some(mut piece) = self.decode()? else {
                break;
            };
            if (piece.position - self.end).abs() < SEAM {
                piece.position = self.end;
            }
            if piece.position > HORIZON || piece.end() <= position {
                continue;
            }
            self.end = piece.end();
            self.pieces.push_back(piece);
        }
        while self
            .pieces
            .front()
            .is_some_and(|piece| piece.end() <= position)
        {
            self.pieces.pop_front();
        }
        for piece in &self.pieces {
            add(piece, position, &piece.left, left);
            add(piece, position, &piece.right, right);
        }
        Ok(())
    }

    fn decode(&mut self) -> Result<Option<Piece>, Error> {
        loop {
            if let Some(reader) = &mut self.reader
                && let Some(piece) = reader.next()?
            {
                return Ok(Some(piece));
            }
            let Some(clip) = self.clips.pop_front() else {
                return Ok(None);
            };
            self.reader = Some(Reader::open(&clip.path)?);
        }
    }
}

/// Adds the part of a piece that falls into the buffer at `position`.
fn add(piece: &Piece, position: i64, samples: &[f32], out: &mut [f32]) {
    let offset = piece.position - position;
    let (skip, at) = ((-offset).max(0) as usize, offset.max(0) as usize);
    let (Some(samples), Some(out)) = (samples.get(skip..), out.get_mut(at..)) else {
        return;
    };
    out.iter_mut()
        .zip(samples)
        .for_each(|(sum, sample)| *sum += sample);
}

/// The sound of one file as stereo at [`RATE`].
struct Reader {
    input: Input,
    stream: usize,
    time_base: Rational,
    decoder: decoder::Audio,
    resampler: Option<resampling::Context>,
    drained: bool,
}

impl Reader {
    fn open(path: &Path) -> Result<Reader, Error> {
        let input = open(path)?;
        let missing = || Error::Missing {
            path: path.to_owned(),
            what: "sound",
        };
        let stream = input
            .streams()
            .best(media::Type::Audio)
            .ok_or_else(missing)?;
        let (index, time_base) = (stream.index(), stream.time_base());
        let context = Context::from_parameters(stream.parameters())?;
        let decoder = context.decoder().audio().map_err(Error::broken(path))?;
        Ok(Reader {
            input,
            stream: index,
            time_base,
            decoder,
            resampler: None,
            drained: false,
        })
    }

    fn next(&mut self) -> Result<Option<Piece>, Error> {
        loop {
            let mut decoded = frame::Audio::empty();
            if self.decoder.receive_frame(&mut decoded).is_ok() {
                let Some(time) = decoded.timestamp() else {
                    continue;
                };
                return self.resample(time, decoded).map(Some);
            }
            if self.drained {
                return Ok(None);
            }
            let mut packet = Packet::empty();
            if packet.read(&mut self.input).is_err() {
                self.drained = true;
                let _ = self.decoder.send_eof();
            } else if packet.stream() == self.stream {
                let _ = self.decoder.send_packet(&packet); // damaged: silence for its length
            }
        }
    }

    fn resample(&mut self, time: i64, mut decoded: frame::Audio) -> Result<Piece, Error> {
        if decoded.channel_layout().is_empty() {
            decoded.set_channel_layout(ChannelLayout::default(decoded.channels().into()));
        }
        let resampler = match &mut self.resampler {
            Some(resampler) => resampler,
            none => none.insert(resampling::Context::get(
                decoded.format(),
                decoded.channel_layout(),
                decoded.rate(),
                Sample::F32(Type::Planar),
                ChannelLayout::STEREO,
                RATE,
            )?),
        };
        let mut stereo = frame::Audio::empty();
        resampler.run(&decoded, &mut stereo)?;
        let count = stereo.samples();
        Ok(Piece {
            position: time.rescale(self.time_base, SAMPLES),
            left: stereo.plane::<f32>(0)[..count].to_vec(),
            right: stereo.plane::<f32>(1)[..count].to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_voices_bend_and_do_not_clip() {
        assert_eq!(limited(0.5), 0.5);
        assert!(limited(3.0) <= 1.0 && limited(3.0) > limited(1.0));
        assert_eq!(limited(-2.0), -limited(2.0));
    }

    #[test]
    fn a_piece_adds_only_where_it_lies() {
        let piece = Piece {
            position: 10,
            left: vec![1.0; 4],
            right: vec![],
        };
        let mut out = [0.0; 6];
        add(&piece, 8, &piece.left, &mut out);
        assert_eq!(out, [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
        add(&piece, 12, &piece.left, &mut out);
        assert_eq!(out, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        add(&piece, 100, &piece.left, &mut out);
        add(&piece, 0, &piece.left, &mut out);
        assert_eq!(out, [1.0; 6]);
    }
}
