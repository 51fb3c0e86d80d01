//! RTP and RTCP wire formats: zero-copy parsers for received bytes and writers for sent bytes.
//!
//! Nothing here allocates, keeps state between packets or panics on received data. Parsers return
//! views that borrow the datagram; writers fill the caller's buffer.
//!
//! - [`packet`]: header and payload of one RTP packet; RTP/RTCP demultiplexing
//! - [`extension`]: header extensions by meaning (MID, RID, transport-wide sequence number, audio
//!   level)
//! - [`payload`]: payload headers of the codecs, as far as forwarding needs them
//! - [`rtcp`]: compound packets
//! - [`ntp`]: wall-clock time of sender reports

pub mod extension;
pub mod ntp;
pub mod packet;
pub mod payload;
pub mod rtcp;

pub use extension::{AudioLevel, Extensions};
pub use ntp::{NtpTime, WallClock};
pub use packet::{RtpError, RtpPacket, is_rtcp};
