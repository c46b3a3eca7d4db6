//! Everything that touches wasmtime: a handler is loaded here once and called here, each time on an
//! instance made for that one request.
//!
//! In the order a component meets them: [`component`] refuses what asks for more than it is granted,
//! [`aot`] compiles what is left, in a [`limited_process`], or finds it compiled, [`engine`] holds what
//! all instances share, [`limits`] says how much one instance may use, [`handler`] makes the calls, each
//! of them on an instance of the private module `instance`, and [`nn`] answers the instance's wasi:nn
//! imports through the [`nn::Compute`] it was given.
//!
//! Invariants: nothing of one request outlives its store; a store is never used after a trap; this
//! crate knows no model repository, no protocol and no engine for graphs.

pub mod aot;
pub mod component;
pub mod engine;
pub mod handler;
mod instance;
pub mod limited_process;
pub mod limits;
pub mod nn;
mod text;
