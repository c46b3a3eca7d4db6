//! The HTTP and gRPC server. Start with `service`, which handles every request.
//!
//! [`assemble`] starts a server. `listener` and `acceptor` accept connections from each `listening_socket`, until
//! `idle_timer` ends an unused server; `open_connections` selects the one to close above the limit. `connection` drives one over a `socket` and a `transport`, with
//! [`tls`]; `connection_activity` detects stalls, and `error_body` completes hyper's own responses. A request passes
//! [`authority`], [`cors`] and `access`, which finds its tenant; `grpc` serves it, or `dispatch`, with its `body`. Both run inferences, and the functions of `control` for requests
//! about models, which a `control_body` contains over REST; `operation` has the right that each requires. `upload` receives the files of models. `failure`, `docs`, `console`, `unbound_response`,
//! `web_response`, `server_timing` and `usage_header` make the response, `log` and `trace` the log line, `request_report` the line and the
//! span ([`spans`]) with the `route_template` that an operator asks for. `drain` ends the server.
//! The requests of a tenant with a [`worker_process`] are passed on by `forward`, with a `worker_error` if it ends; in that process, `worker_end` answers them.
//! `request_counts`, `connection_counts` and `worker_counts` are part of the `metrics`, which have a `metrics_listener`; `admin` changes
//! the tenants, on an `admin_listener`. [`utc`] has the calendar. A `responder` distinguishes their connections from connections of the API.
//!
//! Invariant: nothing here depends on the contents of a model. A request's work runs in the future of its
//! connection or stream and ends with it; no task is spawned for it.
#![forbid(unsafe_code)]

mod acceptor;
mod access;
mod admin;
mod admin_listener;
pub mod assemble;
pub mod authority;
mod body;
mod connection;
mod connection_activity;
mod connection_counts;
mod console;
mod control;
mod control_body;
pub mod cors;
mod dispatch;
mod docs;
mod document_body;
mod drain;
mod error_body;
mod failure;
mod forward;
mod framing;
mod grpc;
mod http_response;
mod idle_timer;
mod listener;
mod listening_socket;
mod log;
mod metrics;
mod metrics_listener;
mod open_connections;
mod operation;
mod options;
mod panic;
mod peer_certificate;
mod request_counts;
mod request_id;
mod request_report;
mod responder;
mod response_body;
mod route_template;
mod server_timing;
mod service;
mod socket;
pub mod spans;
pub mod tls;
mod trace;
mod transport;
mod unbound_response;
mod upload;
mod usage_header;
pub mod utc;
mod web_response;
mod worker_counts;
mod worker_end;
mod worker_error;
pub mod worker_process;

pub use assemble::serve;
pub use drain::ServeError;
pub use listening_socket::ListeningSocket;
pub use options::{ServerOptions, Sockets};
pub use request_report::RequestLines;
pub use worker_end::serve_forwarded;

#[cfg(test)]
mod tests;
