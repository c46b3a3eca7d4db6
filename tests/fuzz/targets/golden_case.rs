//! The target `golden_case`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wisp_fuzz::golden_case::run(input));
