//! State of one published track in a shard: its layers, their packet rings and bitrates.
//!
//! The publisher's shard fills the rings from the network. A shard with only subscribers fills the
//! same structure from its link to the publisher's shard, so forwarding is equal on both.

use std::time::{Duration, Instant};

use crate::ids::TrackId;
use crate::index::MAX_LAYERS;
use crate::publish::ring::{PacketMeta, PacketRing};
use crate::sdp::Codec;
use crate::units::{Bitrate, SeqNo};

/// Packets in the ring of a video layer: 2 s at 4 Mbit/s, or the largest keyframe and the packets
/// during its retransmission.
const VIDEO_RING: usize = 1_024;

/// Packets in the ring of an audio layer: 5 s of 20 ms packets.
const AUDIO_RING: usize = 256;

/// Maximum number of packets that wait for a forwarding pass on one layer: a complete receive
/// batch.
pub const MAX_FRESH: usize = 2_048;

/// Minimum rate of an active layer. A layer that started within the meter's first bucket has no
/// measured rate yet, but can be allocated at once.
const MIN_ACTIVE_RATE: Bitrate = Bitrate::kbps(20);

/// Maximum age of an active layer's last packet: Opus sends every 400 ms during silence (DTX).
const ACTIVE_TIMEOUT: Duration = Duration::from_millis(500);

/// Maximum age of an active screen layer's last packet: browsers repeat a still page about once a
/// second.
const SCREEN_TIMEOUT: Duration = Duration::from_millis(2_500);

/// Maximum size difference in bytes that is padded. Encoders split a frame into packets of almost
/// equal size.
const MAX_GSO_PADDING: u16 = 8;

/// RTP and NTP timestamps of a publisher's last sender report (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug)]
pub struct ClockReport {
    /// NTP timestamp (32.32 fixed point) of the publisher's clock.
    pub ntp: u64,
    /// RTP timestamp of the same instant.
    pub rtp_time: u32,
    /// Arrival of the report.
    pub arrival: Instant,
}

/// One simulcast layer.
pub struct Layer {
    /// Received packets.
    pub ring: PacketRing,
    /// Packets received since the last forwarding pass, in order of arrival.
    pub fresh: Vec<SeqNo>,
    /// Last sender report.
    pub clock: Option<ClockReport>,
    /// Bitrate of received payload.
    pub meter: RateMeter,
    /// Arrival of the newest packet.
    pub last_arrival: Option<Instant>,
    /// Time of the last keyframe request to the publisher.
    pub last_keyframe_request: Option<Instant>,
    /// A subscriber waits for a keyframe.
    pub keyframe_requested: bool,
}

/// Track and its layers, lowest first.
pub struct Track {
    /// Identifier of the track.
    pub id: TrackId,
    /// Codec of all layers.
    pub codec: Codec,
    /// Layers, lowest first.
    pub layers: Vec<Layer>,
}

impl Track {
    /// Creates a track with empty rings; `layers` is limited to 1–[`MAX_LAYERS`].
    pub fn new(id: TrackId, codec: Codec, layers: usize) -> Track {
        let capacity = if codec == Codec::Opus {
            AUDIO_RING
        } else {
            VIDEO_RING
        };
        let layers = (0..layers.clamp(1, MAX_LAYERS))
            .map(|_| Layer::new(capacity))
            .collect();
        Track { id, codec, layers }
    }

    /// Stores a packet and queues it for forwarding. Returns false if it was rejected.
    pub fn insert(&mut self, layer: u8, meta: PacketMeta, payload: &[u8]) -> bool {
        let Some(layer) = self.layers.get_mut(usize::from(layer)) else {
            return false;
        };
        if layer.fresh.len() >= MAX_FRESH || !layer.ring.insert(meta, payload) {
            return false;
        }
        layer.meter.count(meta.arrival, payload.len());
        layer.last_arrival = Some(meta.arrival);
        if meta.keyframe && meta.frame_start {
            layer.keyframe_requested = false;
        }
        layer.fresh.push(meta.seq);
        true
    }

    /// Registers that a subscriber waits for a keyframe of a layer.
    pub fn request_keyframe(&mut self, layer: u8) {
        if let Some(layer) = self.layers.get_mut(usize::from(layer)) {
            layer.keyframe_requested = true;
        }
    }

    /// Resets a layer whose publisher restarts its sequence numbers.
    pub fn restart_layer(&mut self, layer: u8) {
        if let Some(old) = self.layers.get_mut(usize::from(layer)) {
            *old = Layer::new(old.ring.capacity());
        }
    }

    /// Pads fresh packets to the size of their neighbours, so that a frame is sent as one GSO
    /// message.
    pub fn pad_for_gso(&mut self) {
        if self.codec == Codec::Opus {
            return;
        }
        for layer in &mut self.layers {
            pad_for_gso(&mut layer.ring, &layer.fresh);
        }
    }

    /// Returns true if the fresh packets end with a complete frame on every layer.
    pub fn ends_with_complete_frames(&self) -> bool {
        let newest = |layer: &Layer| {
            layer
                .fresh
                .last()
                .and_then(|seq| layer.ring.get(*seq))
                .map(|(meta, _)| meta.marker)
        };
        self.layers
            .iter()
            .all(|layer| newest(layer).unwrap_or(true))
    }

    /// Ends a forwarding pass.
    pub fn clear_fresh(&mut self) {
        for layer in &mut self.layers {
            layer.fresh.clear();
        }
    }

    /// Returns the bitrate of each layer, lowest first; zero if inactive. With `bursts` (a shared
    /// screen: pages with long pauses) `rates` is the mean over four seconds and `peaks` the
    /// busiest second.
    pub fn layer_rates(&mut self, now: Instant, bursts: bool) -> LayerRates {
        let mut layer_rates = LayerRates::default();
        for (nth, layer) in self.layers.iter_mut().enumerate() {
            let since = layer
                .last_arrival
                .map(|last| now.saturating_duration_since(last));
            let active_within = |within| since.is_some_and(|since| since < within);
            let least = if active_within(ACTIVE_TIMEOUT) {
                MIN_ACTIVE_RATE
            } else {
                Bitrate::ZERO
            };
            let (rate, peak) = match bursts {
                false => (layer.meter.rate(now), Bitrate::ZERO),
                true if active_within(SCREEN_TIMEOUT) => {
                    (layer.meter.mean(now), layer.meter.peak(now))
                }
                true => (Bitrate::ZERO, Bitrate::ZERO),
            };
            layer_rates.rates[nth] = rate.max(least);
            layer_rates.peaks[nth] = peak.max(layer_rates.rates[nth]);
        }
        layer_rates
    }
}

/// Bitrates of a track's layers, lowest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerRates {
    /// Current rates.
    pub rates: [Bitrate; MAX_LAYERS],
    /// Rates of the busiest second.
    pub peaks: [Bitrate; MAX_LAYERS],
}

impl Layer {
    fn new(capacity: usize) -> Layer {
        Layer {
            ring: PacketRing::new(capacity),
            fresh: Vec::with_capacity(MAX_FRESH),
            clock: None,
            meter: RateMeter::default(),
            last_arrival: None,
            last_keyframe_request: None,
            keyframe_requested: false,
        }
    }

    /// Returns true if a keyframe request is due. The requests of all waiting subscribers are
    /// merged into one per `min_interval`.
    pub fn poll_keyframe_request(&mut self, now: Instant, min_interval: Duration) -> bool {
        let due = self
            .last_keyframe_request
            .is_none_or(|at| now.saturating_duration_since(at) >= min_interval);
        if !self.keyframe_requested || !due {
            return false;
        }
        self.last_keyframe_request = Some(now);
        true
    }
}

/// Pads runs of consecutive packets with almost equal size to the largest of the run.
fn pad_for_gso(ring: &mut PacketRing, fresh: &[SeqNo]) {
    let mut start = 0;
    while start < fresh.len() {
        let (mut smallest, mut largest, mut end) = (u16::MAX, 0, start);
        while let Some((meta, _)) = fresh.get(end).and_then(|seq| ring.get(*seq)) {
            let (low, high) = (smallest.min(meta.len), largest.max(meta.len));
            if high - low > MAX_GSO_PADDING {
                break;
            }
            (smallest, largest, end) = (low, high, end + 1);
        }
        if smallest < largest {
            for seq in &fresh[start..end] {
                let pad = ring
                    .get(*seq)
                    .map_or(0, |(meta, _)| (largest - meta.len) as u8);
                ring.set_pad(*seq, pad);
            }
        }
        start = end.max(start + 1);
    }
}

/// Bitrate of a layer, measured in buckets of 250 ms.
#[derive(Default)]
pub struct RateMeter {
    bucket_start: Option<Instant>,
    bytes: u64,
    /// Bytes of the last four seconds, a ring of buckets.
    buckets: [u32; BUCKETS_PER_MEAN],
    at: usize,
    /// Bytes of the busiest second in this and the previous peak window.
    peak_bytes: [u32; 2],
    peak_window_start: Option<Instant>,
}

/// Bucket width; a layer that stops is detected within a second.
const BUCKET: Duration = Duration::from_millis(250);
/// Buckets of one second, and of the mean over a burst.
const BUCKETS_PER_SECOND: usize = 4;
const BUCKETS_PER_MEAN: usize = 16;

/// The busiest second is kept for one to two windows; a page stays for about as long before the
/// next.
const PEAK_WINDOW: Duration = Duration::from_secs(45);

impl RateMeter {
    /// Counts `len` bytes that arrived at `now`.
    pub fn count(&mut self, now: Instant, len: usize) {
        self.advance(now);
        self.bytes += len as u64;
    }

    /// Mean over the last second; the open bucket is not included.
    pub fn rate(&mut self, now: Instant) -> Bitrate {
        self.advance(now);
        Bitrate::over(
            self.newest(BUCKETS_PER_SECOND),
            BUCKETS_PER_SECOND as u32 * BUCKET,
        )
    }

    /// Mean over four seconds, which spreads the burst of a page turn.
    pub fn mean(&mut self, now: Instant) -> Bitrate {
        self.advance(now);
        Bitrate::over(
            self.newest(BUCKETS_PER_MEAN),
            BUCKETS_PER_MEAN as u32 * BUCKET,
        )
    }

    /// Rate of the busiest second in the last one to two peak windows.
    pub fn peak(&mut self, now: Instant) -> Bitrate {
        self.advance(now);
        let [current, before] = self.peak_bytes;
        Bitrate::over(
            current.max(before).into(),
            BUCKETS_PER_SECOND as u32 * BUCKET,
        )
    }

    fn newest(&self, buckets: usize) -> u64 {
        (1..=buckets)
            .map(|back| {
                u64::from(self.buckets[(self.at + BUCKETS_PER_MEAN - back) % BUCKETS_PER_MEAN])
            })
            .sum()
    }

    fn advance(&mut self, now: Instant) {
        let Some(mut bucket_start) = self.bucket_start else {
            (self.bucket_start, self.peak_window_start) = (Some(now), Some(now));
            return;
        };
        let mut steps = 0;
        while now.saturating_duration_since(bucket_start) >= BUCKET && steps < BUCKETS_PER_MEAN {
            self.end_bucket();
            bucket_start += BUCKET;
            steps += 1;
        }
        let stale = now.saturating_duration_since(bucket_start) >= BUCKET;
        self.bucket_start = Some(if stale { now } else { bucket_start });
        if self
            .peak_window_start
            .is_some_and(|began| now.saturating_duration_since(began) >= PEAK_WINDOW)
        {
            (self.peak_bytes, self.peak_window_start) = ([0, self.peak_bytes[0]], Some(now));
        }
    }

    fn end_bucket(&mut self) {
        self.buckets[self.at] = std::mem::take(&mut self.bytes) as u32;
        self.at = (self.at + 1) % BUCKETS_PER_MEAN;
        self.peak_bytes[0] = self.peak_bytes[0].max(self.newest(BUCKETS_PER_SECOND) as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time;

    fn meta(seq: u64, len: u16, arrival: Instant) -> PacketMeta {
        PacketMeta {
            seq: SeqNo(seq),
            rtp_time: 0,
            arrival,
            len,
            pad: 0,
            marker: false,
            frame_start: false,
            keyframe: false,
            red: false,
            picture_ids: None,
            primary_offset: 0,
        }
    }

    #[test]
    fn packets_of_a_frame_are_padded_to_one_size_except_the_short_tail() {
        let (mut track, now) = (
            Track::new(TrackId(1), Codec::H264, 1),
            virtual_time::start(),
        );
        for (seq, len) in [(1, 1142), (2, 1142), (3, 1143), (4, 400)] {
            assert!(track.insert(0, meta(seq, len, now), &vec![0; usize::from(len)]));
        }
        track.pad_for_gso();
        let pads: Vec<_> = (1..=4)
            .map(|seq| track.layers[0].ring.get(SeqNo(seq)).map(|(m, _)| m.pad))
            .collect();
        assert_eq!(pads, [Some(1), Some(1), Some(0), Some(0)]);
    }

    #[test]
    fn a_layer_that_stops_has_rate_zero_after_a_second() {
        let (mut meter, start) = (RateMeter::default(), virtual_time::start());
        for ms in 0..1000 {
            meter.count(start + Duration::from_millis(ms), 125);
        }
        let rate = meter.rate(start + Duration::from_millis(1000));
        assert_eq!(rate, Bitrate::kbps(1000));
        assert_eq!(
            meter.rate(start + Duration::from_millis(2300)),
            Bitrate::ZERO
        );
    }

    #[test]
    fn a_page_turn_sets_the_peak_rate_and_is_averaged_over_four_seconds() {
        let (mut track, start) = (
            Track::new(TrackId(1), Codec::H264, 1),
            virtual_time::start(),
        );
        let at = |ms: u64| start + Duration::from_millis(ms);
        for ms in (0..10_000).step_by(1_000) {
            track.layers[0].meter.count(at(ms), 100);
        }
        track.layers[0].meter.count(at(10_000), 50_000);
        track.layers[0].last_arrival = Some(at(10_000));
        let turned = track.layer_rates(at(10_300), true);
        assert_eq!(
            (turned.rates[0].as_kbps(), turned.peaks[0].as_kbps()),
            (100, 400)
        );
        track.layers[0].last_arrival = Some(at(40_000));
        let stands = track.layer_rates(at(40_300), true);
        assert!(
            stands.rates[0] <= MIN_ACTIVE_RATE && stands.peaks[0].as_kbps() == 400,
            "{stands:?}"
        );
        track.layers[0].last_arrival = Some(at(100_000));
        let later = [50_000, 100_300].map(|ms| track.layer_rates(at(ms), true).peaks[0]);
        assert!(
            later[1] <= MIN_ACTIVE_RATE,
            "expired after a minute and a half: {later:?}"
        );
        assert_eq!(
            track.layer_rates(at(103_000), true),
            LayerRates::default(),
            "the layer is inactive"
        );
    }

    #[test]
    fn keyframe_requests_of_many_subscribers_are_merged() {
        let (mut layer, now, min_interval) = (
            Layer::new(8),
            virtual_time::start(),
            Duration::from_millis(500),
        );
        assert!(
            !layer.poll_keyframe_request(now, min_interval),
            "no request"
        );
        layer.keyframe_requested = true;
        assert!(layer.poll_keyframe_request(now, min_interval));
        assert!(!layer.poll_keyframe_request(now + min_interval / 2, min_interval));
        assert!(
            layer.poll_keyframe_request(now + min_interval, min_interval),
            "still pending, so repeated"
        );
    }
}
