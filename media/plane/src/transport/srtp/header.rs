//! The few header fields that SRTP itself needs. Checked once, so that the rest indexes without doubt.

use crate::drop_reason::DropReason;

/// Length of a plain RTP header with its CSRCs and extension (RFC 3550 §5.1), if `packet` is RTP version 2 and holds all of it.
pub fn rtp_header_len(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    if first >> 6 != 2 {
        return None;
    }
    let mut len = 12 + 4 * usize::from(first & 0x0f);
    if first & 0x10 != 0 {
        let words = packet.get(len + 2..len + 4)?;
        len += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
    }
    (packet.len() >= len).then_some(len)
}

/// What SRTP reads of an RTP header.
#[derive(Clone, Copy)]
pub(super) struct RtpFields {
    pub(super) header_len: usize,
    pub(super) seq: u16,
    pub(super) ssrc: u32,
}

impl RtpFields {
    /// Reads a packet that must still have `trailer` bytes behind its header.
    pub(super) fn read(packet: &[u8], trailer: usize) -> Result<RtpFields, DropReason> {
        let header_len = rtp_header_len(packet).ok_or(DropReason::SrtpTooShort)?;
        if packet.len() < header_len + trailer {
            return Err(DropReason::SrtpTooShort);
        }
        Ok(RtpFields {
            header_len,
            seq: u16::from_be_bytes([packet[2], packet[3]]),
            ssrc: u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]),
        })
    }
}

/// The unencrypted start of every RTCP packet: first header word and sender's SSRC (RFC 3711 §3.4).
pub(super) const RTCP_HEADER_LEN: usize = 8;

/// The E flag with the 31-bit SRTCP index (RFC 3711 §3.4).
pub(super) const RTCP_INDEX_LEN: usize = 4;

/// Set when the packet is encrypted, clear when it is only authenticated.
pub(super) const RTCP_ENCRYPTED: u32 = 1 << 31;

/// The sender's SSRC of an RTCP packet of at least [`RTCP_HEADER_LEN`] bytes.
pub(super) fn rtcp_ssrc(packet: &[u8]) -> [u8; 4] {
    [packet[4], packet[5], packet[6], packet[7]]
}
