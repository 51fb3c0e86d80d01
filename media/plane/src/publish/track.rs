//! One published track as a shard holds it: its layers with their rings, and how fast each flows.
//!
//! The shard that owns the publisher fills the rings from the network; a shard that only has subscribers fills the same
//! structure from its link to the owner ([`crate::shard::relay`]). Forwarding does not know the difference.

use std::time::{Duration, Instant};

use crate::ids::TrackId;
use crate::publish::ring::{PacketMeta, PacketRing};
use crate::sdp::Codec;
use crate::units::{Bitrate, SeqNo};

/// Simulcast layers of one track at most: what browsers send, and what the allocator plans for.
pub const MAX_LAYERS: usize = 4;

/// Packets that a video layer keeps: 2 s of 4 Mbit/s, or the largest keyframe plus what follows during a retransmission.
const VIDEO_RING: usize = 1_024;

/// Packets that an audio layer keeps: 5 s of 20 ms packets.
const AUDIO_RING: usize = 256;

/// Packets of one layer that may be waiting to be forwarded: a whole receive batch of one layer.
pub const MAX_FRESH: usize = 2_048;

/// A layer that began within the meter's first step has no measured rate yet; it is taken for at least this, so that it can be given
/// to somebody at once.
const JUST_BEGUN: Bitrate = Bitrate::kbps(20);

/// A layer whose last packet is no older than this flows: opus sends every 400 ms in silence (DTX).
const FLOWING: Duration = Duration::from_millis(500);

/// Sizes that differ by no more than this are evened out with RTP padding: encoders split a frame into parts of almost one size.
const MAX_EVENING: u16 = 8;

/// A publisher's clock as its last sender report tells it (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug)]
pub struct ClockReport {
    /// NTP time, 32.32 fixed point, on the publisher's clock.
    pub ntp: u64,
    /// The RTP timestamp of the same instant.
    pub rtp_time: u32,
    /// When the report arrived.
    pub arrival: Instant,
}

/// One layer.
pub struct Layer {
    pub ring: PacketRing,
    /// Packets that arrived since the last forwarding pass, in order of arrival.
    pub fresh: Vec<SeqNo>,
    pub clock: Option<ClockReport>,
    pub meter: RateMeter,
    pub last_arrival: Option<Instant>,
    /// When a keyframe was last asked for.
    pub keyframe_asked: Option<Instant>,
    /// Somebody waits for a keyframe.
    pub keyframe_wanted: bool,
}

/// A track and its layers, lowest first.
pub struct Track {
    pub id: TrackId,
    pub codec: Codec,
    pub layers: Vec<Layer>,
}

impl Track {
    pub fn new(id: TrackId, codec: Codec, layers: usize) -> Track {
        let capacity = if codec == Codec::Opus { AUDIO_RING } else { VIDEO_RING };
        let layers = (0..layers.clamp(1, MAX_LAYERS)).map(|_| Layer::new(capacity)).collect();
        Track { id, codec, layers }
    }

    /// Stores a packet and queues it for forwarding. Returns whether it was new.
    pub fn insert(&mut self, layer: usize, meta: PacketMeta, payload: &[u8]) -> bool {
        let Some(layer) = self.layers.get_mut(layer) else { return false };
        if layer.fresh.len() >= MAX_FRESH || !layer.ring.insert(meta, payload) {
            return false;
        }
        layer.meter.count(meta.arrival, payload.len());
        layer.last_arrival = Some(meta.arrival);
        if meta.keyframe && meta.frame_start {
            layer.keyframe_wanted = false;
        }
        layer.fresh.push(meta.seq);
        true
    }

    /// Notes that somebody waits for a keyframe of a layer.
    pub fn want_keyframe(&mut self, layer: u8) {
        if let Some(layer) = self.layers.get_mut(usize::from(layer)) {
            layer.keyframe_wanted = true;
        }
    }

    /// Begins a layer anew: its publisher's numbers start over.
    pub fn restart_layer(&mut self, layer: usize) {
        if let Some(held) = self.layers.get_mut(layer) {
            *held = Layer::new(held.ring.capacity());
        }
    }

    /// Evens out the sizes of neighbouring fresh packets, so that a frame travels as one GSO message.
    pub fn even_out(&mut self) {
        if self.codec == Codec::Opus {
            return;
        }
        for layer in &mut self.layers {
            even_out(&mut layer.ring, &layer.fresh);
        }
    }

    /// Whether anything waits to be forwarded.
    pub fn has_fresh(&self) -> bool {
        self.layers.iter().any(|layer| !layer.fresh.is_empty())
    }

    /// Whether what waits to be forwarded ends with the end of a frame, on every layer.
    pub fn has_whole_frames(&self) -> bool {
        let newest =
            |layer: &Layer| layer.fresh.last().and_then(|seq| layer.ring.get(*seq)).map(|(meta, _)| meta.marker);
        self.layers.iter().all(|layer| newest(layer).unwrap_or(true))
    }

    /// Ends a forwarding pass.
    pub fn clear_fresh(&mut self) {
        for layer in &mut self.layers {
            layer.fresh.clear();
        }
    }

    /// Bitrate of each layer, zero for one that does not flow; lowest first.
    pub fn bitrates(&mut self, now: Instant) -> [Bitrate; MAX_LAYERS] {
        let mut rates = [Bitrate::ZERO; MAX_LAYERS];
        for (rate, layer) in rates.iter_mut().zip(&mut self.layers) {
            let flows = layer.last_arrival.is_some_and(|last| now.saturating_duration_since(last) < FLOWING);
            *rate = layer.meter.rate(now).max(if flows { JUST_BEGUN } else { Bitrate::ZERO });
        }
        rates
    }
}

impl Layer {
    fn new(capacity: usize) -> Layer {
        Layer {
            ring: PacketRing::new(capacity),
            fresh: Vec::with_capacity(MAX_FRESH),
            clock: None,
            meter: RateMeter::default(),
            last_arrival: None,
            keyframe_asked: None,
            keyframe_wanted: false,
        }
    }

    /// Whether a request for a keyframe should go out now. Requests of all waiting subscribers merge into one per `pace`.
    pub fn take_keyframe_request(&mut self, now: Instant, pace: Duration) -> bool {
        let due = self.keyframe_asked.is_none_or(|asked| now.saturating_duration_since(asked) >= pace);
        if !self.keyframe_wanted || !due {
            return false;
        }
        self.keyframe_asked = Some(now);
        true
    }
}

/// Runs of consecutive packets whose sizes differ by a few bytes get padded to the largest of the run.
fn even_out(ring: &mut PacketRing, fresh: &[SeqNo]) {
    let mut start = 0;
    while start < fresh.len() {
        let (mut smallest, mut largest, mut end) = (u16::MAX, 0, start);
        while let Some((meta, _)) = fresh.get(end).and_then(|seq| ring.get(*seq)) {
            let (low, high) = (smallest.min(meta.len), largest.max(meta.len));
            if high - low > MAX_EVENING {
                break;
            }
            (smallest, largest, end) = (low, high, end + 1);
        }
        if smallest < largest {
            for seq in &fresh[start..end] {
                let pad = ring.get(*seq).map_or(0, |(meta, _)| (largest - meta.len) as u8);
                ring.set_pad(*seq, pad);
            }
        }
        start = end.max(start + 1);
    }
}

/// Bytes per second over the last whole second, in quarters.
#[derive(Default)]
pub struct RateMeter {
    window: Option<Instant>,
    bytes: u64,
    quarters: [u64; 4],
    at: usize,
}

/// The meter's step: short enough that a stopped layer is noticed within a second.
const QUARTER: Duration = Duration::from_millis(250);

impl RateMeter {
    /// Counts `len` bytes that arrived at `now`.
    pub fn count(&mut self, now: Instant, len: usize) {
        self.turn(now);
        self.bytes += len as u64;
    }

    /// The rate up to `now`; what arrived in the open quarter counts once that has ended.
    pub fn rate(&mut self, now: Instant) -> Bitrate {
        self.turn(now);
        Bitrate::over(self.quarters.iter().sum(), 4 * QUARTER)
    }

    fn turn(&mut self, now: Instant) {
        let Some(mut window) = self.window else {
            self.window = Some(now);
            return;
        };
        let mut steps = 0;
        while now.saturating_duration_since(window) >= QUARTER && steps < self.quarters.len() {
            self.quarters[self.at] = std::mem::take(&mut self.bytes);
            self.at = (self.at + 1) % self.quarters.len();
            window += QUARTER;
            steps += 1;
        }
        let stale = now.saturating_duration_since(window) >= QUARTER;
        self.window = Some(if stale { now } else { window });
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
            picture: None,
            primary_offset: 0,
        }
    }

    #[test]
    fn the_parts_of_a_frame_are_padded_to_one_size_and_the_short_tail_is_left() {
        let (mut track, now) = (Track::new(TrackId(1), Codec::H264, 1), virtual_time::start());
        for (seq, len) in [(1, 1142), (2, 1142), (3, 1143), (4, 400)] {
            assert!(track.insert(0, meta(seq, len, now), &vec![0; usize::from(len)]));
        }
        track.even_out();
        let pads: Vec<_> = (1..=4).map(|seq| track.layers[0].ring.get(SeqNo(seq)).map(|(m, _)| m.pad)).collect();
        assert_eq!(pads, [Some(1), Some(1), Some(0), Some(0)]);
    }

    #[test]
    fn a_layer_that_stops_flowing_reads_zero_after_a_second() {
        let (mut meter, start) = (RateMeter::default(), virtual_time::start());
        for ms in 0..1000 {
            meter.count(start + Duration::from_millis(ms), 125);
        }
        let rate = meter.rate(start + Duration::from_millis(1000));
        assert_eq!(rate, Bitrate::kbps(1000));
        assert_eq!(meter.rate(start + Duration::from_millis(2300)), Bitrate::ZERO);
    }

    #[test]
    fn keyframe_requests_of_many_merge_into_one_per_pace() {
        let (mut layer, now, pace) = (Layer::new(8), virtual_time::start(), Duration::from_millis(500));
        assert!(!layer.take_keyframe_request(now, pace), "nobody asked");
        layer.keyframe_wanted = true;
        assert!(layer.take_keyframe_request(now, pace));
        assert!(!layer.take_keyframe_request(now + pace / 2, pace));
        assert!(layer.take_keyframe_request(now + pace, pace), "still wanted, so asked again");
    }
}
