//! The guests, built: one constant per component, each the path of its file.
//!
//! A guest without a constant is not built, a constant without a guest does not compile.
#![forbid(unsafe_code)]

include!(concat!(env!("OUT_DIR"), "/guests.rs"));
