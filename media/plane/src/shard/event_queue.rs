//! Queue of events for the server, which batches them: each wake-up of the server costs as much
//! CPU time as forwarding 20 packets.

use std::collections::VecDeque;

use crate::command::Event;
use crate::stats::Counters;

/// Batching delay of audio levels and layer changes, in ticks: 50 ms. Clients show a speaker while
/// the person speaks.
const LEVEL_DELAY: u64 = 5;
/// Batching delay of link statistics, in ticks: half a second. Clients show them once a second.
const LINK_DELAY: u64 = 50;

/// Queue bound of transient events, which later ones supersede. Events about peers and tracks are
/// never dropped; the number of peers bounds them.
const MAX_EVENTS: usize = 4_096;

/// A FIFO of events with a deadline.
#[derive(Default)]
pub(super) struct EventQueue {
    events: VecDeque<Event>,
    /// The tick at which the server is woken; none if the queue is empty.
    due: Option<u64>,
}

impl EventQueue {
    /// Queues an event. Returns false if it was dropped: a transient event while the queue is full.
    pub(super) fn push(&mut self, tick: u64, event: Event, counters: &Counters) -> bool {
        let delay = match event {
            Event::AudioLevel { .. } | Event::SlotLayer { .. } => LEVEL_DELAY,
            Event::Link { .. } => LINK_DELAY,
            Event::PeerConnected { .. }
            | Event::PeerClosed { .. }
            | Event::TrackLive { .. }
            | Event::TrackSilent { .. } => 0,
        };
        if delay > 0 && self.events.len() >= MAX_EVENTS {
            Counters::add(&counters.events_lost, 1);
            return false;
        }
        self.events.push_back(event);
        // Flush at half capacity.
        let due = if self.events.len() < MAX_EVENTS / 2 {
            tick + delay
        } else {
            tick
        };
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
        true
    }

    /// Returns true if the server should be woken.
    pub(super) fn is_due(&self, tick: u64) -> bool {
        self.due.is_some_and(|due| due <= tick)
    }

    /// Removes the oldest event.
    pub(super) fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if self.events.is_empty() {
            self.due = None;
        }
        event
    }

    pub(super) fn len(&self) -> usize {
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

    fn due(queue: &EventQueue) -> Option<u64> {
        (0..1_000).find(|tick| queue.is_due(*tick))
    }

    #[test]
    fn a_batch_is_due_when_its_most_urgent_event_is() {
        let (mut queue, counters) = (EventQueue::default(), Counters::default());
        assert_eq!(due(&queue), None);
        queue.push(100, link(), &counters);
        assert_eq!(due(&queue), Some(150));
        queue.push(120, link(), &counters);
        assert_eq!(
            due(&queue),
            Some(150),
            "the second does not delay the first"
        );
        queue.push(
            121,
            Event::AudioLevel {
                track: TrackId(1),
                level_dbov: -20,
            },
            &counters,
        );
        assert_eq!(due(&queue), Some(126));
        queue.push(122, Event::TrackLive { track: TrackId(1) }, &counters);
        assert_eq!(due(&queue), Some(122));
        assert_eq!(std::iter::from_fn(|| queue.pop()).count(), 4);
        assert_eq!(due(&queue), None);
        queue.push(130, link(), &counters);
        assert_eq!(due(&queue), Some(180));
    }

    #[test]
    fn a_server_that_reads_no_events_loses_only_transient_ones() {
        let (mut queue, counters) = (EventQueue::default(), Counters::default());
        for nth in 0..MAX_EVENTS {
            assert_eq!(queue.is_due(0), nth >= MAX_EVENTS / 2, "{nth}");
            queue.push(0, link(), &counters);
        }
        assert!(!queue.push(0, link(), &counters));
        assert!(queue.push(0, Event::PeerConnected { peer: PeerId(2) }, &counters));
        assert_eq!(queue.len(), MAX_EVENTS + 1);
        assert_eq!(
            counters
                .events_lost
                .load(std::sync::atomic::Ordering::Relaxed),
            1
        );
    }
}
