//! Any text as a page's message: it is read or refused, and what was read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;

// The server is a program, not a library; its protocol stands on serde alone and is taken in as it is.
#[path = "../../src/live/protocol.rs"]
pub mod protocol;

use protocol::{Envelope, FromPage};

fuzz_target!(|text: &str| {
    let Ok(read) = serde_json::from_str::<Envelope>(text) else { return };
    let written = serde_json::to_string(&read).expect("what was read from JSON can be JSON again");
    let again: Envelope = serde_json::from_str(&written).expect("what we write we can read");
    // A time of day in a ping may lose its last bit on the way.
    assert!(read == again || matches!(read.message, FromPage::Ping { .. }), "{read:?} became {again:?}");
});
