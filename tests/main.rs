//! Integration tests across crates, with one module per behavior; `harness` is the starting point.
//!
//! All tests use real sockets, real models and real guests, which `wisp-artifacts` builds.

mod harness;

mod activation;
mod architecture;
mod bombs;
mod book;
mod boundary;
mod canary;
mod cancellation;
mod cases;
mod chromium;
mod class_names;
mod cli;
mod clients;
mod compression;
mod debian;
mod deploy;
mod diagnosis;
mod differential;
mod edge;
mod examples;
mod extremes;
#[cfg(feature = "gpu-tests")]
mod gpu;
mod grants;
mod guests;
mod hostile_values;
mod initialization;
mod isolation;
mod load;
mod loader_attacks;
mod matrix;
mod neighbours;
mod node;
mod oci;
mod onnx_nodes;
mod onnxruntime;
mod openapi;
mod overload;
mod perf_analyzer;
mod placement;
mod protocol_tfs;
mod protocol_v2;
mod published;
mod python;
mod regressions;
mod release;
mod rows;
mod shutdown;
mod sklearn;
mod stock_wasi_nn;
mod systemd_tools;
mod timing;
mod tls;
mod triton;
mod versions;
mod web;
