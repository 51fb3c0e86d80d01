//! Stats statistics of a run.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use super::percentiles::latency_histogram;

/// Counters written by the media threads, read by the run and by the progress display.
pub(crate) struct Stats {
    /// Publishers and subscribers with a completed handshake.
    pub publishing: AtomicUsize,
    pub connected: AtomicUsize,
    /// Subscribers that received a complete keyframe.
    pub showing: AtomicUsize,
    /// Media packets sent by publishers.
    pub sent: AtomicU64,
    /// RTP packets and bytes received by subscribers.
    pub packets: AtomicU64,
    pub bytes: AtomicU64,
    pub nacked: AtomicU64,
    /// True while the clients leave: closed connections are expected then.
    pub leaving: AtomicBool,
    /// Latencies since the last [`Stats::take_latencies`], in nanoseconds.
    latencies: Mutex<Histogram<u64>>,
    /// Messages for the user.
    notes: Mutex<Vec<String>>,
    phase: Mutex<String>,
}

impl Default for Stats {
    fn default() -> Self {
        Stats {
            publishing: AtomicUsize::default(),
            connected: AtomicUsize::default(),
            showing: AtomicUsize::default(),
            sent: AtomicU64::default(),
            packets: AtomicU64::default(),
            bytes: AtomicU64::default(),
            nacked: AtomicU64::default(),
            leaving: AtomicBool::default(),
            latencies: Mutex::new(latency_histogram()),
            notes: Mutex::default(),
            phase: Mutex::default(),
        }
    }
}

impl Stats {
    /// Sets the current phase.
    pub(crate) fn set_phase(&self, doing: impl Into<String>) {
        *self.phase.lock() = doing.into();
    }

    pub(crate) fn phase(&self) -> String {
        self.phase.lock().clone()
    }

    /// Adds a message for the user.
    pub(crate) fn note(&self, note: impl Into<String>) {
        self.notes.lock().push(note.into());
    }

    pub(crate) fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock())
    }

    /// Moves the latencies of a thread into the common histogram.
    pub(crate) fn add_latencies(&self, measured: &mut Histogram<u64>) {
        self.latencies
            .lock()
            .add(&*measured)
            .expect("all have the same bounds");
        measured.reset();
    }

    pub(crate) fn take_latencies(&self) -> Histogram<u64> {
        std::mem::replace(&mut *self.latencies.lock(), latency_histogram())
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Relaxed)
    }
}
