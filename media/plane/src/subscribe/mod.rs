//! Sending side of the plane: bandwidth estimation, layer allocation, pacing and packet rewriting
//! for subscribers.

pub mod allocator;
pub mod arena;
pub mod estimator;
pub mod forwarder;
pub mod pacer;
pub mod redundancy;
pub mod resend_budget;
