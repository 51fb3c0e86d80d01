//! Parses any text as a client's message: it is rejected, or it survives a round trip unchanged.
#![no_main]

use libfuzzer_sys::fuzz_target;

// The server is a binary without a library; its protocol needs serde and utoipa alone and is compiled from source.
#[path = "../../src/lesson_types.rs"]
pub mod lesson_types;
#[path = "../../src/live/protocol.rs"]
pub mod protocol;

/// The server's `string_enum!` without its database traits.
macro_rules! string_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$member_doc:meta])* $member:ident = $value:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
        pub enum $name {
            $($(#[$member_doc])* #[serde(rename = $value)] $member),+
        }
    };
}
pub(crate) use string_enum;

use protocol::{ClientMessage, Envelope};

fuzz_target!(|text: &str| {
    let Ok(parsed) = serde_json::from_str::<Envelope>(text) else {
        return;
    };
    let written = serde_json::to_string(&parsed).expect("a parsed message can be serialized");
    let again: Envelope = serde_json::from_str(&written).expect("a serialized message can be parsed");
    // A ping's timestamp is a float that may lose its last bit in the round trip.
    assert!(
        parsed == again || matches!(parsed.message, ClientMessage::Ping { .. }),
        "{parsed:?} became {again:?}"
    );
});
