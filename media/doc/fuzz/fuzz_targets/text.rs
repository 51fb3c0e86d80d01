//! Text files in any encoding, Markdown, CSV and HTML: must not panic or loop forever.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tongke_doc::fuzzing::text(data));
