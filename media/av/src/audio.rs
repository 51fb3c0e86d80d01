//! Audio decoder and mixer by lesson time.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use ffmpeg_next::codec::context::Context;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::format::sample::{Sample, Type};
use ffmpeg_next::software::resampling;
use ffmpeg_next::{ChannelLayout, Packet, Rational, Rescale, decoder, frame, media};

use crate::error::Error;
use crate::input::open;
use crate::manifest::Clip;

/// Sample rate of the mix in Hz.
pub const SAMPLE_RATE: u32 = 48_000;
const SAMPLES: Rational = Rational(1, SAMPLE_RATE as i32);

/// Distance in samples up to which a block continues the last one (20 ms): rounded timestamps would
/// cause clicks.
const MAX_JITTER: i64 = SAMPLE_RATE as i64 / 50;

/// Largest valid position in samples. A later timestamp is damaged: a lesson lasts at most a day.
const MAX_POSITION: i64 = 24 * 3600 * SAMPLE_RATE as i64;

/// Mixer of all audio tracks of a lesson to one stereo stream.
pub struct Mixer {
    tracks: Vec<AudioTrack>,
}

impl Mixer {
    /// Creates a mixer of the tracks, given as clips by track name.
    pub fn new(tracks: &BTreeMap<String, Vec<Clip>>) -> Mixer {
        Mixer {
            tracks: tracks
                .values()
                .map(|clips| AudioTrack::new(clips))
                .collect(),
        }
    }

    /// Mixes `left.len()` samples from `position` on, in samples since the start of the lesson.
    /// Positions must not decrease.
    pub fn mix(&mut self, position: i64, left: &mut [f32], right: &mut [f32]) -> Result<(), Error> {
        left.fill(0.0);
        right.fill(0.0);
        for track in &mut self.tracks {
            track.add_to(position, left, right)?;
        }
        left.iter_mut()
            .chain(right)
            .for_each(|sample| *sample = soft_clip(*sample));
        Ok(())
    }
}

/// Soft clipper: compresses peaks of the mix above the knee, where hard clipping would distort.
fn soft_clip(sample: f32) -> f32 {
    const KNEE: f32 = 0.8;
    let over = sample.abs() - KNEE;
    if over <= 0.0 {
        sample
    } else {
        sample.signum() * (KNEE + (1.0 - KNEE) * (over / (1.0 - KNEE)).tanh())
    }
}

/// Decoded stereo samples that are not fully mixed yet.
struct AudioBlock {
    /// Samples since the start of the lesson.
    position: i64,
    left: Vec<f32>,
    right: Vec<f32>,
}

impl AudioBlock {
    fn end(&self) -> i64 {
        self.position + self.left.len() as i64
    }
}

/// Decoded blocks of one track in order of lesson time.
struct AudioTrack {
    clips: VecDeque<Clip>,
    reader: Option<AudioReader>,
    blocks: VecDeque<AudioBlock>,
    /// End of the last decoded block in samples.
    end: i64,
}

impl AudioTrack {
    fn new(clips: &[Clip]) -> AudioTrack {
        AudioTrack {
            clips: clips.to_vec().into(),
            reader: None,
            blocks: VecDeque::new(),
            end: i64::MIN / 2,
        }
    }

    /// Adds the samples of this track to the buffers, which begin at `position`.
    fn add_to(&mut self, position: i64, left: &mut [f32], right: &mut [f32]) -> Result<(), Error> {
        let until = position + left.len() as i64;
        while self.end < until {
            let Some(mut block) = self.decode()? else {
                break;
            };
            if (block.position - self.end).abs() < MAX_JITTER {
                block.position = self.end;
            }
            if block.position > MAX_POSITION || block.end() <= position {
                continue;
            }
            self.end = block.end();
            self.blocks.push_back(block);
        }
        while self
            .blocks
            .front()
            .is_some_and(|block| block.end() <= position)
        {
            self.blocks.pop_front();
        }
        for block in &self.blocks {
            add(block, position, &block.left, left);
            add(block, position, &block.right, right);
        }
        Ok(())
    }

    fn decode(&mut self) -> Result<Option<AudioBlock>, Error> {
        loop {
            if let Some(reader) = &mut self.reader
                && let Some(block) = reader.next()?
            {
                return Ok(Some(block));
            }
            let Some(clip) = self.clips.pop_front() else {
                return Ok(None);
            };
            self.reader = Some(AudioReader::open(&clip.path)?);
        }
    }
}

/// Adds the samples of one channel that overlap the buffer at `position`.
fn add(block: &AudioBlock, position: i64, samples: &[f32], out: &mut [f32]) {
    let offset = block.position - position;
    let (skip, at) = ((-offset).max(0) as usize, offset.max(0) as usize);
    let (Some(samples), Some(out)) = (samples.get(skip..), out.get_mut(at..)) else {
        return;
    };
    out.iter_mut()
        .zip(samples)
        .for_each(|(sum, sample)| *sum += sample);
}

/// Decoder of the best audio stream of one file, resampled to stereo at [`SAMPLE_RATE`].
struct AudioReader {
    input: Input,
    stream: usize,
    time_base: Rational,
    decoder: decoder::Audio,
    resampler: Option<resampling::Context>,
    drained: bool,
}

impl AudioReader {
    fn open(path: &Path) -> Result<AudioReader, Error> {
        let input = open(path)?;
        let missing = || Error::NoStream {
            path: path.to_owned(),
            what: "audio",
        };
        let stream = input
            .streams()
            .best(media::Type::Audio)
            .ok_or_else(missing)?;
        let (index, time_base) = (stream.index(), stream.time_base());
        let context = Context::from_parameters(stream.parameters())?;
        let decoder = context.decoder().audio().map_err(Error::broken(path))?;
        Ok(AudioReader {
            input,
            stream: index,
            time_base,
            decoder,
            resampler: None,
            drained: false,
        })
    }

    fn next(&mut self) -> Result<Option<AudioBlock>, Error> {
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
                // A damaged packet becomes silence.
                let _ = self.decoder.send_packet(&packet);
            }
        }
    }

    fn resample(&mut self, time: i64, mut decoded: frame::Audio) -> Result<AudioBlock, Error> {
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
                SAMPLE_RATE,
            )?),
        };
        let mut stereo = frame::Audio::empty();
        resampler.run(&decoded, &mut stereo)?;
        let count = stereo.samples();
        Ok(AudioBlock {
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
    fn many_speakers_at_once_are_compressed_and_not_clipped() {
        assert_eq!(soft_clip(0.5), 0.5);
        assert!(soft_clip(3.0) <= 1.0 && soft_clip(3.0) > soft_clip(1.0));
        assert_eq!(soft_clip(-2.0), -soft_clip(2.0));
    }

    #[test]
    fn a_block_is_added_only_where_it_overlaps_the_buffer() {
        let block = AudioBlock {
            position: 10,
            left: vec![1.0; 4],
            right: vec![],
        };
        let mut out = [0.0; 6];
        add(&block, 8, &block.left, &mut out);
        assert_eq!(out, [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
        add(&block, 12, &block.left, &mut out);
        assert_eq!(out, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        add(&block, 100, &block.left, &mut out);
        add(&block, 0, &block.left, &mut out);
        assert_eq!(out, [1.0; 6]);
    }
}
