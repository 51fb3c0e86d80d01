//! Streams of the binary Office formats: an invalid offset or length ends parsing without a panic.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tongke_doc::fuzzing::records(data));
