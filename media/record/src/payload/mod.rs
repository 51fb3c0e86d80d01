//! RTP payload formats: packets in order → whole frames.
//!
//! [`Assembler`] holds what all formats share — a frame is the packets of one timestamp, ended by the marker or by the next timestamp;
//! after a loss nothing is passed on until a keyframe — and each format says how its payloads join ([`Payload`]).

mod av1;
mod h264;
mod opus;
mod vp8;
mod vp9;

use std::mem;

use crate::frame::{Codec, Format, Frame};
use crate::{Duration, Malformed};

pub(crate) use opus::packet_duration as opus_packet_duration;
pub(crate) use opus::plc_packet;

/// A frame larger than this is an attack or an error: a 4K keyframe at the best quality stays below 2 MB.
const FRAME_LIMIT: usize = 8 << 20;

/// A packet whose predecessors have all been seen or given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ordered<'a> {
    pub rtp_time: u32,
    pub marker: bool,
    pub arrival: Duration,
    pub payload: &'a [u8],
}

/// What one frame's payloads add up to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    pub data: Vec<u8>,
    pub keyframe: bool,
    pub format: Option<Format>,
}

/// How the payloads of one format join to a frame.
trait Payload {
    /// Whether this payload can only be the first of a frame; used to start again after a loss.
    fn starts_frame(&self, payload: &[u8]) -> bool;
    fn add(&mut self, payload: &[u8]) -> Result<(), Malformed>;
    /// Takes the frame; `None` when nothing of it is to be stored.
    fn finish(&mut self) -> Result<Option<Picture>, Malformed>;
    fn clear(&mut self);
    fn len(&self) -> usize;
}

/// Joins the ordered packets of one layer to frames.
pub(crate) struct Assembler {
    payload: Box<dyn Payload + Send>,
    /// Timestamp and arrival of the frame being joined.
    open: Option<(u32, Duration)>,
    skip: Skip,
    needs_keyframe: bool,
    after_loss: bool,
    sound: bool,
    dropped_frames: u64,
    malformed: u64,
}

impl Assembler {
    pub(crate) fn new(codec: Codec) -> Assembler {
        let payload: Box<dyn Payload + Send> = match codec {
            Codec::Opus => Box::<opus::Opus>::default(),
            Codec::H264 => Box::<h264::H264>::default(),
            Codec::Vp8 => Box::<vp8::Vp8>::default(),
            Codec::Vp9 => Box::<vp9::Vp9>::default(),
            Codec::Av1 => Box::<av1::Av1>::default(),
        };
        Assembler {
            payload,
            open: None,
            skip: Skip::Nothing,
            needs_keyframe: !codec.is_audio(),
            after_loss: false,
            sound: codec.is_audio(),
            dropped_frames: 0,
            malformed: 0,
        }
    }

    /// Nothing decodable can come before a keyframe does.
    pub(crate) fn needs_keyframe(&self) -> bool {
        self.needs_keyframe
    }

    /// Frames that were incomplete or that referred to lost ones.
    pub(crate) fn dropped_frames(&self) -> u64 {
        self.dropped_frames
    }

    /// Payloads that broke the rules of their format.
    pub(crate) fn malformed(&self) -> u64 {
        self.malformed
    }

    /// Takes one packet; finished frames go to `out`.
    pub(crate) fn push(&mut self, packet: Ordered, out: &mut Vec<Frame>) {
        if packet.payload.is_empty() {
            return; // padding only: it probes the line and belongs to no frame
        }
        if self.open.is_some_and(|(time, _)| time != packet.rtp_time) {
            self.finish(out);
        }
        if self.is_skipped(&packet) {
            return;
        }
        let first_arrival = self.open.map_or(packet.arrival, |(_, arrival)| arrival);
        self.open = Some((packet.rtp_time, first_arrival));
        let added = self.payload.add(packet.payload);
        let too_large = self.payload.len() > FRAME_LIMIT;
        if added.is_err() || too_large {
            self.malformed += 1;
            return self.break_off(packet.rtp_time);
        }
        if packet.marker || self.sound {
            self.finish(out);
        }
    }

    /// Packets are missing here and will not come: the open frame is incomplete, and what follows refers to it.
    pub(crate) fn lost(&mut self) {
        self.after_loss = true;
        if self.sound {
            return;
        }
        if self.open.take().is_some() {
            self.dropped_frames += 1;
        }
        self.payload.clear();
        self.needs_keyframe = true;
        self.skip = Skip::Unseen;
    }

    /// Passes on the frame that nothing more can be added to.
    pub(crate) fn finish(&mut self, out: &mut Vec<Frame>) {
        let Some((rtp_time, arrival)) = self.open.take() else {
            return;
        };
        let picture = match self.payload.finish() {
            Ok(Some(picture)) => picture,
            Ok(None) => return,
            Err(_) => {
                self.malformed += 1;
                return self.break_off(rtp_time);
            }
        };
        if self.needs_keyframe && !picture.keyframe {
            self.dropped_frames += 1;
            return;
        }
        self.needs_keyframe = false;
        let after_loss = mem::take(&mut self.after_loss);
        let Picture {
            data,
            keyframe,
            format,
        } = picture;
        out.push(Frame {
            rtp_time,
            arrival,
            keyframe,
            after_loss,
            format,
            data,
        });
    }

    fn break_off(&mut self, rtp_time: u32) {
        self.lost();
        if !self.sound {
            self.skip = Skip::Frame(rtp_time);
        }
    }

    /// After a loss the rest of the frame it hit is worthless: wait for the next timestamp, or for a payload that begins a frame.
    fn is_skipped(&mut self, packet: &Ordered) -> bool {
        let over = match self.skip {
            Skip::Nothing => return false,
            Skip::Unseen => self.payload.starts_frame(packet.payload),
            Skip::Frame(time) => {
                time != packet.rtp_time || self.payload.starts_frame(packet.payload)
            }
        };
        // A marker ends the broken frame: whatever comes next begins one.
        self.skip = if over || packet.marker {
            Skip::Nothing
        } else {
            Skip::Frame(packet.rtp_time)
        };
        !over
    }
}

/// What is left of a frame that lost a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Skip {
    Nothing,
    /// The frame whose packet comes next.
    Unseen,
    /// The frame of this timestamp.
    Frame(u32),
}
