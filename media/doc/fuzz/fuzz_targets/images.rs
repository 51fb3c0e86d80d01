//! Metadata stripping of images: must not panic or grow the file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tongke_doc::fuzzing::images(data));
