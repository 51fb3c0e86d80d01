//! How late frames came: to everybody, and to the first and the last subscriber of each.

use std::collections::HashMap;

use hdrhistogram::Histogram;

use super::percentiles::{Percentiles, latencies};
use super::picture::Stamp;

/// One thread's subscribers and the frames they saw; the threads' are added up in the end.
pub struct Sightings {
    latencies: Histogram<u64>,
    /// Those that are not among [`Sightings::latencies`] yet.
    recent: Histogram<u64>,
    /// By publisher and moment of sending.
    frames: HashMap<(u16, u64), Span>,
}

/// Nanoseconds from sending, to the first and to the last of so many subscribers.
#[derive(Clone, Copy)]
struct Span {
    first_ns: u64,
    last_ns: u64,
    subscribers: usize,
}

/// See [`Sightings::spread`].
pub struct Spread {
    pub first: Option<Percentiles>,
    pub last: Option<Percentiles>,
    pub skew: Option<Percentiles>,
}

impl Default for Sightings {
    fn default() -> Self {
        Sightings {
            latencies: latencies(),
            recent: latencies(),
            frames: HashMap::new(),
        }
    }
}

impl Sightings {
    /// One subscriber got the first packet of a frame so long after it was sent.
    pub fn saw(&mut self, stamp: Stamp, late_ns: u64) {
        self.recent.saturating_record(late_ns);
        self.span(
            stamp.publisher,
            stamp.sent_ns,
            Span {
                first_ns: late_ns,
                last_ns: late_ns,
                subscribers: 1,
            },
        );
    }

    /// What was seen since this was last asked for; the caller empties it.
    pub fn take_recent(&mut self) -> &mut Histogram<u64> {
        self.latencies
            .add(&self.recent)
            .expect("both have the same bounds");
        &mut self.recent
    }

    /// What another thread's subscribers saw, of which nothing is recent.
    pub fn add(&mut self, other: &Sightings) {
        self.latencies
            .add(&other.latencies)
            .expect("all have the same bounds");
        for ((publisher, sent_ns), span) in &other.frames {
            self.span(*publisher, *sent_ns, *span);
        }
    }

    fn span(&mut self, publisher: u16, sent_ns: u64, span: Span) {
        let held = self.frames.entry((publisher, sent_ns)).or_insert(Span {
            first_ns: u64::MAX,
            last_ns: 0,
            subscribers: 0,
        });
        held.first_ns = held.first_ns.min(span.first_ns);
        held.last_ns = held.last_ns.max(span.last_ns);
        held.subscribers += span.subscribers;
    }

    /// Latencies of every frame to every subscriber.
    pub fn latencies(&self) -> &Histogram<u64> {
        &self.latencies
    }

    /// How late a frame came to the first and to the last subscriber, and the time between. Only of frames that all who watch their
    /// publisher saw: one that came to a few says nothing about the spread.
    pub fn spread(&self) -> Spread {
        let mut watchers: HashMap<u16, usize> = HashMap::new();
        for ((publisher, _), span) in &self.frames {
            let most = watchers.entry(*publisher).or_default();
            *most = (*most).max(span.subscribers);
        }
        let whole = self
            .frames
            .iter()
            .filter(|((publisher, _), span)| span.subscribers == watchers[publisher]);
        let spans: Vec<Span> = whole.map(|(_, span)| *span).collect();
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
    fn first_last_and_skew_are_of_frames_that_everybody_saw_across_threads() {
        let (mut one, mut other) = (Sightings::default(), Sightings::default());
        one.saw(stamp(0, 100), 1_000_000);
        other.saw(stamp(0, 100), 5_000_000);
        other.saw(stamp(0, 200), 9_000_000);
        other.saw(stamp(1, 100), 2_000_000);
        for sightings in [&mut one, &mut other] {
            sightings.take_recent().reset();
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
        assert_eq!(one.latencies().len(), 4);
    }
}
