//! RTP and RTCP on the wire: views over bytes that came in, writers for bytes that go out.
//!
//! Nothing here allocates, keeps state between packets or panics on what a peer sent. Parsers return views that borrow the
//! datagram; writers fill a buffer of the caller's.
//!
//! - [`packet`]: the header and payload of one RTP packet, and telling RTP from RTCP
//! - [`extension`]: header extensions by meaning (mid, rid, transport-wide number, audio level)
//! - [`payload`]: as much of each codec's payload header as forwarding needs
//! - [`rtcp`]: compound packets, in and out
//! - [`ntp`]: wall-clock time of sender reports

pub mod extension;
pub mod ntp;
pub mod packet;
pub mod payload;
pub mod rtcp;

pub use extension::{AudioLevel, Extensions};
pub use ntp::{NtpTime, WallClock};
pub use packet::{RtpError, RtpPacket, is_rtcp};
