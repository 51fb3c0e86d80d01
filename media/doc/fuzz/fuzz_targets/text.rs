//! Text files in any encoding, Markdown and HTML: no panic, no endless loop.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tongke_doc::fuzzing::text(data));
