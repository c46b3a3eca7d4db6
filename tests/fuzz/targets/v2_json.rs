//! The target `v2_json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wisp_fuzz::v2_json::run(input));
