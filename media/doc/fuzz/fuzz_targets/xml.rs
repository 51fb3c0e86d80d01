//! Parts of office packages: no panic, no unbounded memory.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tongke_doc::fuzzing::xml(data));
