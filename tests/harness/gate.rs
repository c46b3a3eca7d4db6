//! A backend that counts its computations and blocks them at a gate.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use wisp_backend::tract::Tract;
use wisp_backend::{Backend, BackendError, Graph, LoadOptions, ModelSource};
use wisp_tensor::{NamedTensor, Signature, TensorError};

/// The time limit for waiting, after which a test has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A backend that computes with tract once the gate is open.
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
    /// Returns the number of computations that have begun.
    pub(crate) fn computes(&self) -> usize {
        self.change(|state| state.computes)
    }

    /// Opens the gate for all computations.
    pub(crate) fn open(&self) {
        self.change(|state| state.open = true);
    }

    /// Waits until `computes` computations have begun.
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

    fn load(
        &self,
        source: ModelSource<'_>,
        options: &LoadOptions,
    ) -> Result<Arc<dyn Graph>, BackendError> {
        Ok(Arc::new(GatedGraph {
            gate: self.clone(),
            graph: Tract::new().load(source, options)?,
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

    /// Returns no sample inputs, so that the graph's time cannot be measured: then no call is inline,
    /// and computations are queued.
    fn sample_inputs(&self) -> Result<Vec<NamedTensor>, TensorError> {
        Ok(Vec::new())
    }
}
