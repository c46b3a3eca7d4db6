//! The front door: sockets, HTTP framing, and the frame around every request.
//!
//! In the order a request meets them: [`assemble`] makes a running server out of a bound socket;
//! `listener` accepts connections under a limit, with `open_connections` saying which gives way; `connection` drives one of them, through a
//! `transport` that is plain or speaks TLS with the certificate of [`tls`], with `socket` and `pulse`
//! watching that it gets on and `refusal` completing what hyper answers by itself; `service` frames
//! every request, [`authority`] says which hosts it may name, and [`cors`] which pages of a browser may make it; `grpc` answers those of gRPC,
//! and of the others `answer` says what each call is answered with, reading the request's `body` where
//! it has one, within the memory budget of all requests; `failure` is what it says instead; `docs` is the API's
//! description of itself; `reply` becomes the response, an inference's with `server_timing`; `log` writes the one line about it, with the `trace` it belongs to. `drain` ends it all.
//! Start with `service`.
//!
//! Invariant: nothing here knows what a model is. A request's work lives in the future of its
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
