//! The time between frames.

use std::time::{Duration, Instant};

/// When the next frame is due.
pub struct Pace {
    interval: Option<Duration>,
    due: Instant,
}

impl Pace {
    /// Without an interval frames follow each other at once.
    pub fn new(interval: Option<Duration>) -> Pace {
        Pace {
            interval,
            due: Instant::now(),
        }
    }

    /// Sleeps until the next frame is due; one that is late does not hurry those after it.
    pub fn wait(&mut self) {
        let Some(interval) = self.interval else {
            return;
        };
        let now = Instant::now();
        std::thread::sleep(self.due.saturating_duration_since(now));
        self.due = self.due.max(now) + interval;
    }
}
