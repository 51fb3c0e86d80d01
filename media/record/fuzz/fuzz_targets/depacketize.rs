//! RTP payloads of all formats: must not panic or use unbounded memory.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tongke_record::fuzzing::depacketize(data));
