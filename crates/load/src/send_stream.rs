//! An RTP stream of a publisher.

use tongke_plane::ids::Ssrc;
use tongke_plane::transport::srtp::Outbound;
use tongke_plane::units::SeqNo;

use super::h264::MAX_PAYLOAD;
use super::sdp::MID;
use super::socket::Socket;

/// Maximum packet size: header with extensions, payload, RTX sequence number and SRTP trailer.
const BUFFER: usize = 64 + MAX_PAYLOAD + 2 + 32;

/// Fixed RTP header (RFC 3550 §5.1).
const FIXED_HEADER: usize = 12;

pub(crate) struct SendStream {
    pub ssrc: Ssrc,
    pub seq: SeqNo,
    payload_type: u8,
    /// Encoded header extension (RFC 8285 §4.2), and the offset of the transport-wide sequence
    /// number in it.
    extension: Vec<u8>,
    transport_seq_at: Option<usize>,
}

/// Ids of the accepted header extensions.
#[derive(Clone, Copy, Default)]
pub(crate) struct SendExtensions {
    pub transport_cc: Option<u8>,
    pub mid: Option<u8>,
    /// Id and RID of the layer.
    pub rid: Option<(u8, &'static str)>,
}

/// Packet fields that vary.
pub(crate) struct Packet<'a> {
    pub marker: bool,
    pub rtp_time: u32,
    pub transport_seq: u16,
    /// Sequence number of the original, for a retransmission (RFC 4588 §4).
    pub original: Option<u16>,
    pub payload: &'a [u8],
}

impl SendStream {
    pub(crate) fn new(ssrc: u32, payload_type: u8, ids: SendExtensions) -> SendStream {
        let (extension, transport_seq_at) = extension(ids);
        // RFC 3550 §5.1: a random start, in the lower half so that the rollover counter of the
        // first packet is certain.
        let seq = SeqNo(u64::from(rand::random::<u16>() >> 1));
        SendStream {
            ssrc: Ssrc(ssrc),
            seq,
            payload_type,
            extension,
            transport_seq_at,
        }
    }

    pub(crate) fn send(&mut self, socket: &Socket, outbound: &mut Outbound, packet: &Packet<'_>) {
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
        let len = outbound
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

/// One-byte header extension (RFC 8285 §4.2): profile 0xBEDE and the length in words, then elements
/// of id, length − 1 and value; empty without ids.
fn extension(ids: SendExtensions) -> (Vec<u8>, Option<usize>) {
    let mut bytes = vec![0xbe, 0xde, 0, 0];
    let mut element = |id: u8, value: &[u8]| {
        bytes.push(id << 4 | (value.len() as u8 - 1));
        bytes.extend_from_slice(value);
        bytes.len() - value.len()
    };
    let transport_seq_at = ids.transport_cc.map(|id| element(id, &[0, 0]));
    if let Some(id) = ids.mid {
        element(id, MID.as_bytes());
    }
    if let Some((id, rid)) = ids.rid {
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

    fn header(ids: SendExtensions) -> Vec<u8> {
        let (stream, mut buffer) = (SendStream::new(7, 96, ids), [0; BUFFER]);
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
    fn accepted_header_extensions_carry_sequence_number_and_layer() {
        let bytes = header(SendExtensions {
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
        let extensions = Extensions::read(packet.elements(), &ids);
        assert_eq!(
            (extensions.transport_cc, extensions.mid, extensions.rid),
            (Some(0x1234), Some("0"), Some("h"))
        );
        assert_eq!(
            (packet.ssrc(), packet.payload_type(), packet.marker()),
            (Ssrc(7), 96, true)
        );
        assert_eq!(
            header(SendExtensions::default()).len(),
            FIXED_HEADER,
            "and no extension where it takes none"
        );
    }
}
