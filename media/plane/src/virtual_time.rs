//! Virtual time for tests: a moment to count from. Nothing waits; tests add durations to it.

use std::time::Instant;

/// The beginning of a test. `Instant` has no other constructor, so this is the one place that asks a clock.
#[allow(clippy::disallowed_methods)]
pub fn start() -> Instant {
    Instant::now()
}
