//! RTP and RTCP header fields that SRTP reads. Their lengths are checked here once; other code
//! indexes without checks.

use crate::drop_reason::DropReason;

/// Returns the length of an RTP header with CSRCs and extension (RFC 3550 §5.1), in bytes. None
/// unless `packet` is RTP version 2 and contains the whole header.
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

/// RTP header fields that SRTP uses.
#[derive(Clone, Copy)]
pub(super) struct RtpFields {
    pub(super) header_len: usize,
    pub(super) seq: u16,
    pub(super) ssrc: u32,
}

impl RtpFields {
    /// Reads the header of a packet that must have `trailer` bytes after it.
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

/// Length of the unencrypted start of an RTCP packet: first header word and sender SSRC (RFC 3711
/// §3.4).
pub(super) const RTCP_HEADER_LEN: usize = 8;

/// Length of the E flag and the 31-bit SRTCP index (RFC 3711 §3.4).
pub(super) const RTCP_INDEX_LEN: usize = 4;

/// E flag: set if the packet is encrypted, clear if it is only authenticated.
pub(super) const RTCP_ENCRYPTED: u32 = 1 << 31;

/// Returns the sender SSRC of an RTCP packet of at least [`RTCP_HEADER_LEN`] bytes.
pub(super) fn rtcp_ssrc(packet: &[u8]) -> [u8; 4] {
    [packet[4], packet[5], packet[6], packet[7]]
}
