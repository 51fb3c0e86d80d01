//! Video decoder: frames of a file or a track by lesson time.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use ffmpeg_next::codec::context::Context;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::{Packet, Rational, Rescale, decoder, frame, media, threading};

use crate::error::Error;
use crate::input::open;
use crate::manifest::Clip;

/// Time base of lesson time.
pub const MILLISECONDS: Rational = Rational(1, 1000);

/// Largest accepted frame in pixels. Nothing in a lesson exceeds 4K, and a header can claim any
/// size.
const MAX_PIXELS: u64 = 4096 * 2304;

/// Decoder of the best video stream of one file.
pub struct VideoReader {
    path: PathBuf,
    input: Input,
    stream: usize,
    time_base: Rational,
    decoder: decoder::Video,
    drained: bool,
}

impl VideoReader {
    /// Opens a file; fails if it has no video stream.
    pub fn open(path: &Path) -> Result<VideoReader, Error> {
        let input = open(path)?;
        let missing = || Error::NoStream {
            path: path.to_owned(),
            what: "video",
        };
        let stream = input
            .streams()
            .best(media::Type::Video)
            .ok_or_else(missing)?;
        let (index, time_base) = (stream.index(), stream.time_base());
        let mut context = Context::from_parameters(stream.parameters())?;
        context.set_threading(threading::Config::kind(threading::Type::Frame));
        let decoder = context.decoder().video().map_err(Error::broken(path))?;
        Ok(VideoReader {
            path: path.to_owned(),
            input,
            stream: index,
            time_base,
            decoder,
            drained: false,
        })
    }

    /// Returns the next frame and its lesson time in milliseconds; `None` at the end of the file.
    ///
    /// Skips damaged frames, because a lesson with missing frames is still useful.
    pub fn next(&mut self) -> Result<Option<(i64, frame::Video)>, Error> {
        loop {
            let mut frame = frame::Video::empty();
            if self.decoder.receive_frame(&mut frame).is_ok() {
                if u64::from(frame.width()) * u64::from(frame.height()) > MAX_PIXELS {
                    return Err(Error::broken(&self.path)(ffmpeg_next::Error::InvalidData));
                }
                let Some(time) = frame.timestamp() else {
                    continue;
                };
                return Ok(Some((time.rescale(self.time_base, MILLISECONDS), frame)));
            }
            if self.drained {
                return Ok(None);
            }
            let mut packet = Packet::empty();
            if packet.read(&mut self.input).is_err() {
                self.drained = true;
                let _ = self.decoder.send_eof();
            } else if packet.stream() == self.stream {
                // After a damaged packet, decoding recovers at the next keyframe.
                let _ = self.decoder.send_packet(&packet);
            }
        }
    }
}

/// Frames of one track in order of lesson time.
pub struct VideoTrack {
    clips: VecDeque<Clip>,
    reader: Option<VideoReader>,
    current: Option<frame::Video>,
    /// Frame decoded ahead, and its lesson time in milliseconds.
    next: Option<(i64, frame::Video)>,
    /// Number of the current frame.
    serial: u64,
}

impl VideoTrack {
    /// Creates a track from its clips, which are in order.
    pub fn new(clips: &[Clip]) -> VideoTrack {
        VideoTrack {
            clips: clips.to_vec().into(),
            reader: None,
            current: None,
            next: None,
            serial: 0,
        }
    }

    /// Returns the current frame at `time_ms` and its number, which changes with the frame.
    ///
    /// The last frame before a gap is held through it. Times must not decrease.
    pub fn at(&mut self, time_ms: i64) -> Result<Option<(u64, &frame::Video)>, Error> {
        loop {
            if self.next.is_none() {
                self.next = self.decode()?;
            }
            let Some((_, frame)) = self.next.take_if(|(time, _)| *time <= time_ms) else {
                break;
            };
            self.current = Some(frame);
            self.serial += 1;
        }
        Ok(self.current.as_ref().map(|frame| (self.serial, frame)))
    }

    fn decode(&mut self) -> Result<Option<(i64, frame::Video)>, Error> {
        loop {
            if let Some(reader) = &mut self.reader
                && let Some(frame) = reader.next()?
            {
                return Ok(Some(frame));
            }
            let Some(clip) = self.clips.pop_front() else {
                self.reader = None;
                return Ok(None);
            };
            self.reader = Some(VideoReader::open(&clip.path)?);
        }
    }
}
