//! What spans crates, one module per behaviour; start with `harness`.
//!
//! Everything runs over real sockets, real models and real guests, built by `wisp-artifacts`.

mod harness;

mod architecture;
mod cli;
mod clients;
mod examples;
mod isolation;
mod overload;
mod python;
mod guests;
mod protocol_v2;
mod shutdown;
mod stock_wasi_nn;
