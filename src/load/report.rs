//! The line of JSON.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;

use super::Args;
use super::measure::{Percentiles, Usage};
use super::publisher::Sent;
use super::reactor::Outcome;
use super::subscriber::Seen;

#[derive(Debug, Serialize)]
pub struct Report {
    pub publishers: usize,
    /// Asked for.
    pub subscribers: usize,
    /// Had their keys, and had a whole keyframe.
    pub subscribers_connected: usize,
    pub subscribers_showing: usize,
    pub bitrate_kbps: u32,
    pub seconds: f64,
    /// Media packets, sent by the publishers in the whole run and received by the subscribers while it was measured.
    pub packets_sent: u64,
    pub packets_received: u64,
    pub packets_per_second: f64,
    pub received_mbps: f64,
    /// Sequence numbers that passed and did not come, of those that passed. Nothing is asked for again.
    pub loss_ratio: f64,
    /// What came, of what the publishers sent to those that watched them. Below 1 without loss: the server held back what it
    /// believed the line could not carry.
    pub delivered_ratio: f64,
    pub reordered: u64,
    pub retransmitted: u64,
    pub refused: u64,
    pub keyframes_sent: u64,
    pub resent_by_publishers: u64,
    /// From the POST of the offer to the keys.
    pub join_ms: Option<Percentiles>,
    /// From the POST of the offer to a whole keyframe.
    pub first_frame_ms: Option<Percentiles>,
    /// From just before a frame was sent to its first packet's arrival.
    pub forward_ms: Option<Percentiles>,
    /// The same, to the first and to the last subscriber that a frame came to.
    pub forward_first_ms: Option<Percentiles>,
    pub forward_last_ms: Option<Percentiles>,
    /// From the first to the last subscriber that a frame came to.
    pub skew_ms: Option<Percentiles>,
    /// Of those who joined while the others were measured: how many had a whole keyframe, and after how long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storm: Option<Storm>,
    /// The share of its core that the generator's busiest thread used. Beyond [`BOTTLENECK`] latencies and losses are its own.
    pub generator_busy: f64,
    pub generator_was_bottleneck: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_cpu_ns_per_packet: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_cpu_share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_rss_bytes: Option<u64>,
}

/// What became of those who joined while the others were measured.
#[derive(Debug, Serialize)]
pub struct Storm {
    pub joined: usize,
    pub showing: usize,
    pub join_ms: Option<Percentiles>,
    pub first_frame_ms: Option<Percentiles>,
}

/// A thread that is busy for more than this share of the time keeps packets waiting.
const BOTTLENECK: f64 = 0.8;

/// `busy` is the share of its core that the generator's busiest thread used.
pub fn of(
    args: &Args,
    measured: Duration,
    sent: &[Outcome],
    received: Vec<Outcome>,
    usage: Option<Usage>,
    busy: f64,
) -> Report {
    let sent: Vec<Sent> = sent.iter().filter_map(Outcome::sent).collect();
    let (late, seen): (Vec<Seen>, Vec<Seen>) =
        received.into_iter().filter_map(Outcome::seen).partition(|seen| seen.late);
    let sum = |count: fn(&Seen) -> u64| seen.iter().map(count).sum::<u64>();
    let (packets, expected) = (sum(|s| s.packets), sum(|s| s.expected));
    let seconds = measured.as_secs_f64();
    let (forward_first_ms, forward_last_ms, skew_ms) = spread(&seen);
    Report {
        publishers: args.publishers,
        subscribers: args.subscribers,
        subscribers_connected: seen.iter().filter(|s| s.joined_after.is_some()).count(),
        subscribers_showing: seen.iter().filter(|s| s.showed_after.is_some()).count(),
        bitrate_kbps: args.bitrate,
        seconds: round(seconds),
        packets_sent: sent.iter().map(|s| s.packets).sum(),
        packets_received: packets,
        packets_per_second: round(packets as f64 / seconds),
        received_mbps: round(sum(|s| s.bytes) as f64 * 8.0 / 1e6 / seconds),
        loss_ratio: if expected == 0 { 0.0 } else { expected.saturating_sub(packets) as f64 / expected as f64 },
        delivered_ratio: round(packets as f64 / due(args, &sent).max(1) as f64),
        reordered: sum(|s| s.reordered),
        retransmitted: sum(|s| s.retransmitted),
        refused: sum(|s| s.refused),
        keyframes_sent: sent.iter().map(|s| s.keyframes).sum(),
        resent_by_publishers: sent.iter().map(|s| s.resent).sum(),
        join_ms: millis(&seen, |s| s.joined_after),
        first_frame_ms: millis(&seen, |s| s.showed_after),
        forward_ms: forward(&seen),
        forward_first_ms,
        forward_last_ms,
        skew_ms,
        storm: (args.storm > 0).then(|| Storm::of(&late)),
        generator_busy: round(busy),
        generator_was_bottleneck: busy > BOTTLENECK,
        server_cpu_ns_per_packet: usage.filter(|_| packets > 0).map(|u| round(u.cpu_ns as f64 / packets as f64)),
        server_cpu_share: usage.map(|u| round(u.cpu_ns as f64 / 1e9 / seconds)),
        server_rss_bytes: usage.map(|u| u.rss_bytes),
    }
}

/// Packets that would have come had everything been passed on: subscribers are dealt out to the publishers in turn.
fn due(args: &Args, sent: &[Sent]) -> u64 {
    let watchers =
        |publisher: usize| (0..args.subscribers).filter(|n| n % args.publishers.max(1) == publisher).count() as u64;
    sent.iter().enumerate().map(|(publisher, sent)| sent.in_window * watchers(publisher)).sum()
}

fn forward(seen: &[Seen]) -> Option<Percentiles> {
    let sightings = seen.iter().flat_map(|s| &s.sightings);
    Percentiles::of(sightings.map(|s| s.seen_ns.saturating_sub(s.stamp_ns) as f64 / 1e6).collect())
}

/// How late a frame came to the first and to the last subscriber, and the time between. Only of frames that every subscriber saw: one that
/// came to a few says nothing about the spread.
fn spread(seen: &[Seen]) -> (Option<Percentiles>, Option<Percentiles>, Option<Percentiles>) {
    let mut frames: HashMap<u64, (u64, u64, usize)> = HashMap::new();
    for sighting in seen.iter().flat_map(|s| &s.sightings) {
        let (first, last, count) = frames.entry(sighting.stamp_ns).or_insert((u64::MAX, 0, 0));
        (*first, *last, *count) = ((*first).min(sighting.seen_ns), (*last).max(sighting.seen_ns), *count + 1);
    }
    let most = frames.values().map(|frame| frame.2).max().unwrap_or(0);
    let whole: Vec<_> = frames.into_iter().filter(|(_, frame)| frame.2 == most).collect();
    let of = |span: fn(u64, u64, u64) -> u64| {
        let spans = whole.iter().map(|(stamp, (first, last, _))| span(*stamp, *first, *last) as f64 / 1e6);
        Percentiles::of(spans.collect())
    };
    (
        of(|stamp, first, _| first.saturating_sub(stamp)),
        of(|stamp, _, last| last.saturating_sub(stamp)),
        of(|_, first, last| last - first),
    )
}

fn millis(seen: &[Seen], time: fn(&Seen) -> Option<Duration>) -> Option<Percentiles> {
    Percentiles::of(seen.iter().filter_map(time).map(|span| span.as_secs_f64() * 1000.0).collect())
}

impl Storm {
    fn of(late: &[Seen]) -> Storm {
        Storm {
            joined: late.iter().filter(|s| s.joined_after.is_some()).count(),
            showing: late.iter().filter(|s| s.showed_after.is_some()).count(),
            join_ms: millis(late, |s| s.joined_after),
            first_frame_ms: millis(late, |s| s.showed_after),
        }
    }
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

impl Outcome {
    fn sent(&self) -> Option<Sent> {
        match self {
            Outcome::Sent(sent) => Some(*sent),
            Outcome::Seen(_) => None,
        }
    }

    fn seen(self) -> Option<Seen> {
        match self {
            Outcome::Seen(seen) => Some(seen),
            Outcome::Sent(_) => None,
        }
    }
}
