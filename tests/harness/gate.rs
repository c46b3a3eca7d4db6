//! A backend whose computes are counted and wait at a gate.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use wisp_backend::tract::Tract;
use wisp_backend::{Backend, BackendError, Graph, LoadOptions};
use wisp_tensor::{NamedTensor, Signature, TensorError};

/// When a test has failed, instead of waiting for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// Computes as tract does, once it is open.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    open: bool,
    computes: usize,
}

#[derive(Debug)]
struct GatedGraph {
    gate: Gate,
    graph: Arc<dyn Graph>,
}

impl Gate {
    /// The computes that have begun.
    pub(crate) fn computes(&self) -> usize {
        self.change(|state| state.computes)
    }

    /// Let all computes go on.
    pub(crate) fn open(&self) {
        self.change(|state| state.open = true);
    }

    /// Wait until so many computes have begun.
    pub(crate) fn wait_for(&self, computes: usize) {
        self.wait_while(|state| state.computes < computes);
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let state = self.0.state.lock();
        let changed = change(&mut state.unwrap_or_else(PoisonError::into_inner));
        self.0.changed.notify_all();
        changed
    }

    fn wait_while(&self, condition: impl Fn(&State) -> bool) {
        let state = self.0.state.lock();
        let state = state.unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .0
            .changed
            .wait_timeout_while(state, PATIENCE, |state| condition(state));
        drop(waited);
    }
}

impl Backend for Gate {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn version(&self) -> String {
        "0".to_owned()
    }

    fn load(&self, path: &Path, options: &LoadOptions) -> Result<Arc<dyn Graph>, BackendError> {
        Ok(Arc::new(GatedGraph {
            gate: self.clone(),
            graph: Tract::new().load(path, options)?,
        }))
    }
}

impl Graph for GatedGraph {
    fn signature(&self) -> &Signature {
        self.graph.signature()
    }

    fn compute(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
        if !inputs.is_empty() {
            self.gate.change(|state| state.computes += 1);
            self.gate.wait_while(|state| !state.open);
        }
        self.graph.compute(inputs)
    }

    /// None that it can be measured with: then no call is inline, and computes are queued.
    fn sample_inputs(&self) -> Result<Vec<NamedTensor>, TensorError> {
        Ok(Vec::new())
    }
}
