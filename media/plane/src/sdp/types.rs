//! What negotiation is given and what it results in.

use std::net::SocketAddr;

use super::{Codec, ExtensionIds, MediaKind};
use crate::ids::Ssrc;
use crate::transport::{Fingerprint, IceCredentials};

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
    /// Simulcast layers in the offered order, at most [`MAX_LAYERS`](crate::index::MAX_LAYERS); empty without simulcast.
    pub rids: Vec<String>,
    /// Announced sources, for encoders that send neither MID nor RID: one, or the layers of a SIM group in its order.
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
    /// MediaStream id: the m-lines of one stream are played in sync. A token: letters, digits, `-`, `_`.
    pub stream: String,
    /// MediaStreamTrack id, a token too.
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

/// A codec that a subscriber takes, under its payload types.
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
