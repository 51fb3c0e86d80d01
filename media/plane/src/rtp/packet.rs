//! RTP packet, parsed in place (RFC 3550 §5.1).

use crate::ids::Ssrc;
use crate::rtp::extension::Elements;
use thiserror::Error;

/// Size in bytes of an RTP header without CSRCs and extension.
pub const FIXED_HEADER_LEN: usize = 12;

/// Parse error of an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RtpError {
    /// The datagram is shorter than its header, CSRC list or extension.
    #[error("shorter than its header says")]
    TooShort,
    /// The version field is not 2.
    #[error("RTP version is not 2")]
    Version,
    /// The padding count is zero or exceeds the payload.
    #[error("padding longer than the payload")]
    Padding,
}

/// View of one complete, decrypted RTP packet.
#[derive(Clone, Copy, Debug)]
pub struct RtpPacket<'a> {
    /// The complete packet; at least `header_len + payload` long.
    bytes: &'a [u8],
    /// Offset of the payload, behind CSRCs and extension.
    header_len: usize,
    /// End of the payload, before the padding.
    payload_end: usize,
}

impl<'a> RtpPacket<'a> {
    /// Parses a decrypted packet. Its last byte is the padding count if the P bit is set (RFC 3550
    /// §5.1).
    pub fn parse(bytes: &'a [u8]) -> Result<RtpPacket<'a>, RtpError> {
        let header_len = header_len(bytes)?;
        let padding_len = if bytes[0] & 0x20 != 0 {
            padding_len(&bytes[header_len..])?
        } else {
            0
        };
        Ok(RtpPacket {
            bytes,
            header_len,
            payload_end: bytes.len() - padding_len,
        })
    }

    /// Marker bit: set on the last packet of a video frame and on the first packet of a talkspurt.
    pub fn marker(&self) -> bool {
        self.bytes[1] & 0x80 != 0
    }

    /// Payload type, mapped to a codec by SDP.
    pub fn payload_type(&self) -> u8 {
        self.bytes[1] & 0x7f
    }

    /// 16-bit sequence number; [`crate::units::SeqNo::nearest`] extends it.
    pub fn seq(&self) -> u16 {
        u16::from_be_bytes([self.bytes[2], self.bytes[3]])
    }

    /// RTP timestamp in ticks of the codec's clock.
    pub fn timestamp(&self) -> u32 {
        read_u32(self.bytes, 4)
    }

    /// SSRC of the stream.
    pub fn ssrc(&self) -> Ssrc {
        Ssrc(read_u32(self.bytes, 8))
    }

    /// Iterates over the contributing sources, at most 15.
    pub fn csrcs(&self) -> impl ExactSizeIterator<Item = Ssrc> + 'a {
        let count = usize::from(self.bytes[0] & 0x0f);
        let list = &self.bytes[FIXED_HEADER_LEN..FIXED_HEADER_LEN + 4 * count];
        list.chunks_exact(4).map(|csrc| Ssrc(read_u32(csrc, 0)))
    }

    /// Iterates over the header extension elements in wire order; empty without an extension.
    pub fn elements(&self) -> Elements<'a> {
        let start = FIXED_HEADER_LEN + 4 * usize::from(self.bytes[0] & 0x0f);
        if self.bytes[0] & 0x10 == 0 {
            return Elements::empty();
        }
        let profile = u16::from_be_bytes([self.bytes[start], self.bytes[start + 1]]);
        Elements::new(profile, &self.bytes[start + 4..self.header_len])
    }

    /// Length of the fixed header, the CSRCs and the extension.
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// Payload without padding; empty for a padding-only packet.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.header_len..self.payload_end]
    }

    /// Length of the padding, the count byte included.
    pub fn padding_len(&self) -> usize {
        self.bytes.len() - self.payload_end
    }

    /// The complete packet, padding included.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// Returns the offset of the payload. The header is not encrypted by SRTP, so this also works on a
/// protected packet.
pub fn header_len(bytes: &[u8]) -> Result<usize, RtpError> {
    if bytes.len() < FIXED_HEADER_LEN {
        return Err(RtpError::TooShort);
    }
    if bytes[0] >> 6 != 2 {
        return Err(RtpError::Version);
    }
    let mut len = FIXED_HEADER_LEN + 4 * usize::from(bytes[0] & 0x0f);
    if bytes[0] & 0x10 != 0 {
        let words = bytes.get(len + 2..len + 4).ok_or(RtpError::TooShort)?;
        len += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
    }
    if bytes.len() < len {
        return Err(RtpError::TooShort);
    }
    Ok(len)
}

/// RFC 3550 §5.1: the last byte counts the padding, itself included, so it is never zero.
fn padding_len(after_header: &[u8]) -> Result<usize, RtpError> {
    match after_header.last() {
        Some(&count) if count != 0 && usize::from(count) <= after_header.len() => {
            Ok(usize::from(count))
        }
        _ => Err(RtpError::Padding),
    }
}

/// Distinguishes RTCP from RTP on one port by the second byte (RFC 5761 §4: packet types 192–223).
///
/// Valid only for datagrams with a first byte of 128–191 (RFC 7983 §7).
pub fn is_rtcp(bytes: &[u8]) -> bool {
    matches!(bytes, [first, second, ..] if first >> 6 == 2 && (192..=223).contains(second))
}

pub(crate) fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sequence number 0x1234, timestamp 0x01020304, SSRC 0xAABBCCDD, payload type 111, marker set.
    const PLAIN: [u8; 15] = [
        0x80, 0xef, 0x12, 0x34, 1, 2, 3, 4, 0xaa, 0xbb, 0xcc, 0xdd, 9, 8, 7,
    ];

    #[test]
    fn a_teachers_audio_packet_is_parsed_field_by_field() {
        let packet = RtpPacket::parse(&PLAIN).unwrap();
        assert!(packet.marker());
        assert_eq!(packet.payload_type(), 111);
        assert_eq!(packet.seq(), 0x1234);
        assert_eq!(packet.timestamp(), 0x0102_0304);
        assert_eq!(packet.ssrc(), Ssrc(0xaabb_ccdd));
        assert_eq!(packet.payload(), [9, 8, 7]);
        assert_eq!(packet.elements().count(), 0);
    }

    #[test]
    fn contributing_sources_and_extension_are_skipped_to_reach_the_payload() {
        let mut bytes = PLAIN.to_vec();
        bytes[0] = 0x92; // extension, two CSRCs
        bytes.splice(
            12..12,
            [0, 0, 0, 1, 0, 0, 0, 2, 0xbe, 0xde, 0, 1, 0x50, 0x42, 0, 0],
        );
        let packet = RtpPacket::parse(&bytes).unwrap();
        assert_eq!(packet.csrcs().collect::<Vec<_>>(), [Ssrc(1), Ssrc(2)]);
        assert_eq!(packet.elements().collect::<Vec<_>>(), [(5, &[0x42][..])]);
        assert_eq!(packet.payload(), [9, 8, 7]);
        assert_eq!(packet.header_len(), 28);
    }

    #[test]
    fn padding_is_stripped_and_a_probe_of_padding_alone_has_no_payload() {
        let mut bytes = PLAIN.to_vec();
        bytes[0] |= 0x20;
        bytes[14] = 2;
        assert_eq!(RtpPacket::parse(&bytes).unwrap().payload(), [9]);
        bytes[14] = 3;
        let probe = RtpPacket::parse(&bytes).unwrap();
        assert_eq!((probe.payload().len(), probe.padding_len()), (0, 3));
    }

    #[test]
    fn wrong_lengths_are_rejected() {
        let mut padded = PLAIN;
        padded[0] |= 0x20;
        for count in [0, 4, 255] {
            padded[14] = count;
            assert_eq!(RtpPacket::parse(&padded).unwrap_err(), RtpError::Padding);
        }
        let mut extended = PLAIN;
        extended[0] |= 0x10;
        assert_eq!(RtpPacket::parse(&extended).unwrap_err(), RtpError::TooShort);
        assert_eq!(
            RtpPacket::parse(&PLAIN[..11]).unwrap_err(),
            RtpError::TooShort
        );
        assert_eq!(
            RtpPacket::parse(&[0x40; 12]).unwrap_err(),
            RtpError::Version
        );
    }

    #[test]
    fn rtcp_and_rtp_are_told_apart_on_one_port() {
        assert!(is_rtcp(&[0x81, 200, 0, 6]));
        assert!(is_rtcp(&[0x8f, 205, 0, 6]));
        assert!(!is_rtcp(&PLAIN));
        assert!(!is_rtcp(&[0x80, 0x80 | 96]));
        assert!(!is_rtcp(&[0x80]));
    }
}
