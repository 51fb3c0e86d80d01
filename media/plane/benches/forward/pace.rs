//! Frame interval.

use std::time::{Duration, Instant};

/// Due time of the next frame.
pub(crate) struct Pace {
    interval: Option<Duration>,
    due: Instant,
}

impl Pace {
    /// Creates a pace; without an interval frames follow each other at once.
    pub(crate) fn new(interval: Option<Duration>) -> Pace {
        Pace {
            interval,
            due: Instant::now(),
        }
    }

    /// Sleeps until the next frame is due. After a late frame, later frames keep the interval.
    pub(crate) fn wait(&mut self) {
        let Some(interval) = self.interval else {
            return;
        };
        let now = Instant::now();
        std::thread::sleep(self.due.saturating_duration_since(now));
        self.due = self.due.max(now) + interval;
    }
}
