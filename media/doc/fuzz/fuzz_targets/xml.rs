//! XML parts of office packages: must not panic or use unbounded memory.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tongke_doc::fuzzing::xml(data));
