//! Virtual time of tests: an origin, to which tests add durations.

use std::time::Instant;

/// Returns the start of a test. `Instant` has no other constructor, so this is the only test code
/// that reads a clock.
#[allow(clippy::disallowed_methods)]
pub(crate) fn start() -> Instant {
    Instant::now()
}
