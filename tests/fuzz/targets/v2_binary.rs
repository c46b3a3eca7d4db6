//! The target `v2_binary`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wisp_fuzz::v2_binary::run(input));
