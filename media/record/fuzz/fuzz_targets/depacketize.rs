//! RTP payloads of all formats: no panic, no unbounded memory.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tongke_record::fuzzing::depacketize(data));
