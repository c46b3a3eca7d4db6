//! From a decoded head to an encoded answer: which model is meant, may the call run now, and its run.
//!
//! Read [`infer()`] first: it is one function and names every module a request touches, in order.
//! [`registry`] says which [`version::ModelVersion`] a name means and loads them ([`model_control`] while the
//! server runs, when [`load_turns`] allow it, for clients or for a [`repository_poll`]), [`admission`] whether a call
//! may run now (when [`readers`] has its body), [`version`] runs it: on [`graph_queue`]s, or by a [`placed_handler`] in the
//! [`fair_pool`], each with a bounded number of `places`; [`offload`] keeps long texts off the
//! threads that serve connections, `footprint` reserves what requests hold. [`timings`] are what a
//! request took, [`statistics`] what those of a version took together. [`error`] sorts what can
//! go wrong by who has to act.
//!
//! Invariant: no socket and no wire format here; the server hands in a body that can be read once.
#![forbid(unsafe_code)]

pub mod admission;
pub mod agreement;
pub mod error;
mod expected_wait;
pub mod fair_pool;
mod footprint;
pub mod graph_queue;
pub mod infer;
pub mod load_turns;
pub mod model_control;
mod moving_average;
pub mod offload;
pub mod placed_handler;
mod places;
pub mod readers;
pub mod registry;
pub mod repository_poll;
pub mod statistics;
pub mod timings;
pub mod version;

pub use error::InferError;
pub use infer::{Body, BodyError, Inferred, Serving, ServingOptions, infer};
