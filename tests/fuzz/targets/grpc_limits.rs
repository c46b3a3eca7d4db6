//! The target `grpc_limits`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wisp_fuzz::grpc_limits::run(input));
