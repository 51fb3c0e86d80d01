//! Gauges of a shard: queue depths and ring memory.

use super::Shard;
use crate::stats::Counters;

/// Ticks between two reports of the queue depths: one second. A report is the high-water mark of
/// that second, not the current depth.
const REPORT_PERIOD: u64 = 100;

/// High-water marks of the queues since the last report.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct QueueDepths {
    /// Updated on every push, because these two queues drain within a batch.
    pub(super) control: usize,
    pub(super) resends: usize,
    /// Sampled once per tick, because events stay queued for several ticks.
    events: usize,
}

impl Shard {
    /// Reports the queue depths once a second. Called on every tick.
    pub(super) fn report_queue_depths(&mut self) {
        self.depths.events = self.depths.events.max(self.events.len());
        // No tick follows once the last peer has left.
        if self.ticks.is_multiple_of(REPORT_PERIOD) || self.peers.is_empty() {
            let QueueDepths {
                control,
                resends,
                events,
            } = std::mem::take(&mut self.depths);
            Counters::set(&self.counters.control_queued, control as u64);
            Counters::set(&self.counters.resends_queued, resends as u64);
            Counters::set(&self.counters.events_queued, events as u64);
        }
    }

    /// Reports the memory of the rings of all tracks, imported tracks included.
    pub(super) fn report_ring_memory(&self) {
        let layers = self
            .tracks
            .values()
            .flat_map(|shard_track| &shard_track.media.layers);
        let bytes: usize = layers.map(|layer| layer.ring.size_bytes()).sum();
        Counters::set(&self.counters.ring_bytes, bytes as u64);
    }
}
