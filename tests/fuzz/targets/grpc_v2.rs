//! The target `grpc_v2`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wisp_fuzz::grpc_v2::run(input));
