//! A lesson while it is on.

pub mod lesson;
pub mod policy;
pub mod protocol;
