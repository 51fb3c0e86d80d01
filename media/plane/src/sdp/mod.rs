//! Offers and answers (RFC 3264, 8829, 8866) ↔ what a peer may send and receive. Pure functions on text.

mod codec;
mod error;

pub use codec::{Codec, MediaKind};
pub use error::NegotiationError;

use std::net::SocketAddr;

use crate::ids::Ssrc;
use crate::transport::{Fingerprint, IceCredentials, RemoteParameters};

/// Everything of ours that goes into a description.
#[derive(Clone, Debug)]
pub struct LocalParameters<'a> {
    /// Our ICE credentials for this peer.
    pub ice: &'a IceCredentials,
    /// The hash of our DTLS certificate.
    pub fingerprint: Fingerprint,
    /// The shard's addresses, as host candidates over UDP, best first.
    pub candidates: &'a [SocketAddr],
    /// Passive ICE-TCP candidates (RFC 6544), best first; empty where there are none.
    pub tcp_candidates: &'a [SocketAddr],
}

/// The one-byte ids (1–14) under which a peer sends or expects header extensions (RFC 8285). `None`: not negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtensionIds {
    /// Which m-line (RFC 8843 §15).
    pub mid: Option<u8>,
    /// Which simulcast layer (RFC 8852).
    pub rid: Option<u8>,
    /// Which layer an RTX packet repairs (RFC 8852).
    pub repaired_rid: Option<u8>,
    /// Transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01).
    pub transport_cc: Option<u8>,
    /// Audio level (RFC 6464).
    pub audio_level: Option<u8>,
    /// Absolute send time, the fallback where there is no transport-wide number.
    pub abs_send_time: Option<u8>,
    /// Absolute capture time.
    pub abs_capture_time: Option<u8>,
}

/// A source and its retransmission stream (RFC 4588, the FID group of RFC 5576).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcePair {
    /// The media's SSRC.
    pub primary: Ssrc,
    /// The SSRC of its retransmissions.
    pub rtx: Option<Ssrc>,
}

/// One audio or video m-line of a publisher that we accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedMedia {
    /// The media id that its packets carry in the MID extension.
    pub mid: String,
    /// Its place among the m-lines.
    pub mline: usize,
    /// Audio or video.
    pub kind: MediaKind,
    /// The one codec we chose; its payload types are the publisher's.
    pub codec: Codec,
    /// Payload type of the codec.
    pub pt: u8,
    /// Payload type of its retransmissions.
    pub rtx_pt: Option<u8>,
    /// Payload type of RED (RFC 2198) around Opus.
    pub red_pt: Option<u8>,
    /// Ticks of the RTP timestamp per second.
    pub clock_rate: u32,
    /// Its header extensions.
    pub extensions: ExtensionIds,
    /// Simulcast layers in the offered order; empty without simulcast.
    pub rids: Vec<String>,
    /// Announced sources (old encoders send neither MID nor RID); several without rids are layers of an old-style simulcast.
    pub sources: Vec<SourcePair>,
    /// MediaStream id of `a=msid`.
    pub stream: Option<String>,
    /// MediaStreamTrack id of `a=msid`.
    pub track: Option<String>,
}

/// What we send on one m-line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Media source.
    pub ssrc: Ssrc,
    /// Retransmission source; used for video only.
    pub rtx_ssrc: Ssrc,
    /// MediaStream id: m-lines of one stream are played in sync.
    pub stream: String,
    /// MediaStreamTrack id.
    pub track: String,
}

/// One m-line of an offer of ours; its mid is its index, in decimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedSlot {
    /// Audio or video.
    pub kind: MediaKind,
    /// What we send on it.
    pub outgoing: Outgoing,
}

/// A codec the subscriber takes, under its payload types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedCodec {
    /// The codec.
    pub codec: Codec,
    /// Payload type to send it with.
    pub pt: u8,
    /// Payload type of its retransmissions.
    pub rtx_pt: Option<u8>,
}

/// One m-line on which a subscriber receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribedMedia {
    /// Its media id.
    pub mid: String,
    /// Its place among the m-lines.
    pub mline: usize,
    /// Audio or video.
    pub kind: MediaKind,
    /// What it can decode, its preference first; empty when it refused the m-line.
    pub codecs: Vec<AcceptedCodec>,
    /// Payload type of RED around Opus.
    pub red_pt: Option<u8>,
    /// Header extensions it understands.
    pub extensions: ExtensionIds,
    /// What we send here.
    pub outgoing: Outgoing,
}

/// A parsed description of a peer, checked for what every WebRTC description must have.
#[derive(Clone, Debug)]
pub struct Description {
    _private: (),
}

impl Description {
    /// The peer's ICE credentials and DTLS fingerprint.
    pub fn remote(&self) -> &RemoteParameters {
        unimplemented!()
    }

    /// How many m-lines it has.
    pub fn mlines(&self) -> usize {
        unimplemented!()
    }
}

/// Parses a peer's offer or answer. At most 256 kB and 64 m-lines.
pub fn parse(_text: &str) -> Result<Description, NegotiationError> {
    unimplemented!()
}

/// Answers a publisher (WHIP, or our own page). `codecs` are the video codecs we take, best first.
///
/// Every m-line of the offer is answered in its order; those that we cannot use get port 0. Fails when none can be used.
pub fn answer_publisher(
    _offer: &Description,
    _local: &LocalParameters<'_>,
    _codecs: &[Codec],
) -> Result<(String, Vec<PublishedMedia>), NegotiationError> {
    unimplemented!()
}

/// Answers a player that offers to receive (WHEP), under its own payload types and extension ids.
///
/// `outgoing` has one entry per m-line of the offer; entries of refused m-lines stay unused.
pub fn answer_subscriber(
    _offer: &Description,
    _local: &LocalParameters<'_>,
    _outgoing: &[Outgoing],
) -> Result<(String, Vec<SubscribedMedia>), NegotiationError> {
    unimplemented!()
}

/// Offers `slots` to a subscriber. A later offer to the same subscriber repeats all earlier slots, appends new ones, and
/// has a greater `version`.
pub fn offer_subscriber(_local: &LocalParameters<'_>, _version: u64, _slots: &[OfferedSlot]) -> String {
    unimplemented!()
}

/// Reads the answer to [`offer_subscriber`] for the same slots: which it accepted, and who it is ([`Description::remote`]).
pub fn read_answer(_answer: &Description, _slots: &[OfferedSlot]) -> Result<Vec<SubscribedMedia>, NegotiationError> {
    unimplemented!()
}

/// An `application/trickle-ice-sdpfrag` body (RFC 8840 §9, as RFC 9725 §4.3 uses it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The sender's ICE credentials; new ones start an ICE restart.
    pub ice: IceCredentials,
    /// How many candidates it lists. We are lite and need none of them.
    pub candidates: usize,
}

/// Parses a fragment. At most 64 kB.
pub fn parse_fragment(_text: &str) -> Result<Fragment, NegotiationError> {
    unimplemented!()
}

/// Writes our fragment for the answer to an ICE restart; `mid` is the first m-line's.
pub fn write_fragment(_local: &LocalParameters<'_>, _mid: &str) -> String {
    unimplemented!()
}
