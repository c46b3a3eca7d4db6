//! The target `release`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wisp_fuzz::release::run(input));
