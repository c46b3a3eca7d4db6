//! The target `config_text`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wisp_fuzz::config_text::run(input));
