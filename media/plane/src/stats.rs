//! Counters of one shard: written by its thread, read by whoever exports them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::drop_reason::DropReason;

/// Live counters. One writer, but for `commands_queued`; a reader may see one counter newer than another.
#[derive(Default)]
pub struct Counters {
    pub datagrams_received: AtomicU64,
    pub bytes_received: AtomicU64,
    /// Times that the thread took in datagrams, as many as waited.
    pub batches_received: AtomicU64,
    pub datagrams_sent: AtomicU64,
    pub bytes_sent: AtomicU64,
    /// Messages to the kernel; with GSO each holds several datagrams.
    pub messages_sent: AtomicU64,
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
    pub ring_bytes: AtomicU64,
    /// Commands that wait for the thread: others add, the thread takes away.
    pub commands_queued: AtomicU64,
    /// The deepest that its own queues were in the last second.
    pub control_queued: AtomicU64,
    pub resends_queued: AtomicU64,
    pub events_queued: AtomicU64,
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
            batches_received: read(&self.batches_received),
            datagrams_sent: read(&self.datagrams_sent),
            bytes_sent: read(&self.bytes_sent),
            messages_sent: read(&self.messages_sent),
            packets_forwarded: read(&self.packets_forwarded),
            packets_resent: read(&self.packets_resent),
            send_failures: read(&self.send_failures),
            keyframes_requested: read(&self.keyframes_requested),
            relay_overruns: read(&self.relay_overruns),
            events_lost: read(&self.events_lost),
            publishers: read(&self.publishers),
            subscribers: read(&self.subscribers),
            tracks: read(&self.tracks),
            ring_bytes: read(&self.ring_bytes),
            commands_queued: read(&self.commands_queued),
            control_queued: read(&self.control_queued),
            resends_queued: read(&self.resends_queued),
            events_queued: read(&self.events_queued),
            cpu: Duration::ZERO,
            dropped: DropReason::ALL
                .iter()
                .map(|reason| (*reason, read(&self.drops[*reason as usize])))
                .collect(),
        }
    }
}

/// The counters of one shard at one moment; all count from its start, except those that say "now".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub datagrams_received: u64,
    pub bytes_received: u64,
    /// Times that the thread took in datagrams, as many as waited.
    pub batches_received: u64,
    pub datagrams_sent: u64,
    pub bytes_sent: u64,
    /// Messages to the kernel; with GSO each holds several datagrams.
    pub messages_sent: u64,
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
    /// Memory of the packet rings, now.
    pub ring_bytes: u64,
    /// Commands that wait for the thread, now.
    pub commands_queued: u64,
    /// The deepest that these queues were in the last second: STUN, DTLS and RTCP on their way out; retransmissions and padding; events
    /// for the server.
    pub control_queued: u64,
    pub resends_queued: u64,
    pub events_queued: u64,
    /// CPU time of the thread; zero of a shard that has none (a simulated one).
    pub cpu: Duration,
    /// How often each reason dropped something.
    pub dropped: Vec<(DropReason, u64)>,
}
