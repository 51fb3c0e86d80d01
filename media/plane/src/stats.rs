//! Counters of one shard: written by its thread alone, read by whoever exports them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::drop_reason::DropReason;

/// Live counters. One writer; a reader may see one counter newer than another.
#[derive(Default)]
pub struct Counters {
    pub datagrams_received: AtomicU64,
    pub bytes_received: AtomicU64,
    pub datagrams_sent: AtomicU64,
    pub bytes_sent: AtomicU64,
    /// RTP packets written for subscribers, retransmissions not counted.
    pub packets_forwarded: AtomicU64,
    pub packets_resent: AtomicU64,
    /// Datagrams the kernel did not take at once, and that were dropped.
    pub send_failures: AtomicU64,
    pub keyframes_requested: AtomicU64,
    /// Packets that a recorder's or another shard's queue had no room for.
    pub relay_overruns: AtomicU64,
    pub events_lost: AtomicU64,
    pub publishers: AtomicU64,
    pub subscribers: AtomicU64,
    pub tracks: AtomicU64,
    drops: [AtomicU64; DropReason::ALL.len()],
}

impl Counters {
    /// Adds to a counter that only this thread writes.
    pub fn add(counter: &AtomicU64, n: u64) {
        counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Sets a gauge.
    pub fn set(gauge: &AtomicU64, n: u64) {
        gauge.store(n, Relaxed);
    }

    /// Counts a datagram or packet that went nowhere.
    pub fn dropped(&self, reason: DropReason) {
        Counters::add(&self.drops[reason as usize], 1);
    }

    pub fn snapshot(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        Stats {
            datagrams_received: read(&self.datagrams_received),
            bytes_received: read(&self.bytes_received),
            datagrams_sent: read(&self.datagrams_sent),
            bytes_sent: read(&self.bytes_sent),
            packets_forwarded: read(&self.packets_forwarded),
            packets_resent: read(&self.packets_resent),
            send_failures: read(&self.send_failures),
            keyframes_requested: read(&self.keyframes_requested),
            relay_overruns: read(&self.relay_overruns),
            events_lost: read(&self.events_lost),
            publishers: read(&self.publishers),
            subscribers: read(&self.subscribers),
            tracks: read(&self.tracks),
            dropped: DropReason::ALL.iter().map(|reason| (*reason, read(&self.drops[*reason as usize]))).collect(),
        }
    }
}

/// The counters of one shard at one moment; all count from its start, except the last three gauges before `dropped`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub datagrams_received: u64,
    pub bytes_received: u64,
    pub datagrams_sent: u64,
    pub bytes_sent: u64,
    pub packets_forwarded: u64,
    pub packets_resent: u64,
    pub send_failures: u64,
    pub keyframes_requested: u64,
    pub relay_overruns: u64,
    pub events_lost: u64,
    /// Peers that send, now.
    pub publishers: u64,
    /// Peers that receive, now.
    pub subscribers: u64,
    /// Tracks held, imported ones included, now.
    pub tracks: u64,
    /// How often each reason dropped something.
    pub dropped: Vec<(DropReason, u64)>,
}
