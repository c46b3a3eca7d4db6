//! The manifests that the modules of an edge bundle are given before their snapshots are made.
//!
//! `wisp bundle` writes them, and the modules of `guest-models/edge` read them, so both link this crate.
//!
//! Invariant: plain values with a serialisation; the crate compiles to Wasm.
#![forbid(unsafe_code)]

pub mod adapter;
pub mod provider;
