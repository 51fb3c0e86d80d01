//! The media plane: RTP in, RTP out. It knows packets and time; it knows no HTTP, no users and no storage.

pub mod drop_reason;
pub mod ids;
pub mod sdp;
pub mod transport;
pub mod units;
