//! What goes out: how much a subscriber's line carries, what to send of it, and how.

pub mod allocator;
pub mod arena;
pub mod budget;
pub mod copies;
pub mod estimator;
pub mod forward;
pub mod pace;
