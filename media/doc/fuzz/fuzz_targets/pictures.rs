//! Pictures without their EXIF: no panic, and never longer than they were.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tongke_doc::fuzzing::pictures(data));
