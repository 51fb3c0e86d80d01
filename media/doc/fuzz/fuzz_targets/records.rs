//! Streams of the older binary formats: offsets and lengths from outside end the reading, never the program.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tongke_doc::fuzzing::records(data));
