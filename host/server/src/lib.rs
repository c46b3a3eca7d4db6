//! The HTTP and gRPC server. Start with `service`, which handles every request.
//!
//! [`assemble`] starts a server. `listener` and `acceptor` accept connections; `open_connections` selects
//! the one to close above the limit. `connection` drives one over a `socket` and a `transport`, with
//! [`tls`]; `pulse` detects stalls, and `refusal` completes hyper's own responses. A request passes
//! [`authority`] and [`cors`]; `grpc` serves it, or `answer`, with its `body`. `failure`, `docs`, `reply`
//! and `server_timing` make the response, `log` and `trace` the log line. `drain` ends the server.
//!
//! Invariant: nothing here depends on what a model is. A request's work runs in the future of its
//! connection or stream and ends with it; no task is spawned for it.
#![forbid(unsafe_code)]

mod acceptor;
mod answer;
pub mod assemble;
pub mod authority;
mod body;
mod connection;
pub mod cors;
mod docs;
mod drain;
mod failure;
mod grpc;
mod listener;
mod log;
mod open_connections;
mod pulse;
mod refusal;
mod reply;
mod request_id;
mod server_timing;
mod service;
mod socket;
pub mod tls;
mod trace;
mod transport;

pub use assemble::{ServeError, ServerOptions, Sockets, serve};

#[cfg(test)]
mod tests;
