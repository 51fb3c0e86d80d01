//! Decoded pictures by lesson time.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use ffmpeg_next::codec::context::Context;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::{
    Dictionary, Packet, Rational, Rescale, decoder, format, frame, media, threading,
};

use crate::error::Error;
use crate::manifest::Clip;

pub const MILLISECONDS: Rational = Rational(1, 1000);

/// A picture above this is refused: nothing in a lesson is larger than 4K, and a header can claim anything.
const PIXELS_LIMIT: u64 = 4096 * 2304;

/// Containers of recordings and of pages, and those in which teachers bring films and sound. None of them names further files.
const FORMATS: &str = "mov,webp_pipe,ivf,matroska,ogg,mp3,wav,avi,asf,flv,mpegts,mpeg,aac,flac,amr";

/// Opens a file of ours and nothing else: no network, no playlists that name further files.
pub fn open(path: &Path) -> Result<Input, Error> {
    let mut options = Dictionary::new();
    options.set("protocol_whitelist", "file");
    options.set("format_whitelist", FORMATS);
    format::input_with_dictionary(path, options).map_err(Error::broken(path))
}

/// The pictures of one file.
pub struct Reader {
    path: PathBuf,
    input: Input,
    stream: usize,
    time_base: Rational,
    decoder: decoder::Video,
    drained: bool,
}

impl Reader {
    pub fn open(path: &Path) -> Result<Reader, Error> {
        let input = open(path)?;
        let missing = || Error::Missing {
            path: path.to_owned(),
            what: "picture",
        };
        let stream = input
            .streams()
            .best(media::Type::Video)
            .ok_or_else(missing)?;
        let (index, time_base) = (stream.index(), stream.time_base());
        let mut context = Context::from_parameters(stream.parameters())?;
        context.set_threading(threading::Config::kind(threading::Type::Frame));
        let decoder = context.decoder().video().map_err(Error::broken(path))?;
        Ok(Reader {
            path: path.to_owned(),
            input,
            stream: index,
            time_base,
            decoder,
            drained: false,
        })
    }

    /// The next picture and its lesson time in milliseconds. Damaged ones are passed over: a lesson with a scratch is still a lesson.
    pub fn next(&mut self) -> Result<Option<(i64, frame::Video)>, Error> {
        loop {
            let mut picture = frame::Video::empty();
            if self.decoder.receive_frame(&mut picture).is_ok() {
                if u64::from(picture.width()) * u64::from(picture.height()) > PIXELS_LIMIT {
                    return Err(Error::broken(&self.path)(ffmpeg_next::Error::InvalidData));
                }
                let Some(time) = picture.timestamp() else {
                    continue;
                };
                return Ok(Some((time.rescale(self.time_base, MILLISECONDS), picture)));
            }
            if self.drained {
                return Ok(None);
            }
            let mut packet = Packet::empty();
            if packet.read(&mut self.input).is_err() {
                self.drained = true;
                let _ = self.decoder.send_eof();
            } else if packet.stream() == self.stream {
                let _ = self.decoder.send_packet(&packet); // damaged: the next keyframe mends it
            }
        }
    }
}

/// The pictures of one track, moving forward in time.
pub struct Track {
    clips: VecDeque<Clip>,
    reader: Option<Reader>,
    shown: Option<frame::Video>,
    /// Decoded ahead: shown from its time on.
    next: Option<(i64, frame::Video)>,
    /// Changes with every new picture.
    serial: u64,
}

impl Track {
    pub fn new(clips: &[Clip]) -> Track {
        Track {
            clips: clips.to_vec().into(),
            reader: None,
            shown: None,
            next: None,
            serial: 0,
        }
    }

    /// The picture on the screen at this time: the last one before it, held through gaps. With it a number that changes when it does.
    pub fn at(&mut self, time_ms: i64) -> Result<Option<(u64, &frame::Video)>, Error> {
        loop {
            if self.next.is_none() {
                self.next = self.decode()?;
            }
            let Some((_, picture)) = self.next.take_if(|(time, _)| *time <= time_ms) else {
                break;
            };
            self.shown = Some(picture);
            self.serial += 1;
        }
        Ok(self.shown.as_ref().map(|picture| (self.serial, picture)))
    }

    fn decode(&mut self) -> Result<Option<(i64, frame::Video)>, Error> {
        loop {
            if let Some(reader) = &mut self.reader
                && let Some(picture) = reader.next()?
            {
                return Ok(Some(picture));
            }
            let Some(clip) = self.clips.pop_front() else {
                self.reader = None;
                return Ok(None);
            };
            self.reader = Some(Reader::open(&clip.path)?);
        }
    }
}
