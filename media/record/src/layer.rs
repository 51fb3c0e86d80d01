//! One rendition of one track, from packets to segments.

use crate::Duration;
use crate::clock::{LayerClock, PeerClock, ntp_nanos};
use crate::frame::{Codec, Frame};
use crate::made::Made;
use crate::payload::{Assembler, Ordered};
use crate::reorder::{Next, Place, Reorder};
use crate::segment::Segmenter;

/// A stream that lost its references asks for a keyframe this often.
const KEYFRAME_RETRY: Duration = Duration::from_secs(1);

/// What became of a layer's packets; nothing is dropped without being counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub packets: u64,
    /// Came twice, or after they were given up.
    pub late: u64,
    /// Never came.
    pub lost: u64,
    /// Frames that were recorded.
    pub frames: u64,
    /// Frames that were incomplete, or that referred to lost ones.
    pub dropped_frames: u64,
    /// Payloads that broke the rules of their format.
    pub malformed: u64,
}

pub(crate) struct Layer {
    reorder: Reorder,
    assembler: Assembler,
    clock: LayerClock,
    segmenter: Segmenter,
    asked_keyframe: Option<Duration>,
    stats: Stats,
}

impl Layer {
    pub(crate) fn new(codec: Codec, segment: Duration) -> Layer {
        Layer {
            reorder: Reorder::default(),
            assembler: Assembler::new(codec),
            clock: LayerClock::new(codec.clock_rate()),
            segmenter: Segmenter::new(codec, segment),
            asked_keyframe: None,
            stats: Stats::default(),
        }
    }

    pub(crate) fn handle_packet(
        &mut self,
        seq: u64,
        packet: Ordered,
        peer: &PeerClock,
        out: &mut Vec<Made>,
    ) {
        self.stats.packets += 1;
        match self.reorder.place(seq, packet) {
            Place::InOrder => self.assemble(packet, peer, out),
            Place::Ahead => {}
            Place::Late => self.stats.late += 1,
        }
        self.advance(packet.arrival, peer, out);
    }

    pub(crate) fn handle_report(&mut self, rtp_time: u32, ntp: u64) {
        self.clock.report(rtp_time, ntp_nanos(ntp));
    }

    pub(crate) fn handle_timeout(&mut self, now: Duration, peer: &PeerClock, out: &mut Vec<Made>) {
        self.advance(now, peer, out);
        self.segmenter.handle_timeout(now, out);
    }

    /// The layer goes on with another source, whose numbers and times begin anew.
    pub(crate) fn restart(&mut self, peer: &PeerClock, out: &mut Vec<Made>) {
        self.drain(peer, out);
        self.reorder = Reorder::default();
        self.assembler.lost();
        self.clock.restart();
    }

    pub(crate) fn finish(&mut self, peer: &PeerClock, out: &mut Vec<Made>) {
        self.drain(peer, out);
        self.segmenter.finish(out);
    }

    fn drain(&mut self, peer: &PeerClock, out: &mut Vec<Made>) {
        while let Some(next) = self.reorder.pop_final() {
            self.follow(next, peer, out);
        }
        let mut frames = Vec::new();
        self.assembler.finish(&mut frames);
        self.store(frames, peer, out);
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            dropped_frames: self.assembler.dropped_frames(),
            malformed: self.assembler.malformed(),
            ..self.stats
        }
    }

    fn advance(&mut self, now: Duration, peer: &PeerClock, out: &mut Vec<Made>) {
        while let Some(next) = self.reorder.pop(now) {
            self.follow(next, peer, out);
        }
        let asked = self
            .asked_keyframe
            .is_some_and(|at| now.saturating_sub(at) < KEYFRAME_RETRY);
        if self.assembler.needs_keyframe() && !asked {
            self.asked_keyframe = Some(now);
            out.push(Made::WantKeyframe);
        }
    }

    fn follow(&mut self, next: Next, peer: &PeerClock, out: &mut Vec<Made>) {
        match next {
            Next::Packet(held) => self.assemble(held.as_ordered(), peer, out),
            Next::Lost(count) => {
                self.stats.lost += count;
                self.assembler.lost();
            }
        }
    }

    fn assemble(&mut self, packet: Ordered, peer: &PeerClock, out: &mut Vec<Made>) {
        let mut frames = Vec::new();
        self.assembler.push(packet, &mut frames);
        self.store(frames, peer, out);
    }

    fn store(&mut self, frames: Vec<Frame>, peer: &PeerClock, out: &mut Vec<Made>) {
        for frame in frames {
            self.stats.frames += 1;
            let at = self.clock.time(frame.rtp_time, frame.arrival, peer);
            self.segmenter.push(frame, at, out);
        }
    }
}
