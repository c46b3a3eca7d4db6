//! Pure codecs between the bytes of the wire and calls.
//!
//! In the order a request meets them: [`route`] turns the head of a request into a [`call::Call`];
//! [`v2`] turns its body into an [`call::InferRequest`] and an [`call::InferResponse`] back into
//! bytes. [`tfs`] (TF Serving and KServe V1) and [`predict`] (features in, a prediction out) do the
//! same for their dialects; [`rest`] makes one of them, and [`reply`] is what
//! they write; [`codec`] is what is common to all dialects, and
//! [`content_coding`] the compression of bodies, which is below them all. [`grpc`] does it for the messages of
//! every dialect that travels over gRPC. [`error`] says which status an error of which kind has;
//! `classification` makes classes of an output, over HTTP and gRPC; [`statistics`] is what has been counted
//! for a version; [`openapi`] describes the REST routes of the models that are served.
//!
//! Invariant: no socket, no clock, no look-up of models; compiles to Wasm. Nothing here is async.
#![forbid(unsafe_code)]

pub mod call;
mod classification;
pub mod codec;
pub mod content_coding;
pub mod error;
#[cfg(test)]
mod fixture;
pub mod grpc;
mod label;
mod lenient;
mod number;
pub mod openapi;
mod outline;
pub mod predict;
pub mod reply;
pub mod rest;
mod role;
pub mod route;
pub mod statistics;
mod target;
pub mod tfs;
pub mod v2;
