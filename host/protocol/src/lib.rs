//! Pure codecs between the bytes on the wire and calls.
//!
//! [`route`] turns the head of a request into a [`route::RestCall`]. [`v2`], [`tfs`] (TF Serving and KServe
//! V1) and [`predict`] (predictions from plain JSON features) decode a body into an [`call::InferRequest`] and
//! encode an [`call::InferResponse`]. [`rest`] combines these three, [`encoded_response`] is the HTTP response
//! they produce, and [`codec`] defines the traits that all protocols share. `grpc` does the same for the
//! protocols over gRPC. Below them, `content_coding` compresses bodies, [`call_check`] compares requests and
//! outputs with a model, `classification` turns an output into classes, `class_names` names them, and
//! [`error`] maps error kinds to statuses. [`statistics`] holds the counters of a version, [`load`] is a
//! request to load one ([`dynamic_batching`] is a part of its settings), [`upload`] one to add a version to the repository, [`release`] one to move requests from a version to another, [`routing`] reads the key that keeps
//! a client at its version, and [`request_id`] reads the id of a request; `openapi` describes the REST routes,
//! with the examples of [`golden_case`].
//!
//! `config_text` reads the configuration of a model from Triton's file, with the descriptors of `grpc`.
//!
//! The features `grpc`, `openapi` and `compression`, all on by default, add the modules `grpc`, `openapi` and
//! `content_coding`. Without them, the crate contains the three REST protocols only.
//!
//! Invariant: no socket, no clock and no model lookup; the crate compiles to Wasm. Nothing here is async.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(all(feature = "grpc", feature = "openapi")),
    allow(dead_code, reason = "only the optional features use some parts")
)]

mod array_extraction;
pub mod call;
pub mod call_check;
mod class_names;
mod classification;
pub mod codec;
#[cfg(feature = "grpc")]
pub mod config_text;
#[cfg(feature = "compression")]
pub mod content_coding;
pub mod dynamic_batching;
mod element_description;
pub mod encoded_response;
pub mod error;
#[cfg(test)]
mod fixture;
pub mod golden_case;
#[cfg(feature = "grpc")]
pub mod grpc;
mod json_size;
mod json_text;
pub mod load;
pub mod model_configuration;
mod number;
#[cfg(feature = "openapi")]
pub mod openapi;
mod output_semantics;
pub mod predict;
mod quoted;
mod relaxed_json;
pub mod release;
pub mod request_id;
pub mod rest;
pub mod route;
pub mod routing;
pub mod statistics;
pub mod target;
pub mod tfs;
pub mod upload;
pub mod v2;
