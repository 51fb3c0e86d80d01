//! What goes out: how much a subscriber's line carries, and what to send of it.

pub mod allocator;
pub mod estimator;
