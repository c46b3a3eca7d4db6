//! Pure codecs between the bytes of the wire and calls.
//!
//! In the order a request meets them: [`route`] turns the head of a request into a [`call::Call`];
//! [`v2`] turns its body into an [`call::InferRequest`] and an [`call::InferResponse`] back into
//! bytes; [`error`] says which status an error of which kind has. [`reply`] is what
//! every dialect writes.
//!
//! Invariant: no socket, no clock, no look-up of models; compiles to Wasm. Nothing here is async.
#![forbid(unsafe_code)]

pub mod call;
pub mod error;
mod label;
pub mod reply;
pub mod route;
pub mod v2;
