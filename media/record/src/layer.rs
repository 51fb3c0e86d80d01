//! Pipeline of one simulcast layer: packets → frames → segments.

use crate::Duration;
use crate::clock::{LayerClock, PeerClock, ntp_nanos};
use crate::event::Event;
use crate::frame::{Codec, Frame};
use crate::payload::{FrameAssembler, OrderedPacket};
use crate::reorder_buffer::{Next, Placement, ReorderBuffer};
use crate::segmenter::{KEYFRAME_RETRY, Segmenter};

/// Packet and frame counters of one layer; every dropped packet is in one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerStats {
    /// Packets received, duplicates included.
    pub packets: u64,
    /// Duplicate packets, and packets that arrived after the reorder timeout.
    pub late: u64,
    /// Packets that never arrived.
    pub lost: u64,
    /// Frames recorded.
    pub frames: u64,
    /// Frames that were incomplete or referenced a lost frame.
    pub dropped_frames: u64,
    /// Payloads that violated their RTP payload format.
    pub malformed: u64,
}

pub(crate) struct Layer {
    reorder_buffer: ReorderBuffer,
    assembler: FrameAssembler,
    clock: LayerClock,
    segmenter: Segmenter,
    keyframe_requested: Option<Duration>,
    stats: LayerStats,
}

impl Layer {
    pub(crate) fn new(codec: Codec, segment: Duration) -> Layer {
        Layer {
            reorder_buffer: ReorderBuffer::default(),
            assembler: FrameAssembler::new(codec),
            clock: LayerClock::new(codec.clock_rate()),
            segmenter: Segmenter::new(codec, segment),
            keyframe_requested: None,
            stats: LayerStats::default(),
        }
    }

    pub(crate) fn handle_packet(
        &mut self,
        seq: u64,
        packet: OrderedPacket,
        peer: &PeerClock,
        out: &mut Vec<Event>,
    ) {
        self.stats.packets += 1;
        match self.reorder_buffer.insert(seq, packet) {
            Placement::InOrder => self.assemble(packet, peer, out),
            Placement::Ahead => {}
            Placement::Late => self.stats.late += 1,
        }
        self.process_ready(packet.arrival, peer, out);
    }

    pub(crate) fn handle_sender_report(&mut self, rtp_time: u32, ntp: u64) {
        self.clock.set_sender_report(rtp_time, ntp_nanos(ntp));
    }

    pub(crate) fn handle_timeout(&mut self, now: Duration, peer: &PeerClock, out: &mut Vec<Event>) {
        self.process_ready(now, peer, out);
        self.segmenter.handle_timeout(now, out);
    }

    /// Continues the layer from another source with new sequence numbers and RTP timestamps.
    pub(crate) fn restart(&mut self, peer: &PeerClock, out: &mut Vec<Event>) {
        self.flush(peer, out);
        self.reorder_buffer = ReorderBuffer::default();
        self.assembler.handle_loss();
        self.clock.restart();
    }

    pub(crate) fn finish(&mut self, peer: &PeerClock, out: &mut Vec<Event>) {
        self.flush(peer, out);
        self.segmenter.finish(out);
    }

    fn flush(&mut self, peer: &PeerClock, out: &mut Vec<Event>) {
        while let Some(next) = self.reorder_buffer.pop_flush() {
            self.handle_next(next, peer, out);
        }
        let mut frames = Vec::new();
        self.assembler.finish_frame(&mut frames);
        self.push_frames(frames, peer, out);
    }

    pub(crate) fn stats(&self) -> LayerStats {
        LayerStats {
            dropped_frames: self.assembler.dropped_frames(),
            malformed: self.assembler.malformed(),
            ..self.stats
        }
    }

    /// Processes the buffered packets that are next in sequence or whose gap has timed out.
    fn process_ready(&mut self, now: Duration, peer: &PeerClock, out: &mut Vec<Event>) {
        while let Some(next) = self.reorder_buffer.pop(now) {
            self.handle_next(next, peer, out);
        }
        let requested = self
            .keyframe_requested
            .is_some_and(|at| now.saturating_sub(at) < KEYFRAME_RETRY);
        if self.assembler.needs_keyframe() && !requested {
            self.keyframe_requested = Some(now);
            out.push(Event::KeyframeRequest);
        }
    }

    fn handle_next(&mut self, next: Next, peer: &PeerClock, out: &mut Vec<Event>) {
        match next {
            Next::Packet(packet) => self.assemble(packet.as_packet(), peer, out),
            Next::Lost(count) => {
                self.stats.lost += count;
                self.assembler.handle_loss();
            }
        }
    }

    fn assemble(&mut self, packet: OrderedPacket, peer: &PeerClock, out: &mut Vec<Event>) {
        let mut frames = Vec::new();
        self.assembler.push(packet, &mut frames);
        self.push_frames(frames, peer, out);
    }

    fn push_frames(&mut self, frames: Vec<Frame>, peer: &PeerClock, out: &mut Vec<Event>) {
        for frame in frames {
            self.stats.frames += 1;
            let at = self.clock.lesson_time(frame.rtp_time, frame.arrival, peer);
            self.segmenter.push(frame, at, out);
        }
    }
}
