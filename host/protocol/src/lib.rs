//! Pure codecs between the bytes on the wire and calls.
//!
//! [`route`] turns the head of a request into a [`call::Call`]. [`v2`], [`tfs`] (TF Serving and KServe
//! V1) and [`predict`] (features in, a prediction out) decode a body into an [`call::InferRequest`] and
//! encode an [`call::InferResponse`]. [`rest`] combines these three, [`encoded_response`] is the HTTP response they
//! produce, and [`codec`] defines the traits that all protocols share. [`grpc`] does the same for the
//! protocols over gRPC. Below them, [`content_coding`] compresses bodies, `classification` turns an
//! output into classes and [`error`] maps error kinds to statuses. [`statistics`] holds the counters of a
//! version; [`openapi`] describes the REST routes.
//!
//! Invariant: no socket, no clock and no model lookup; the crate compiles to Wasm. Nothing here is async.
#![forbid(unsafe_code)]

mod array_extraction;
pub mod call;
mod classification;
pub mod codec;
pub mod content_coding;
pub mod encoded_response;
pub mod error;
#[cfg(test)]
mod fixture;
pub mod grpc;
mod json_size;
mod number;
pub mod openapi;
mod output_semantics;
pub mod predict;
mod quoted;
mod relaxed_json;
pub mod rest;
pub mod route;
pub mod statistics;
mod target;
pub mod tfs;
pub mod v2;
