//! Pure codecs between the bytes of the wire and calls.
//!
//! In the order a request meets them: [`route`] turns the head of a request into a [`call::Call`];
//! [`v2`] turns its body into an [`call::InferRequest`] and an [`call::InferResponse`] back into
//! bytes; [`error`] says which status an error of which kind has. [`tfs`] (TF Serving and KServe
//! V1) does the same for its dialect, and reads
//! its own paths; [`reply`] is what all of them write.
//!
//! Invariant: no socket, no clock, no look-up of models; compiles to Wasm. Nothing here is async.
#![forbid(unsafe_code)]

pub mod call;
pub mod error;
mod label;
mod lenient;
pub mod reply;
mod role;
pub mod route;
pub mod tfs;
pub mod v2;
