//! The target `predict_json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wisp_fuzz::predict_json::run(input));
