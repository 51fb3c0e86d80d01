//! What the threads tell while they run.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use super::percentiles::latencies;

/// Written by the media threads, read by whoever waits and by the progress view.
pub struct Live {
    /// Publishers whose keys are there, and subscribers.
    pub publishing: AtomicUsize,
    pub connected: AtomicUsize,
    /// Subscribers that have had a whole keyframe.
    pub showing: AtomicUsize,
    /// Media packets that publishers sent.
    pub sent: AtomicU64,
    /// RTP packets that subscribers got, and their bytes.
    pub packets: AtomicU64,
    pub bytes: AtomicU64,
    pub asked_again: AtomicU64,
    /// The run is over: that the server closes connections is what was asked of it.
    pub leaving: AtomicBool,
    /// Latencies since they were last taken, in nanoseconds.
    latencies: Mutex<Histogram<u64>>,
    /// What people should know.
    notes: Mutex<Vec<String>>,
    doing: Mutex<String>,
}

impl Default for Live {
    fn default() -> Self {
        Live {
            publishing: AtomicUsize::default(),
            connected: AtomicUsize::default(),
            showing: AtomicUsize::default(),
            sent: AtomicU64::default(),
            packets: AtomicU64::default(),
            bytes: AtomicU64::default(),
            asked_again: AtomicU64::default(),
            leaving: AtomicBool::default(),
            latencies: Mutex::new(latencies()),
            notes: Mutex::default(),
            doing: Mutex::default(),
        }
    }
}

impl Live {
    /// Says what is going on now.
    pub fn set_doing(&self, doing: impl Into<String>) {
        *self.doing.lock() = doing.into();
    }

    pub fn doing(&self) -> String {
        self.doing.lock().clone()
    }

    /// Notes something for people to read.
    pub fn note(&self, note: impl Into<String>) {
        self.notes.lock().push(note.into());
    }

    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock())
    }

    /// Moves what a thread measured into the common histogram.
    pub fn add_latencies(&self, measured: &mut Histogram<u64>) {
        self.latencies
            .lock()
            .add(&*measured)
            .expect("all have the same bounds");
        measured.reset();
    }

    pub fn take_latencies(&self) -> Histogram<u64> {
        std::mem::replace(&mut *self.latencies.lock(), latencies())
    }

    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Relaxed)
    }
}
