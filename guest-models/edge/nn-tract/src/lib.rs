//! The provider of an edge bundle that computes with tract, which has operators that rten lacks.
//!
//! The graphs are ONNX files as they are, with all of their weights.

use std::sync::Arc;
use wisp_backend::tract::Tract;
use wisp_backend::{Backend, BackendError, Graph, LoadOptions, ModelSource};
use wisp_nn_provider::GraphSource;

wisp_nn_provider::export!(load);

#[cfg_attr(
    not(target_arch = "wasm32"),
    expect(dead_code, reason = "only a module exports it")
)]
fn load(source: &GraphSource) -> Result<Arc<dyn Graph>, BackendError> {
    let options = LoadOptions {
        shapes: source.shapes.clone(),
        ..LoadOptions::default()
    };
    Tract::new().load(ModelSource::onnx(source.model), &options)
}
