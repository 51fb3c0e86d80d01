//! The media plane: RTP in, RTP out. It knows packets and time; it knows no HTTP, no users and no storage.

pub mod drop_reason;
pub mod ids;
pub mod publish;
pub mod rtp;
pub mod sdp;
pub mod subscribe;
pub mod transport;
pub mod units;
#[cfg(test)]
mod virtual_time;
