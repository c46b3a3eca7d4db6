//! The target `tfs_json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wisp_fuzz::tfs_json::run(input));
