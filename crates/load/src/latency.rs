//! Latencies of frames: to each subscriber, and to the first and the last one of each frame.

use std::collections::HashMap;

use hdrhistogram::Histogram;

use super::h264::Stamp;
use super::percentiles::{Percentiles, latency_histogram};

/// Latencies of one thread's subscribers; those of all threads are combined at the end.
pub(crate) struct Latencies {
    latencies: Histogram<u64>,
    /// Latencies not yet in [`Latencies::all`].
    recent: Histogram<u64>,
    /// Frames by publisher and send time.
    frames: HashMap<(u16, u64), Span>,
}

/// First and last latency of a frame in nanoseconds, and the number of subscribers that received
/// it.
#[derive(Clone, Copy)]
struct Span {
    first_ns: u64,
    last_ns: u64,
    subscribers: usize,
}

/// Percentiles over frames, see [`Latencies::spread`].
pub(crate) struct Spread {
    pub first: Option<Percentiles>,
    pub last: Option<Percentiles>,
    pub skew: Option<Percentiles>,
}

impl Default for Latencies {
    fn default() -> Self {
        Latencies {
            latencies: latency_histogram(),
            recent: latency_histogram(),
            frames: HashMap::new(),
        }
    }
}

impl Latencies {
    /// Records the latency of a frame's first packet at one subscriber.
    pub(crate) fn record(&mut self, stamp: Stamp, late_ns: u64) {
        self.recent.saturating_record(late_ns);
        self.add_span(
            stamp.publisher,
            stamp.sent_ns,
            Span {
                first_ns: late_ns,
                last_ns: late_ns,
                subscribers: 1,
            },
        );
    }

    /// Latencies since the last call; the caller resets them.
    pub(crate) fn take_recent(&mut self) -> &mut Histogram<u64> {
        self.latencies
            .add(&self.recent)
            .expect("both have the same bounds");
        &mut self.recent
    }

    /// Adds the latencies of another thread, which has no recent ones.
    pub(crate) fn add(&mut self, other: &Latencies) {
        self.latencies
            .add(&other.latencies)
            .expect("all have the same bounds");
        for ((publisher, sent_ns), span) in &other.frames {
            self.add_span(*publisher, *sent_ns, *span);
        }
    }

    fn add_span(&mut self, publisher: u16, sent_ns: u64, span: Span) {
        let held = self.frames.entry((publisher, sent_ns)).or_insert(Span {
            first_ns: u64::MAX,
            last_ns: 0,
            subscribers: 0,
        });
        held.first_ns = held.first_ns.min(span.first_ns);
        held.last_ns = held.last_ns.max(span.last_ns);
        held.subscribers += span.subscribers;
    }

    /// Latencies of all frames to all subscribers.
    pub(crate) fn all(&self) -> &Histogram<u64> {
        &self.latencies
    }

    /// Latencies of the first and the last subscriber, and their difference. Only frames received
    /// by all subscribers of a publisher count, as a partially received frame says nothing about
    /// the spread.
    pub(crate) fn spread(&self) -> Spread {
        let mut watchers: HashMap<u16, usize> = HashMap::new();
        for ((publisher, _), span) in &self.frames {
            let max = watchers.entry(*publisher).or_default();
            *max = (*max).max(span.subscribers);
        }
        let complete = self
            .frames
            .iter()
            .filter(|((publisher, _), span)| span.subscribers == watchers[publisher]);
        let spans: Vec<Span> = complete.map(|(_, span)| *span).collect();
        let of = |ns: fn(&Span) -> u64| {
            Percentiles::of(spans.iter().map(|span| ns(span) as f64 / 1e6).collect())
        };
        Spread {
            first: of(|span| span.first_ns),
            last: of(|span| span.last_ns),
            skew: of(|span| span.last_ns - span.first_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(publisher: u16, sent_ns: u64) -> Stamp {
        Stamp {
            publisher,
            sent_ns,
            layer: 0,
        }
    }

    #[test]
    fn first_last_and_skew_are_of_frames_received_by_all_subscribers() {
        let (mut one, mut other) = (Latencies::default(), Latencies::default());
        one.record(stamp(0, 100), 1_000_000);
        other.record(stamp(0, 100), 5_000_000);
        other.record(stamp(0, 200), 9_000_000);
        other.record(stamp(1, 100), 2_000_000);
        for latencies in [&mut one, &mut other] {
            latencies.take_recent().reset();
        }
        one.add(&other);
        let spread = one.spread();
        let halves = |p: Option<Percentiles>| p.map(|p| (p.p50, p.p999));
        assert_eq!(halves(spread.first), Some((1.0, 2.0)));
        assert_eq!(
            halves(spread.last),
            Some((2.0, 5.0)),
            "the frame that one subscriber missed does not count"
        );
        assert_eq!(
            halves(spread.skew),
            Some((0.0, 4.0)),
            "the second publisher has one subscriber"
        );
        assert_eq!(one.all().len(), 4);
    }
}
