//! RTP payload formats: packets in sequence → complete frames.
//!
//! [`FrameAssembler`] implements the rules common to all formats. A frame consists of the packets
//! of one timestamp; the marker bit or the next timestamp ends it. After a loss, frames are dropped
//! until a keyframe. Each format implements [`Depacketizer`].

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

/// Limit above which a frame is an attack or an error: a 4K keyframe at the best quality stays
/// below 2 MB.
const MAX_FRAME_BYTES: usize = 8 << 20;

/// Packet whose predecessors have all arrived or were given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OrderedPacket<'a> {
    pub rtp_time: u32,
    pub marker: bool,
    pub arrival: Duration,
    pub payload: &'a [u8],
}

/// Frame joined from the payloads of one timestamp.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CodedFrame {
    pub data: Vec<u8>,
    pub keyframe: bool,
    pub format: Option<Format>,
}

/// Depacketizer of one RTP payload format.
trait Depacketizer {
    /// Returns true if the payload can only be the first of a frame: a place to resume after a
    /// loss.
    fn starts_frame(&self, payload: &[u8]) -> bool;
    /// Appends a payload to the open frame.
    fn add(&mut self, payload: &[u8]) -> Result<(), Malformed>;
    /// Returns the joined frame; `None` if it has nothing to store.
    fn finish(&mut self) -> Result<Option<CodedFrame>, Malformed>;
    /// Drops the open frame.
    fn clear(&mut self);
    /// Bytes of the open frame.
    fn len(&self) -> usize;
}

/// Joins the packets of one layer to frames.
pub(crate) struct FrameAssembler {
    depacketizer: Box<dyn Depacketizer + Send>,
    /// RTP timestamp and first arrival of the open frame.
    open: Option<(u32, Duration)>,
    discard: Discard,
    needs_keyframe: bool,
    after_loss: bool,
    is_audio: bool,
    dropped_frames: u64,
    malformed: u64,
}

impl FrameAssembler {
    pub(crate) fn new(codec: Codec) -> FrameAssembler {
        let depacketizer: Box<dyn Depacketizer + Send> = match codec {
            Codec::Opus => Box::<opus::Opus>::default(),
            Codec::H264 => Box::<h264::H264>::default(),
            Codec::Vp8 => Box::<vp8::Vp8>::default(),
            Codec::Vp9 => Box::<vp9::Vp9>::default(),
            Codec::Av1 => Box::<av1::Av1>::default(),
        };
        FrameAssembler {
            depacketizer,
            open: None,
            discard: Discard::Nothing,
            needs_keyframe: !codec.is_audio(),
            after_loss: false,
            is_audio: codec.is_audio(),
            dropped_frames: 0,
            malformed: 0,
        }
    }

    /// Returns true if no frame is decodable before the next keyframe.
    pub(crate) fn needs_keyframe(&self) -> bool {
        self.needs_keyframe
    }

    /// Number of frames that were incomplete or referenced a lost frame.
    pub(crate) fn dropped_frames(&self) -> u64 {
        self.dropped_frames
    }

    /// Number of payloads that violated their format.
    pub(crate) fn malformed(&self) -> u64 {
        self.malformed
    }

    /// Processes one packet; appends completed frames to `out`.
    pub(crate) fn push(&mut self, packet: OrderedPacket, out: &mut Vec<Frame>) {
        if packet.payload.is_empty() {
            return; // padding only: a bandwidth probe that belongs to no frame
        }
        if self.open.is_some_and(|(time, _)| time != packet.rtp_time) {
            self.finish_frame(out);
        }
        if self.should_discard(&packet) {
            return;
        }
        let first_arrival = self.open.map_or(packet.arrival, |(_, arrival)| arrival);
        self.open = Some((packet.rtp_time, first_arrival));
        let added = self.depacketizer.add(packet.payload);
        let too_large = self.depacketizer.len() > MAX_FRAME_BYTES;
        if added.is_err() || too_large {
            self.malformed += 1;
            return self.abandon_frame(packet.rtp_time);
        }
        if packet.marker || self.is_audio {
            self.finish_frame(out);
        }
    }

    /// Handles a loss: drops the incomplete open frame and the frames that may reference it.
    pub(crate) fn handle_loss(&mut self) {
        self.after_loss = true;
        if self.is_audio {
            return;
        }
        if self.open.take().is_some() {
            self.dropped_frames += 1;
        }
        self.depacketizer.clear();
        self.needs_keyframe = true;
        self.discard = Discard::NextFrame;
    }

    /// Completes the open frame and appends it to `out`.
    pub(crate) fn finish_frame(&mut self, out: &mut Vec<Frame>) {
        let Some((rtp_time, arrival)) = self.open.take() else {
            return;
        };
        let frame = match self.depacketizer.finish() {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(_) => {
                self.malformed += 1;
                return self.abandon_frame(rtp_time);
            }
        };
        if self.needs_keyframe && !frame.keyframe {
            self.dropped_frames += 1;
            return;
        }
        self.needs_keyframe = false;
        let after_loss = mem::take(&mut self.after_loss);
        let CodedFrame {
            data,
            keyframe,
            format,
        } = frame;
        out.push(Frame {
            rtp_time,
            arrival,
            keyframe,
            after_loss,
            format,
            data,
        });
    }

    fn abandon_frame(&mut self, rtp_time: u32) {
        self.handle_loss();
        if !self.is_audio {
            self.discard = Discard::Frame(rtp_time);
        }
    }

    /// Returns true for the remaining packets of a frame damaged by a loss. Such a frame ends at
    /// the next timestamp or at a payload that begins a frame.
    fn should_discard(&mut self, packet: &OrderedPacket) -> bool {
        let over = match self.discard {
            Discard::Nothing => return false,
            Discard::NextFrame => self.depacketizer.starts_frame(packet.payload),
            Discard::Frame(time) => {
                time != packet.rtp_time || self.depacketizer.starts_frame(packet.payload)
            }
        };
        // A marker ends the damaged frame: the next packet begins a new one.
        self.discard = if over || packet.marker {
            Discard::Nothing
        } else {
            Discard::Frame(packet.rtp_time)
        };
        !over
    }
}

/// Remainder of a damaged frame to discard.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Discard {
    Nothing,
    /// The frame of the next packet, whose timestamp is unknown.
    NextFrame,
    /// The frame of this RTP timestamp.
    Frame(u32),
}
