//! SRTP and SRTCP (RFC 3711, RFC 7714): in place, without allocation for AES-GCM.

use crate::drop_reason::DropReason;
use crate::units::SeqNo;

/// Bytes that a caller keeps free behind a packet: the longest trailer that protecting adds (SRTCP under GCM: tag 16, index 4).
pub const MAX_TRAILER: usize = 20;

/// The keys of one connected peer, both directions.
pub struct SrtpSession {
    /// Opens what the peer sends.
    pub inbound: Inbound,
    /// Seals what we send.
    pub outbound: Outbound,
}

/// Opens packets of one peer; keeps rollover and replay state per source.
pub struct Inbound {
    _private: (),
}

/// Seals packets for one peer. The hot path reads [`Outbound::rtp`] and nothing else.
pub struct Outbound {
    /// RTP: its key and salt.
    pub rtp: RtpSealer,
    /// RTCP: its own key, salt and index.
    pub rtcp: RtcpSealer,
}

/// Seals RTP packets: key and salt, no state.
pub struct RtpSealer {
    _private: (),
}

/// Seals RTCP packets and counts them.
pub struct RtcpSealer {
    _private: (),
}

/// An RTP packet that was opened in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unprotected {
    /// Length of header and plain payload; the tag behind it is waste.
    pub len: usize,
    /// Length of the RTP header with CSRCs and extension.
    pub header_len: usize,
    /// Its sequence number, rollovers counted.
    pub seq: SeqNo,
}

impl Inbound {
    /// Opens an RTP packet in place. On an error the packet's bytes are worthless.
    pub fn unprotect_rtp(&mut self, _packet: &mut [u8]) -> Result<Unprotected, DropReason> {
        unimplemented!()
    }

    /// Opens an RTCP packet in place; returns the length of the plain compound packet.
    pub fn unprotect_rtcp(&mut self, _packet: &mut [u8]) -> Result<usize, DropReason> {
        unimplemented!()
    }

    /// Forgets a source that said BYE or was taken down, so that its place may be used again.
    pub fn forget(&mut self, _ssrc: crate::ids::Ssrc) {
        unimplemented!()
    }
}

impl RtpSealer {
    /// Seals the packet in `buffer[..len]` in place and returns its new length; `header_len` bytes stay readable.
    ///
    /// The sequence number and SSRC are read from the header, `rollover` is the caller's. The caller never seals two packets
    /// with the same SSRC, sequence number and rollover: that would break AES-GCM. Needs [`MAX_TRAILER`] spare bytes.
    pub fn protect(&self, _buffer: &mut [u8], _header_len: usize, _len: usize, _rollover: u32) -> usize {
        unimplemented!()
    }
}

impl RtcpSealer {
    /// Seals the compound packet in `buffer[..len]` in place and returns its new length. Needs [`MAX_TRAILER`] spare bytes.
    pub fn protect(&mut self, _buffer: &mut [u8], _len: usize) -> usize {
        unimplemented!()
    }
}
