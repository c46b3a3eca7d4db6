//! The target `tfs_grpc`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wisp_fuzz::tfs_grpc::run(input));
