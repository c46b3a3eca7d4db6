//! The server on real sockets, by what its clients see.
//!
//! No model is needed: the repository is empty, and asking for its index reads a body, which a
//! client may hold back for as long as a test wants the request in flight.

pub(crate) mod certificate;
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
