//! The target `route`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wisp_fuzz::route::run(input));
