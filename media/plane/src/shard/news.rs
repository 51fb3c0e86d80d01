//! What the server is to be told, and when it is woken for it.

use std::collections::VecDeque;

use crate::command::Event;
use crate::stats::Counters;

/// In ticks: how long what passes waits for others, so that they are told together; each waking of the server costs as much as twenty packets.
/// A page shows who speaks while they do, and how its line is once a second.
const LEVEL_WAITS: u64 = 5;
const LINK_WAITS: u64 = 50;

/// Passing events that may wait for the server; those about who is here are never dropped, and are bounded by who is here.
const MAX_EVENTS: usize = 4_096;

/// Events in their order.
#[derive(Default)]
pub(super) struct News {
    events: VecDeque<Event>,
    /// The tick in which the server is woken; none while there is nothing to tell.
    due: Option<u64>,
}

impl News {
    /// Queues an event in this tick. False when it was dropped: while the server does not take them, those that pass are, newer ones follow.
    pub fn tell(&mut self, tick: u64, event: Event, counters: &Counters) -> bool {
        let waits = match event {
            Event::AudioLevel { .. } | Event::SlotLayer { .. } => LEVEL_WAITS,
            Event::Link { .. } => LINK_WAITS,
            Event::PeerConnected { .. }
            | Event::PeerClosed { .. }
            | Event::TrackLive { .. }
            | Event::TrackSilent { .. } => 0,
        };
        if waits > 0 && self.events.len() >= MAX_EVENTS {
            Counters::add(&counters.events_lost, 1);
            return false;
        }
        self.events.push_back(event);
        // Many are told before they are too many.
        let due = if self.events.len() < MAX_EVENTS / 2 {
            tick + waits
        } else {
            tick
        };
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
        true
    }

    /// Whether the server should be woken.
    pub fn are_due(&self, tick: u64) -> bool {
        self.due.is_some_and(|due| due <= tick)
    }

    pub fn next(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if self.events.is_empty() {
            self.due = None;
        }
        event
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::units::Bitrate;
    use crate::{PeerId, TrackId};

    fn link() -> Event {
        Event::Link {
            peer: PeerId(1),
            estimate: Bitrate::ZERO,
            loss: 0.0,
            rtt: Duration::ZERO,
        }
    }

    fn due(news: &News) -> Option<u64> {
        (0..1_000).find(|tick| news.are_due(*tick))
    }

    #[test]
    fn events_wait_for_each_other_as_long_as_the_most_urgent_of_them_bears() {
        let (mut news, counters) = (News::default(), Counters::default());
        assert_eq!(due(&news), None);
        news.tell(100, link(), &counters);
        assert_eq!(due(&news), Some(150));
        news.tell(120, link(), &counters);
        assert_eq!(
            due(&news),
            Some(150),
            "the second does not put off the first"
        );
        news.tell(
            121,
            Event::AudioLevel {
                track: TrackId(1),
                level_dbov: -20,
            },
            &counters,
        );
        assert_eq!(due(&news), Some(126));
        news.tell(122, Event::TrackLive { track: TrackId(1) }, &counters);
        assert_eq!(due(&news), Some(122));
        assert_eq!(std::iter::from_fn(|| news.next()).count(), 4);
        assert_eq!(due(&news), None);
        news.tell(130, link(), &counters);
        assert_eq!(due(&news), Some(180));
    }

    #[test]
    fn a_server_that_takes_nothing_misses_what_passes_and_nothing_else() {
        let (mut news, counters) = (News::default(), Counters::default());
        for nth in 0..MAX_EVENTS {
            assert_eq!(news.are_due(0), nth >= MAX_EVENTS / 2, "{nth}");
            news.tell(0, link(), &counters);
        }
        assert!(!news.tell(0, link(), &counters));
        assert!(news.tell(0, Event::PeerConnected { peer: PeerId(2) }, &counters));
        assert_eq!(news.len(), MAX_EVENTS + 1);
        assert_eq!(
            counters
                .events_lost
                .load(std::sync::atomic::Ordering::Relaxed),
            1
        );
    }
}
