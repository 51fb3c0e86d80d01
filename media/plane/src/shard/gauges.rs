//! How full the queues are and how much memory the rings take, for whoever watches the shard.

use super::Shard;
use crate::stats::Counters;

/// In ticks: the deepest that a queue was in a second is told, not where it happens to stand.
const TELL_PERIOD: u64 = 100;

/// The deepest that each queue was since this was last told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Depths {
    /// Noted where these two grow: they are empty again within a batch.
    pub control: usize,
    pub owed: usize,
    /// Looked at with every tick: events wait for several.
    events: usize,
}

impl Shard {
    /// Tells how deep the queues were, once a second; called with every tick.
    pub(super) fn gauge_queues(&mut self) {
        self.depths.events = self.depths.events.max(self.news.len());
        // The last peer has left: no tick follows that could tell.
        if self.ticks.is_multiple_of(TELL_PERIOD) || self.peers.is_empty() {
            let Depths {
                control,
                owed,
                events,
            } = std::mem::take(&mut self.depths);
            Counters::set(&self.counters.control_queued, control as u64);
            Counters::set(&self.counters.resends_queued, owed as u64);
            Counters::set(&self.counters.events_queued, events as u64);
        }
    }

    /// Adds up what the rings of all tracks take, those of other shards' tracks included.
    pub(super) fn gauge_rings(&self) {
        let layers = self.tracks.values().flat_map(|hosted| &hosted.track.layers);
        let bytes: usize = layers.map(|layer| layer.ring.size_bytes()).sum();
        Counters::set(&self.counters.ring_bytes, bytes as u64);
    }
}
