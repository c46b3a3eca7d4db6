//! The provider of an edge bundle that computes with rten, for large models and for those with rare operators.
//!
//! The graphs are those that `wisp_backend::rten::split` returns.

use std::sync::Arc;
use wisp_backend::rten::{OperatorSet, Rten};
use wisp_backend::{BackendError, Graph};
use wisp_nn_provider::GraphSource;

wisp_nn_provider::export!(load);

/// Loads a graph whose shapes were set when it was split from its weights.
#[cfg_attr(
    not(target_arch = "wasm32"),
    expect(dead_code, reason = "only a module exports it")
)]
fn load(source: &GraphSource) -> Result<Arc<dyn Graph>, BackendError> {
    Rten::new().load_split(source.model, source.weights, OperatorSet::all())
}
