//! Tap of a track: a bounded queue to a recorder. It drops packets rather than delay the lesson,
//! and counts them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::command::{RelayBody, RelayItem};
use crate::sdp::MediaKind;
use crate::units::SeqNo;

/// Queue capacity per track in packets: about 3 s of video at 4 Mbit/s with all its layers, 10 s of
/// audio.
const VIDEO_QUEUE: usize = 2_048;
const AUDIO_QUEUE: usize = 512;

/// The recorder's end of the queue. Call [`Tap::pop`] a few times a second until it returns none.
pub struct Tap {
    source: Consumer<RelayItem>,
    current: Option<RelayItem>,
    overrun: Arc<AtomicU64>,
}

/// The shard's end of the queue.
pub struct TapSink {
    sink: Producer<RelayItem>,
    overrun: Arc<AtomicU64>,
}

/// An item of a tap.
#[derive(Debug)]
pub enum Tapped<'a> {
    /// An RTP packet. Of a RED payload only the primary encoding is included.
    Packet {
        /// Simulcast layer, lowest first.
        layer: u8,
        /// Sequence number with rollovers.
        seq: SeqNo,
        /// RTP timestamp.
        rtp_time: u32,
        /// RTP marker bit.
        marker: bool,
        /// Time of arrival.
        arrival: Instant,
        /// RTP payload without padding.
        payload: &'a [u8],
    },
    /// A sender report (RFC 3550 §6.4.1). It maps the RTP timestamps of a layer to the plane's NTP
    /// clock.
    SenderReport {
        /// Simulcast layer, lowest first.
        layer: u8,
        /// NTP time, 32.32 fixed point.
        ntp: u64,
        /// The RTP timestamp of the same instant.
        rtp_time: u32,
        /// Time of arrival of the report.
        arrival: Instant,
    },
    /// The publisher switched the layer to another SSRC: sequence numbers and timestamps restart.
    Restart {
        /// Simulcast layer, lowest first.
        layer: u8,
    },
}

/// Makes a queue. Returns both ends.
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
            current: None,
            overrun,
        },
    )
}

impl Tap {
    /// Removes the oldest item.
    pub fn pop(&mut self) -> Option<Tapped<'_>> {
        self.current = self.source.pop().ok();
        let RelayItem { layer, body } = self.current.as_ref()?;
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

    /// Returns the number of packets dropped because the queue was full.
    pub fn overrun(&self) -> u64 {
        self.overrun.load(Relaxed)
    }

    /// Returns true once the track is removed and the queue is empty.
    pub fn is_finished(&self) -> bool {
        self.source.is_abandoned() && self.source.is_empty()
    }
}

impl TapSink {
    /// Queues an item. Returns false if the queue is full and the item is dropped.
    pub fn push(&mut self, item: RelayItem) -> bool {
        let queued = self.sink.push(item).is_ok();
        if !queued {
            self.overrun.fetch_add(1, Relaxed);
        }
        queued
    }

    /// Returns true once the recorder has dropped its end.
    pub fn is_abandoned(&self) -> bool {
        self.sink.is_abandoned()
    }
}
