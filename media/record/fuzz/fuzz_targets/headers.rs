//! Parameter sets, sequence headers and truncated segment files: must not panic.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tongke_record::fuzzing::headers(data));
