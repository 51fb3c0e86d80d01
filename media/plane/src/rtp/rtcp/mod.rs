//! RTCP compound packets (RFC 3550 §6, RFC 4585, RFC 5104), parsed in place and written into the
//! caller's buffer.
//!
//! [`parse`] iterates over the packets of a datagram; [`Compound`] builds one.

mod feedback;
mod report;
mod transport_feedback;
mod write;

pub use feedback::{Fir, FirEntry, Nack, Remb};
pub use report::{Bye, ReceiverReport, ReportBlock, Sdes, SenderReport};
pub use transport_feedback::{PacketStatus, TICK, TransportFeedback};
pub(crate) use transport_feedback::{TICKS_PER_REFERENCE, status};
pub use write::{BufferFull, Compound};

use crate::ids::Ssrc;
use crate::rtp::packet::read_u32;
use thiserror::Error;

/// Packet types (RFC 3550 §12.1, RFC 4585 §6.1).
mod kind {
    pub(super) const SENDER_REPORT: u8 = 200;
    pub(super) const RECEIVER_REPORT: u8 = 201;
    pub(super) const SDES: u8 = 202;
    pub(super) const BYE: u8 = 203;
    pub(super) const TRANSPORT_FEEDBACK: u8 = 205;
    pub(super) const PAYLOAD_FEEDBACK: u8 = 206;
}

/// Feedback message types (RFC 4585 §6.2, §6.3; RFC 5104 §4.3;
/// draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
mod format {
    pub(super) const NACK: u8 = 1;
    pub(super) const TRANSPORT_WIDE: u8 = 15;
    pub(super) const PLI: u8 = 1;
    pub(super) const FIR: u8 = 4;
    pub(super) const APPLICATION: u8 = 15;
}

/// Error of an RTCP packet; the rest of its datagram is not parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RtcpError {
    /// The datagram ends before the packet's stated length.
    #[error("shorter than its length says")]
    TooShort,
    /// The version field is not 2.
    #[error("RTCP version is not 2")]
    Version,
    /// The padding count is zero or exceeds the packet.
    #[error("padding is malformed")]
    Padding,
    /// The body is too short or misaligned for its packet type.
    #[error("the body does not fit its type")]
    Body,
}

/// One packet of a compound packet.
#[derive(Clone, Copy, Debug)]
pub enum Rtcp<'a> {
    /// Sender report (RFC 3550 §6.4.1).
    SenderReport(SenderReport<'a>),
    /// Receiver report (RFC 3550 §6.4.2).
    ReceiverReport(ReceiverReport<'a>),
    /// Source description (RFC 3550 §6.5).
    Sdes(Sdes<'a>),
    /// End of streams (RFC 3550 §6.6).
    Bye(Bye<'a>),
    /// Generic NACK (RFC 4585 §6.2.1): request for retransmission.
    Nack(Nack<'a>),
    /// Picture Loss Indication (RFC 4585 §6.3.1): the receiver lost a picture of `media` and needs
    /// a keyframe.
    Pli {
        /// SSRC of the receiver.
        sender: Ssrc,
        /// SSRC of the stream.
        media: Ssrc,
    },
    /// Full Intra Request (RFC 5104 §4.3.1): request for a keyframe, independent of loss.
    Fir(Fir<'a>),
    /// Transport-wide congestion control feedback: arrival times of all packets of a transport.
    TransportFeedback(TransportFeedback<'a>),
    /// Receiver Estimated Maximum Bitrate (draft-alvestrand-rmcat-remb-03).
    Remb(Remb<'a>),
    /// Well-formed packet of a type that the plane does not read.
    Unknown {
        /// The PT field.
        packet_type: u8,
        /// The count or FMT field.
        format: u8,
    },
}

/// Iterates over the packets of a datagram. A malformed packet yields an error and ends the
/// iteration.
pub fn parse(datagram: &[u8]) -> Packets<'_> {
    Packets { rest: datagram }
}

/// Iterator returned by [`parse`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Rtcp<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let packet = split_packet(self.rest).and_then(|(header, body, rest)| {
            self.rest = rest;
            read(header, body)
        });
        if packet.is_err() {
            self.rest = &[];
        }
        Some(packet)
    }
}

/// Packet type and count of the common header.
#[derive(Clone, Copy)]
struct CommonHeader {
    /// Report count, source count or feedback message type (FMT): five bits.
    count: u8,
    packet_type: u8,
}

/// Splits off the first packet. Returns its header, its body without padding, and the remaining
/// bytes.
fn split_packet(bytes: &[u8]) -> Result<(CommonHeader, &[u8], &[u8]), RtcpError> {
    let [first, packet_type, high, low, ..] = *bytes else {
        return Err(RtcpError::TooShort);
    };
    if first >> 6 != 2 {
        return Err(RtcpError::Version);
    }
    // RFC 3550 §6.4.1: length in words minus one, the header included.
    let len = 4 * (usize::from(u16::from_be_bytes([high, low])) + 1);
    let (packet, rest) = bytes.split_at_checked(len).ok_or(RtcpError::TooShort)?;
    let body = if first & 0x20 != 0 {
        strip_padding(&packet[4..])?
    } else {
        &packet[4..]
    };
    Ok((
        CommonHeader {
            count: first & 0x1f,
            packet_type,
        },
        body,
        rest,
    ))
}

/// Strips padding (RFC 3550 §6.4.1): the last byte counts the padding, itself included.
///
/// The count should be a multiple of four. Chromium has sent feedback with an odd count
/// (libwebrtc's TransportFeedback pads without rounding), so any count is accepted.
fn strip_padding(body: &[u8]) -> Result<&[u8], RtcpError> {
    let count = usize::from(*body.last().ok_or(RtcpError::Padding)?);
    if count == 0 || count > body.len() {
        return Err(RtcpError::Padding);
    }
    Ok(&body[..body.len() - count])
}

fn read(header: CommonHeader, body: &[u8]) -> Result<Rtcp<'_>, RtcpError> {
    let packet = match (header.packet_type, header.count) {
        (kind::SENDER_REPORT, count) => SenderReport::read(count, body).map(Rtcp::SenderReport),
        (kind::RECEIVER_REPORT, count) => {
            ReceiverReport::read(count, body).map(Rtcp::ReceiverReport)
        }
        (kind::SDES, count) => Some(Rtcp::Sdes(Sdes::new(count, body))),
        (kind::BYE, count) => Bye::read(count, body).map(Rtcp::Bye),
        (kind::TRANSPORT_FEEDBACK, format::NACK) => Nack::read(body).map(Rtcp::Nack),
        (kind::TRANSPORT_FEEDBACK, format::TRANSPORT_WIDE) => {
            TransportFeedback::read(body).map(Rtcp::TransportFeedback)
        }
        (kind::PAYLOAD_FEEDBACK, format::PLI) => {
            addresses(body).map(|(sender, media)| Rtcp::Pli { sender, media })
        }
        (kind::PAYLOAD_FEEDBACK, format::FIR) => Fir::read(body).map(Rtcp::Fir),
        (kind::PAYLOAD_FEEDBACK, format::APPLICATION) if Remb::is_remb(body) => {
            Remb::read(body).map(Rtcp::Remb)
        }
        (packet_type, format) => Some(Rtcp::Unknown {
            packet_type,
            format,
        }),
    };
    packet.ok_or(RtcpError::Body)
}

/// RFC 4585 §6.1: every feedback message begins with the SSRCs of its sender and of the media.
fn addresses(body: &[u8]) -> Option<(Ssrc, Ssrc)> {
    (body.len() >= 8).then(|| (Ssrc(read_u32(body, 0)), Ssrc(read_u32(body, 4))))
}

#[cfg(test)]
mod tests;
