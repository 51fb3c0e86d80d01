//! Inputs and results of the negotiation.

use std::net::SocketAddr;

use super::{Codec, ExtensionIds, MediaKind};
use crate::ids::Ssrc;
use crate::transport::{Fingerprint, IceCredentials};

/// Local parameters of a description.
#[derive(Clone, Debug)]
pub struct LocalParameters<'a> {
    /// Local ICE credentials for this peer.
    pub ice: &'a IceCredentials,
    /// Hash of the local DTLS certificate.
    pub fingerprint: Fingerprint,
    /// UDP host candidates of the shard, best first.
    pub candidates: &'a [SocketAddr],
    /// Passive ICE-TCP candidates (RFC 6544), best first; can be empty.
    pub tcp_candidates: &'a [SocketAddr],
}

/// SSRC of a stream and of its retransmissions (RFC 4588; FID group of RFC 5576).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SsrcPair {
    /// SSRC of the media.
    pub primary: Ssrc,
    /// SSRC of its retransmissions.
    pub rtx: Option<Ssrc>,
}

/// One accepted audio or video m-section of a publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedMedia {
    /// Media ID (`a=mid`), which the packets carry in the MID extension.
    pub mid: String,
    /// Index of the m-section.
    pub mline: usize,
    /// Audio or video.
    pub kind: MediaKind,
    /// The selected codec; the payload types are the publisher's.
    pub codec: Codec,
    /// Payload type of the codec.
    pub pt: u8,
    /// Payload type of its retransmissions (RFC 4588).
    pub rtx_pt: Option<u8>,
    /// Payload type of RED (RFC 2198) around Opus.
    pub red_pt: Option<u8>,
    /// RTP clock rate in Hz.
    pub clock_rate: u32,
    /// Negotiated header extensions.
    pub extensions: ExtensionIds,
    /// RIDs of the simulcast layers in the offered order, at most
    /// [`MAX_LAYERS`](crate::index::MAX_LAYERS); empty without simulcast.
    pub rids: Vec<String>,
    /// Announced SSRCs, for encoders that send neither MID nor RID: one stream, or the layers of a
    /// SIM group in its order.
    pub sources: Vec<SsrcPair>,
    /// MediaStream ID of `a=msid`.
    pub stream: Option<String>,
    /// MediaStreamTrack ID of `a=msid`.
    pub track: Option<String>,
}

/// Stream that the server sends on one m-section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingStream {
    /// SSRC of the media.
    pub ssrc: Ssrc,
    /// SSRC of the retransmissions; used for video only.
    pub rtx_ssrc: Ssrc,
    /// MediaStream ID; the client plays the m-sections of one stream in sync. A token: letters,
    /// digits, `-`, `_`.
    pub stream: String,
    /// MediaStreamTrack ID; a token as well.
    pub track: String,
}

/// One m-section of a server offer; its MID is its index in decimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedSlot {
    /// Audio or video.
    pub kind: MediaKind,
    /// Stream that the server sends on it.
    pub outgoing: OutgoingStream,
}

/// Codec that a subscriber accepts, with its payload types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedCodec {
    /// The codec.
    pub codec: Codec,
    /// Payload type of the codec.
    pub pt: u8,
    /// Payload type of its retransmissions (RFC 4588).
    pub rtx_pt: Option<u8>,
}

/// One m-section on which a subscriber receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribedMedia {
    /// Media ID (`a=mid`).
    pub mid: String,
    /// Index of the m-section.
    pub mline: usize,
    /// Audio or video.
    pub kind: MediaKind,
    /// Codecs that the subscriber decodes, in its order of preference; empty if it rejected the
    /// m-section.
    pub codecs: Vec<AcceptedCodec>,
    /// Payload type of RED (RFC 2198) around Opus.
    pub red_pt: Option<u8>,
    /// Header extensions that the subscriber accepts.
    pub extensions: ExtensionIds,
    /// Stream that the server sends here.
    pub outgoing: OutgoingStream,
}
