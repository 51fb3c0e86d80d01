//! A recorder's end of a track: a bounded queue that loses packets rather than slow the lesson, and says how many it lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::command::{RelayBody, RelayItem};
use crate::sdp::MediaKind;
use crate::units::SeqNo;

/// Packets that may wait for the recorder, per track: about 3 s of a 4 Mbit/s picture in all its layers, 10 s of voice.
const VIDEO_QUEUE: usize = 2_048;
const AUDIO_QUEUE: usize = 512;

/// The recording end: take with [`Tap::pop`] a few times a second.
pub struct Tap {
    source: Consumer<RelayItem>,
    held: Option<RelayItem>,
    overrun: Arc<AtomicU64>,
}

/// The shard's end.
pub struct TapSink {
    sink: Producer<RelayItem>,
    overrun: Arc<AtomicU64>,
}

/// What a tap yields.
#[derive(Debug)]
pub enum Tapped<'a> {
    /// One RTP packet; RED is taken off.
    Packet {
        /// Simulcast layer, lowest first.
        layer: u8,
        seq: SeqNo,
        rtp_time: u32,
        marker: bool,
        arrival: Instant,
        /// RTP payload without padding.
        payload: &'a [u8],
    },
    /// The publisher's clock (RFC 3550 §6.4.1): `rtp_time` on this layer is `ntp` (32.32 fixed point) on the publisher's clock.
    SenderReport {
        layer: u8,
        ntp: u64,
        rtp_time: u32,
        arrival: Instant,
    },
    /// The layer began another source: sequence numbers and timestamps start anew.
    Restart { layer: u8 },
}

/// Both ends of a new queue.
pub fn channel(kind: MediaKind) -> (TapSink, Tap) {
    let capacity = if kind == MediaKind::Video {
        VIDEO_QUEUE
    } else {
        AUDIO_QUEUE
    };
    let (sink, source) = RingBuffer::new(capacity);
    let overrun = Arc::new(AtomicU64::new(0));
    (
        TapSink {
            sink,
            overrun: overrun.clone(),
        },
        Tap {
            source,
            held: None,
            overrun,
        },
    )
}

impl Tap {
    /// The oldest thing that waits.
    pub fn pop(&mut self) -> Option<Tapped<'_>> {
        self.held = self.source.pop().ok();
        let RelayItem { layer, body } = self.held.as_ref()?;
        Some(match body {
            RelayBody::Packet { meta, payload } => Tapped::Packet {
                layer: *layer,
                seq: meta.seq,
                rtp_time: meta.rtp_time,
                marker: meta.marker,
                arrival: meta.arrival,
                payload: payload
                    .get(usize::from(meta.primary_offset)..usize::from(meta.len))
                    .unwrap_or(&[]),
            },
            RelayBody::Clock {
                ntp,
                rtp_time,
                arrival,
            } => Tapped::SenderReport {
                layer: *layer,
                ntp: *ntp,
                rtp_time: *rtp_time,
                arrival: *arrival,
            },
            RelayBody::Restart => Tapped::Restart { layer: *layer },
        })
    }

    /// Packets lost so far because the queue was full.
    pub fn overrun(&self) -> u64 {
        self.overrun.load(Relaxed)
    }

    /// The track is gone and everything it sent has been taken.
    pub fn is_finished(&self) -> bool {
        self.source.is_abandoned() && self.source.is_empty()
    }
}

impl TapSink {
    /// Hands one item over. Returns false when the queue was full and the item is lost.
    pub fn push(&mut self, item: RelayItem) -> bool {
        let taken = self.sink.push(item).is_ok();
        if !taken {
            self.overrun.fetch_add(1, Relaxed);
        }
        taken
    }

    /// The recorder dropped its end.
    pub fn is_abandoned(&self) -> bool {
        self.sink.is_abandoned()
    }
}
