//! Tests of the server on real sockets, from the view of its clients.
//!
//! No model is needed. The repository is empty, and a request for its index reads a body, which a client
//! may hold back for as long as a test needs the request to be in flight.

mod activation;
pub(crate) mod certificate;
mod control;
mod cors;
mod drain;
mod framing;
mod grpc;
mod grpc_limits;
mod harness;
mod http2;
mod limits;
mod routes;
mod tls;
