//! Offers and answers (RFC 3264, 8829, 8866) ↔ what a peer may send and receive. Pure functions on text.
//!
//! Three conversations: a publisher offers and [`answer_publisher`] chooses; a player offers and [`answer_subscriber`] takes
//! its numbers; our own page gets [`offer_subscriber`] and [`read_answer`] reads what it took. All of them begin with [`parse`],
//! which is also what stands between hostile text and everything else: it is bounded, and it never panics.
//!
//! **Not supported, on purpose**: more than one transport per peer (m-lines outside the first BUNDLE are refused), RTCP on its
//! own port, DTLS roles other than server, certificates hashed by anything but SHA-256, data channels.

mod attributes;
mod choose;
mod codec;
mod description;
mod error;
mod extension;
mod fragment;
mod media;
mod publisher;
mod subscriber;
mod types;
mod write;

pub use codec::{Codec, MediaKind};
pub use description::{Description, MAX_DESCRIPTION, MAX_MLINES, parse};
pub use error::NegotiationError;
pub use extension::ExtensionIds;
pub use fragment::{FRAGMENT_TYPE, Fragment, MAX_FRAGMENT, parse_fragment, write_fragment};
pub use publisher::answer_publisher;
pub use subscriber::{
    OFFERED_EXTENSIONS, answer_subscriber, offer_subscriber, payload_types, read_answer,
};
pub use types::{
    AcceptedCodec, LocalParameters, OfferedSlot, Outgoing, PublishedMedia, SourcePair,
    SubscribedMedia,
};

#[cfg(test)]
mod tests;
