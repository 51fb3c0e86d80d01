//! The header of a packet on its way to a subscriber.
//!
//! Every packet of one slot begins alike: the same SSRC, the same extensions at the same offsets. So the header is laid out once,
//! as a [`HeaderTemplate`], and each packet is one short copy and five stores:
//!
//! ```text
//!  0: V=2 X | M PT | seq            4: timestamp            8: ssrc
//! 12: 0xBEDE | words                16: id,len | twcc (2)   19: id,len | mid … | zero bytes up to a word
//! ```

use crate::ids::Ssrc;
use crate::rtp::extension::ONE_BYTE;
use crate::rtp::packet::FIXED_HEADER_LEN;

/// Room for the fixed header, the transport-wide number and a mid of 16 bytes, the longest a one-byte element can carry.
pub const MAX_TEMPLATE_LEN: usize = 40;

/// Where the transport-wide number stands when the template has one.
const TWCC_AT: usize = 17;

/// What all packets of one slot have in common.
#[derive(Clone, Copy, Debug)]
pub struct HeaderTemplate {
    bytes: [u8; MAX_TEMPLATE_LEN],
    len: u8,
    has_twcc: bool,
}

impl HeaderTemplate {
    /// Lays out a header. `twcc` is the negotiated id (1–14) of the transport-wide number; `mid` the id and name, at most 16 bytes.
    ///
    /// Ids and names come from our own SDP; one that a one-byte element cannot carry is left out.
    pub fn new(payload_type: u8, ssrc: Ssrc, twcc: Option<u8>, mid: Option<(u8, &str)>) -> HeaderTemplate {
        let twcc = twcc.filter(|id| is_one_byte(*id, &[0, 0]));
        let mid = mid.filter(|(id, name)| is_one_byte(*id, name.as_bytes()));
        let mut elements: [(u8, &[u8]); 2] = [(0, &[]); 2];
        let listed = twcc.map(|id| (id, &[0u8, 0][..])).into_iter().chain(mid.map(|(id, name)| (id, name.as_bytes())));
        let count = elements.iter_mut().zip(listed).map(|(slot, element)| *slot = element).count();
        let mut bytes = [0; MAX_TEMPLATE_LEN];
        let len = write_header(&mut bytes, false, payload_type, 0, 0, ssrc, &elements[..count])
            .expect("12 + 4 + 3 + 17 bytes, rounded up to words, are the template's size");
        HeaderTemplate { bytes, len: len as u8, has_twcc: twcc.is_some() }
    }

    /// Bytes that [`HeaderTemplate::write`] fills.
    pub fn header_len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether packets carry a transport-wide number, so that one has to be drawn.
    pub fn has_twcc(&self) -> bool {
        self.has_twcc
    }

    /// Writes one packet's header to the front of `dst` and returns its length.
    ///
    /// `twcc` is ignored when the peer did not negotiate it. `dst` has at least [`MAX_TEMPLATE_LEN`] bytes: a slot of the send arena.
    pub fn write(&self, dst: &mut [u8], marker: bool, seq: u16, timestamp: u32, twcc: u16) -> usize {
        let head: &mut [u8; MAX_TEMPLATE_LEN] =
            dst.first_chunk_mut().expect("a slot of the send arena holds any template");
        *head = self.bytes;
        head[1] |= u8::from(marker) << 7;
        head[2..4].copy_from_slice(&seq.to_be_bytes());
        head[4..8].copy_from_slice(&timestamp.to_be_bytes());
        if self.has_twcc {
            head[TWCC_AT..TWCC_AT + 2].copy_from_slice(&twcc.to_be_bytes());
        }
        self.header_len()
    }
}

/// Writes any header: fixed part and one-byte elements, zero-filled to a word. `None` when `dst` is too short.
///
/// Elements have ids 1–14 and 1–16 bytes (RFC 8285 §4.2); others are left out.
pub fn write_header(
    dst: &mut [u8],
    marker: bool,
    payload_type: u8,
    seq: u16,
    timestamp: u32,
    ssrc: Ssrc,
    elements: &[(u8, &[u8])],
) -> Option<usize> {
    let body_len: usize =
        elements.iter().filter(|(id, data)| is_one_byte(*id, data)).map(|(_, data)| 1 + data.len()).sum();
    let words = body_len.div_ceil(4);
    let len = FIXED_HEADER_LEN + if words > 0 { 4 + 4 * words } else { 0 };
    let head = dst.get_mut(..len)?;
    head[0] = 0x80 | u8::from(words > 0) << 4;
    head[1] = u8::from(marker) << 7 | payload_type & 0x7f;
    head[2..4].copy_from_slice(&seq.to_be_bytes());
    head[4..8].copy_from_slice(&timestamp.to_be_bytes());
    head[8..12].copy_from_slice(&ssrc.0.to_be_bytes());
    if words > 0 {
        head[12..14].copy_from_slice(&ONE_BYTE.to_be_bytes());
        head[14..16].copy_from_slice(&(words as u16).to_be_bytes());
        write_elements(&mut head[16..], elements);
    }
    Some(len)
}

fn write_elements(mut body: &mut [u8], elements: &[(u8, &[u8])]) {
    for (id, data) in elements.iter().filter(|(id, data)| is_one_byte(*id, data)) {
        let (element, rest) = body.split_at_mut(1 + data.len());
        element[0] = id << 4 | (data.len() - 1) as u8;
        element[1..].copy_from_slice(data);
        body = rest;
    }
    body.fill(0);
}

/// RFC 8285 §4.2: four bits of id, of which 0 and 15 are taken, and four bits of length less one.
fn is_one_byte(id: u8, data: &[u8]) -> bool {
    (1..=14).contains(&id) && (1..=16).contains(&data.len())
}

/// Appends padding (RFC 3550 §5.1) to the packet of `len` bytes at the front of `dst` and returns its new length.
///
/// Used for probes, and to make the packets of a frame equally long for GSO. `padding` is 1–255; `None` when it does not fit.
pub fn pad(dst: &mut [u8], len: usize, padding: u8) -> Option<usize> {
    let end = len + usize::from(padding);
    let tail = dst.get_mut(len..end)?;
    let (last, zeros) = tail.split_last_mut()?;
    zeros.fill(0);
    *last = padding;
    dst[0] |= 0x20;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::extension::Extensions;
    use crate::rtp::packet::RtpPacket;
    use crate::sdp::ExtensionIds;

    const IDS: ExtensionIds = ExtensionIds {
        mid: Some(4),
        rid: None,
        repaired_rid: None,
        transport_cc: Some(3),
        audio_level: None,
        abs_send_time: None,
        abs_capture_time: None,
    };

    #[test]
    fn a_template_gives_each_packet_its_own_numbers() {
        let template = HeaderTemplate::new(102, Ssrc(77), Some(3), Some((4, "12")));
        let mut slot = [0xff; 60];
        for (seq, marker) in [(65_535, false), (0, true)] {
            let len = template.write(&mut slot, marker, seq, 90_000, seq ^ 0x5555);
            let packet = RtpPacket::parse(&slot[..len]).unwrap();
            let found = Extensions::read(packet.elements(), &IDS);
            assert_eq!((packet.seq(), packet.marker(), packet.payload_type()), (seq, marker, 102));
            assert_eq!((packet.timestamp(), packet.ssrc()), (90_000, Ssrc(77)));
            assert_eq!((found.transport_cc, found.mid), (Some(seq ^ 0x5555), Some("12")));
            assert!(packet.payload().is_empty());
        }
    }

    #[test]
    fn without_a_negotiated_extension_the_header_is_the_plain_twelve_bytes() {
        let template = HeaderTemplate::new(111, Ssrc(1), None, None);
        let mut slot = [0xff; 60];
        assert_eq!(template.write(&mut slot, false, 9, 9, 9), FIXED_HEADER_LEN);
        assert_eq!(RtpPacket::parse(&slot[..12]).unwrap().seq(), 9);
    }

    #[test]
    fn only_the_transport_number_costs_eight_bytes() {
        assert_eq!(HeaderTemplate::new(111, Ssrc(1), Some(3), None).header_len(), 20);
    }

    #[test]
    fn the_longest_mid_fits_and_a_longer_one_is_left_out() {
        let sixteen = "abcdefghijklmnop";
        assert_eq!(HeaderTemplate::new(111, Ssrc(1), Some(3), Some((4, sixteen))).header_len(), 36);
        assert_eq!(HeaderTemplate::new(111, Ssrc(1), Some(3), Some((4, "abcdefghijklmnopq"))).header_len(), 20);
    }

    #[test]
    fn a_probe_is_a_header_and_padding() {
        let mut slot = [0xff; 300];
        let len = HeaderTemplate::new(97, Ssrc(1), Some(3), None).write(&mut slot, false, 1, 2, 3);
        let end = pad(&mut slot, len, 255).unwrap();
        let packet = RtpPacket::parse(&slot[..end]).unwrap();
        assert_eq!((packet.payload().len(), packet.padding_len()), (0, 255));
        assert_eq!(pad(&mut slot, 100, 255), None);
        assert_eq!(pad(&mut slot, 100, 0), None);
    }
}
