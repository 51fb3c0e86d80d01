//! Negotiation: SDP offers and answers (RFC 3264, RFC 8829, RFC 8866). Pure functions on text.
//!
//! Three exchanges: a publisher offers and [`answer_publisher`] selects the codecs; a WHEP player
//! offers and [`answer_subscriber`] uses its payload types; our own client receives
//! [`offer_subscriber`] and [`parse_answer`] reads its answer. Each exchange begins with [`parse`],
//! which bounds the input and never panics.
//!
//! **Not supported, on purpose**: more than one transport per peer (m-sections outside the first
//! BUNDLE group are rejected), RTCP on its own port, a DTLS role other than server, certificate
//! hashes other than SHA-256, data channels.

mod attributes;
mod codec;
mod codec_selection;
mod description;
mod error;
mod extension;
mod fragment;
mod media_section;
mod publisher;
mod subscriber;
mod types;
mod write;

pub use codec::{Codec, MediaKind};
pub use description::{Description, MAX_DESCRIPTION_BYTES, MAX_MLINES, parse};
pub use error::NegotiationError;
pub use extension::ExtensionIds;
pub use fragment::{FRAGMENT_TYPE, Fragment, MAX_FRAGMENT_BYTES, parse_fragment, write_fragment};
pub use publisher::answer_publisher;
pub use subscriber::{
    OFFERED_EXTENSIONS, answer_subscriber, offer_subscriber, parse_answer, payload_types,
};
pub use types::{
    AcceptedCodec, LocalParameters, OfferedSlot, OutgoingStream, PublishedMedia, SsrcPair,
    SubscribedMedia,
};

#[cfg(test)]
mod tests;
