//! Parameter sets, sequence headers and cut segment files.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tongke_record::fuzzing::headers(data));
