//! The target `content_coding`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wisp_fuzz::content_coding::run(input));
