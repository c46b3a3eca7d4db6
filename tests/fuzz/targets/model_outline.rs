//! The target `model_outline`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wisp_fuzz::model_outline::run(input));
