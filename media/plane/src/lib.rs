//! The media plane: RTP in, RTP out. It knows packets and time; it knows no HTTP, no users and no storage.

pub mod ids;
pub mod units;
