//! One RTP stream that a publisher sends.

use tongke_plane::ids::Ssrc;
use tongke_plane::transport::srtp::Outbound;
use tongke_plane::units::SeqNo;

use super::datagrams::Socket;
use super::picture::MAX_PAYLOAD;
use super::sdp::MID;

/// Header with all extensions, payload, RTX number and SRTP trailer.
const BUFFER: usize = 64 + MAX_PAYLOAD + 2 + 32;

/// RFC 3550 §5.1.
const FIXED_HEADER: usize = 12;

pub struct Stream {
    pub ssrc: Ssrc,
    pub seq: SeqNo,
    payload_type: u8,
    /// The header extension as it goes out (RFC 8285 §4.2), and where in it the transport-wide number stands.
    extension: Vec<u8>,
    transport_seq_at: Option<usize>,
}

/// Ids under which a server takes what a packet may say of itself.
#[derive(Clone, Copy, Default)]
pub struct Labels {
    pub transport_cc: Option<u8>,
    pub mid: Option<u8>,
    /// Id, and the layer's name.
    pub rid: Option<(u8, &'static str)>,
}

/// What differs from packet to packet.
pub struct Packet<'a> {
    pub marker: bool,
    pub rtp_time: u32,
    pub transport_seq: u16,
    /// RFC 4588 §4: of a retransmission, the original's number.
    pub original: Option<u16>,
    pub payload: &'a [u8],
}

impl Stream {
    pub fn new(ssrc: u32, payload_type: u8, labels: Labels) -> Stream {
        let (extension, transport_seq_at) = extension(labels);
        // RFC 3550 §5.1: a random start, in the lower half so that the rollover counter of the first packet is certain.
        let seq = SeqNo(u64::from(rand::random::<u16>() >> 1));
        Stream {
            ssrc: Ssrc(ssrc),
            seq,
            payload_type,
            extension,
            transport_seq_at,
        }
    }

    pub fn send(&mut self, socket: &Socket, seal: &mut Outbound, packet: &Packet<'_>) {
        let mut buffer = [0; BUFFER];
        let header_len = self.write_header(&mut buffer, packet);
        let mut len = header_len;
        for part in [
            packet
                .original
                .map(u16::to_be_bytes)
                .as_ref()
                .map_or(&[][..], |seq| &seq[..]),
            packet.payload,
        ] {
            buffer[len..len + part.len()].copy_from_slice(part);
            len += part.len();
        }
        let len = seal
            .rtp
            .protect(&mut buffer, header_len, len, self.seq.rollover());
        socket.send(&buffer[..len]);
        self.seq = self.seq.next();
    }

    fn write_header(&self, buffer: &mut [u8; BUFFER], packet: &Packet<'_>) -> usize {
        buffer[0] = 0x80 | u8::from(!self.extension.is_empty()) << 4;
        buffer[1] = u8::from(packet.marker) << 7 | self.payload_type;
        buffer[2..4].copy_from_slice(&self.seq.wire().to_be_bytes());
        buffer[4..8].copy_from_slice(&packet.rtp_time.to_be_bytes());
        buffer[8..12].copy_from_slice(&self.ssrc.0.to_be_bytes());
        let end = FIXED_HEADER + self.extension.len();
        buffer[FIXED_HEADER..end].copy_from_slice(&self.extension);
        if let Some(at) = self.transport_seq_at {
            buffer[FIXED_HEADER + at..][..2].copy_from_slice(&packet.transport_seq.to_be_bytes());
        }
        end
    }
}

/// The one-byte form (RFC 8285 §4.2): profile 0xBEDE and the length in words, then elements of id, length − 1 and value; empty without labels.
fn extension(labels: Labels) -> (Vec<u8>, Option<usize>) {
    let mut bytes = vec![0xbe, 0xde, 0, 0];
    let mut element = |id: u8, value: &[u8]| {
        bytes.push(id << 4 | (value.len() as u8 - 1));
        bytes.extend_from_slice(value);
        bytes.len() - value.len()
    };
    let transport_seq_at = labels.transport_cc.map(|id| element(id, &[0, 0]));
    if let Some(id) = labels.mid {
        element(id, MID.as_bytes());
    }
    if let Some((id, rid)) = labels.rid {
        element(id, rid.as_bytes());
    }
    if bytes.len() == 4 {
        return (Vec::new(), None);
    }
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes[3] = (bytes.len() / 4 - 1) as u8;
    (bytes, transport_seq_at)
}

#[cfg(test)]
mod tests {
    use tongke_plane::rtp::{Extensions, RtpPacket};
    use tongke_plane::sdp::ExtensionIds;

    use super::*;

    fn header(labels: Labels) -> Vec<u8> {
        let (stream, mut buffer) = (Stream::new(7, 96, labels), [0; BUFFER]);
        let packet = Packet {
            marker: true,
            rtp_time: 9,
            transport_seq: 0x1234,
            original: None,
            payload: &[],
        };
        let len = stream.write_header(&mut buffer, &packet);
        buffer[..len].to_vec()
    }

    #[test]
    fn a_packet_says_its_number_and_its_layer_where_the_server_takes_that() {
        let bytes = header(Labels {
            transport_cc: Some(3),
            mid: Some(4),
            rid: Some((10, "h")),
        });
        let packet = RtpPacket::parse(&bytes).expect("a header");
        let ids = ExtensionIds {
            transport_cc: Some(3),
            mid: Some(4),
            rid: Some(10),
            ..ExtensionIds::default()
        };
        let said = Extensions::read(packet.elements(), &ids);
        assert_eq!(
            (said.transport_cc, said.mid, said.rid),
            (Some(0x1234), Some("0"), Some("h"))
        );
        assert_eq!(
            (packet.ssrc(), packet.payload_type(), packet.marker()),
            (Ssrc(7), 96, true)
        );
        assert_eq!(
            header(Labels::default()).len(),
            FIXED_HEADER,
            "and no extension where it takes none"
        );
    }
}
