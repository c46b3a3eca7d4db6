//! The target `predict_grpc`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wisp_fuzz::predict_grpc::run(input));
