//! The backends that the tests run.

use anyhow::{Context, Result};
use std::sync::Arc;
use wisp_backend::rten::Rten;
use wisp_backend::tract::Tract;
use wisp_backend::{Backend, BackendError};
use wisp_tensor::memory_budget::MemoryBudget;

/// The names of the backends that are part of the program.
pub(crate) const EMBEDDED: [&str; 2] = ["tract", "rten"];

/// Returns every compiled-in backend.
pub(crate) fn backends() -> Result<Vec<Box<dyn Backend>>> {
    Ok(vec![
        Box::new(Tract::new()),
        Box::new(Rten::new()),
        Box::new(crate::onnxruntime::engine()?),
    ])
}

/// Returns the backend of this name.
pub(crate) fn backend(name: &str) -> Result<Box<dyn Backend>> {
    let backend = backends()?
        .into_iter()
        .find(|backend| backend.name() == name);
    backend.with_context(|| format!("there is no backend `{name}`"))
}

/// Returns the backend of this name, with a budget for the memory of all its computations together.
pub(crate) fn with_memory(name: &str, bytes: usize) -> Result<Box<dyn Backend>> {
    let memory = || Arc::new(MemoryBudget::new(bytes));
    Ok(match name {
        "tract" => Box::new(Tract::with_memory(memory())),
        "rten" => Box::new(Rten::with_memory(memory())),
        _ => Box::new(crate::onnxruntime::engine()?.with_max_compute_bytes(bytes)),
    })
}

/// Returns the names of every compiled-in backend.
pub(crate) fn names() -> Result<Vec<&'static str>> {
    Ok(backends()?.iter().map(|backend| backend.name()).collect())
}

/// Returns the error with its causes.
pub(crate) fn chain(error: &BackendError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}
