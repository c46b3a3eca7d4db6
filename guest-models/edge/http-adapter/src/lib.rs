//! The HTTP adapter of an edge bundle: the REST protocols of the server, in front of one model.
//!
//! `wisp bundle` gives this module the description of a model and composes it with the handler of that model. The
//! bundle then answers as a server that serves this model only. A request takes this path: [`dispatch`] routes its
//! head as the server does, [`inference`] reads and decodes the body, checks the request, calls the model and
//! encodes its response, and a [`failure`] becomes an error document. The codecs are those of `wisp_protocol`.
//!
//! [`adapter`] holds the model, [`request`] is the host's request, and [`model`] computes its response. `component`
//! connects both to the interfaces of WASI; everything else is independent of them, and tested without.
//!
//! Differences from the server: no compressed bodies, no pages of documentation, no time and no counters, since a
//! request runs in an instance of its own; the rules for other origins are up to the host.

pub mod adapter;
#[cfg(target_arch = "wasm32")]
mod component;
pub mod dispatch;
pub mod failure;
pub mod inference;
pub mod model;
pub mod request;
pub mod response;

#[cfg(test)]
mod tests;
