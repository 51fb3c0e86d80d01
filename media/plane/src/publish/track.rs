//! One published track as a shard holds it: its layers with their rings, and how fast each flows.
//!
//! The shard that owns the publisher fills the rings from the network; a shard that only has subscribers fills the same
//! structure from its link to the owner ([`crate::shard::relay`]). Forwarding does not know the difference.

use std::time::{Duration, Instant};

use crate::ids::TrackId;
use crate::index::MAX_LAYERS;
use crate::publish::ring::{PacketMeta, PacketRing};
use crate::sdp::Codec;
use crate::units::{Bitrate, SeqNo};

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

/// A screen's layer whose last packet is older than this is not being sent: browsers repeat a page that stands about once a second.
const RESTING: Duration = Duration::from_millis(2_500);

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

    /// Stores a packet and queues it for forwarding. Returns whether it was new.
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
    pub fn restart_layer(&mut self, layer: u8) {
        if let Some(held) = self.layers.get_mut(usize::from(layer)) {
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

    /// Whether what waits to be forwarded ends with the end of a frame, on every layer.
    pub fn has_whole_frames(&self) -> bool {
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

    /// What each layer takes of a line, lowest first; zero for one that does not flow. A screen comes in `bursts`: nothing for a minute, then
    /// a page. It is judged by its mean over some seconds and by its busiest one.
    pub fn demand(&mut self, now: Instant, bursts: bool) -> Demand {
        let mut demand = Demand::default();
        for (nth, layer) in self.layers.iter_mut().enumerate() {
            let since = layer
                .last_arrival
                .map(|last| now.saturating_duration_since(last));
            let flows = |within| since.is_some_and(|since| since < within);
            let least = if flows(FLOWING) {
                JUST_BEGUN
            } else {
                Bitrate::ZERO
            };
            let (rate, peak) = match bursts {
                false => (layer.meter.rate(now), Bitrate::ZERO),
                true if flows(RESTING) => (layer.meter.mean(now), layer.meter.peak(now)),
                true => (Bitrate::ZERO, Bitrate::ZERO),
            };
            demand.rates[nth] = rate.max(least);
            demand.peaks[nth] = peak.max(demand.rates[nth]);
        }
        demand
    }
}

/// What the layers of a track take of a line, lowest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// As they flow now.
    pub rates: [Bitrate; MAX_LAYERS],
    /// As they flow at their busiest.
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
            keyframe_asked: None,
            keyframe_wanted: false,
        }
    }

    /// Whether a request for a keyframe should go out now. Requests of all waiting subscribers merge into one per `pace`.
    pub fn take_keyframe_request(&mut self, now: Instant, pace: Duration) -> bool {
        let due = self
            .keyframe_asked
            .is_none_or(|asked| now.saturating_duration_since(asked) >= pace);
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
                let pad = ring
                    .get(*seq)
                    .map_or(0, |(meta, _)| (largest - meta.len) as u8);
                ring.set_pad(*seq, pad);
            }
        }
        start = end.max(start + 1);
    }
}

/// How fast a layer flows, counted in quarters of a second.
#[derive(Default)]
pub struct RateMeter {
    window: Option<Instant>,
    bytes: u64,
    /// The last four seconds; a ring.
    quarters: [u32; LONG],
    at: usize,
    /// Bytes of the busiest second of this span and of the one before.
    busiest: [u32; 2],
    span_began: Option<Instant>,
}

/// The meter's step: short enough that a stopped layer is noticed within a second.
const QUARTER: Duration = Duration::from_millis(250);
/// Quarters of a second, and of the time over which a burst is spread.
const SECOND: usize = 4;
const LONG: usize = 16;

/// The busiest second is remembered for one to two of these: a page of a lesson stands for about as long before it is turned.
const BUSIEST_SPAN: Duration = Duration::from_secs(45);

impl RateMeter {
    /// Counts `len` bytes that arrived at `now`.
    pub fn count(&mut self, now: Instant, len: usize) {
        self.turn(now);
        self.bytes += len as u64;
    }

    /// The rate of the last second; what arrived in the open quarter counts once that has ended.
    pub fn rate(&mut self, now: Instant) -> Bitrate {
        self.turn(now);
        Bitrate::over(self.newest(SECOND), SECOND as u32 * QUARTER)
    }

    /// The rate over four seconds, in which a page that is turned is spread out.
    pub fn mean(&mut self, now: Instant) -> Bitrate {
        self.turn(now);
        Bitrate::over(self.newest(LONG), LONG as u32 * QUARTER)
    }

    /// The rate of the busiest second of the last minute or so.
    pub fn peak(&mut self, now: Instant) -> Bitrate {
        self.turn(now);
        let [current, before] = self.busiest;
        Bitrate::over(current.max(before).into(), SECOND as u32 * QUARTER)
    }

    fn newest(&self, quarters: usize) -> u64 {
        (1..=quarters)
            .map(|back| u64::from(self.quarters[(self.at + LONG - back) % LONG]))
            .sum()
    }

    fn turn(&mut self, now: Instant) {
        let Some(mut window) = self.window else {
            (self.window, self.span_began) = (Some(now), Some(now));
            return;
        };
        let mut steps = 0;
        while now.saturating_duration_since(window) >= QUARTER && steps < LONG {
            self.end_quarter();
            window += QUARTER;
            steps += 1;
        }
        let stale = now.saturating_duration_since(window) >= QUARTER;
        self.window = Some(if stale { now } else { window });
        if self
            .span_began
            .is_some_and(|began| now.saturating_duration_since(began) >= BUSIEST_SPAN)
        {
            (self.busiest, self.span_began) = ([0, self.busiest[0]], Some(now));
        }
    }

    fn end_quarter(&mut self) {
        self.quarters[self.at] = std::mem::take(&mut self.bytes) as u32;
        self.at = (self.at + 1) % LONG;
        self.busiest[0] = self.busiest[0].max(self.newest(SECOND) as u32);
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
        let (mut track, now) = (
            Track::new(TrackId(1), Codec::H264, 1),
            virtual_time::start(),
        );
        for (seq, len) in [(1, 1142), (2, 1142), (3, 1143), (4, 400)] {
            assert!(track.insert(0, meta(seq, len, now), &vec![0; usize::from(len)]));
        }
        track.even_out();
        let pads: Vec<_> = (1..=4)
            .map(|seq| track.layers[0].ring.get(SeqNo(seq)).map(|(m, _)| m.pad))
            .collect();
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
        assert_eq!(
            meter.rate(start + Duration::from_millis(2300)),
            Bitrate::ZERO
        );
    }

    #[test]
    fn a_page_that_is_turned_is_remembered_as_the_busiest_second_and_spread_over_four() {
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
        let turned = track.demand(at(10_300), true);
        assert_eq!(
            (turned.rates[0].as_kbps(), turned.peaks[0].as_kbps()),
            (100, 400)
        );
        track.layers[0].last_arrival = Some(at(40_000));
        let stands = track.demand(at(40_300), true);
        assert!(
            stands.rates[0] <= JUST_BEGUN && stands.peaks[0].as_kbps() == 400,
            "{stands:?}"
        );
        track.layers[0].last_arrival = Some(at(100_000));
        let later = [50_000, 100_300].map(|ms| track.demand(at(ms), true).peaks[0]);
        assert!(
            later[1] <= JUST_BEGUN,
            "forgotten after a minute and a half: {later:?}"
        );
        assert_eq!(
            track.demand(at(103_000), true),
            Demand::default(),
            "it is not sent any more"
        );
    }

    #[test]
    fn keyframe_requests_of_many_merge_into_one_per_pace() {
        let (mut layer, now, pace) = (
            Layer::new(8),
            virtual_time::start(),
            Duration::from_millis(500),
        );
        assert!(!layer.take_keyframe_request(now, pace), "nobody asked");
        layer.keyframe_wanted = true;
        assert!(layer.take_keyframe_request(now, pace));
        assert!(!layer.take_keyframe_request(now + pace / 2, pace));
        assert!(
            layer.take_keyframe_request(now + pace, pace),
            "still wanted, so asked again"
        );
    }
}
