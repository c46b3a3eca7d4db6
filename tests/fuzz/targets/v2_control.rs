//! The target `v2_control`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wisp_fuzz::v2_control::run(input));
