//! A backend that counts its computations and controls when they end.

use super::TIMEOUT;
use super::wait::wait_until;
use anyhow::Result;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use wisp_backend::tract::Tract;
use wisp_backend::{Backend, BackendError, Cancellation, Graph, LoadOptions, ModelSource};
use wisp_tensor::{NamedTensor, Signature, TensorError};

/// The time between two checks for a cancellation.
const POLL: Duration = Duration::from_millis(1);

/// A backend whose queued computations wait until the gate is open, and then compute with tract.
///
/// By default, its graphs cannot be measured, so that no call of a handler runs inline. The graphs of
/// [`Gate::inline`] are measured as fast, so that calls run inline at first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    shared: Arc<Shared>,
    inline: Option<InlineCompute>,
}

/// The behavior of a computation within an inline call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InlineCompute {
    /// Computes at once.
    Computes,
    /// Waits until the gate is open, whether or not it is cancelled.
    Waits,
    /// Does not end before it is cancelled.
    EndsCancelled,
    /// Needs a preparation, which an inline call does not wait for.
    IsUnprepared,
    Panics,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    open: bool,
    queued: usize,
    inline: usize,
}

#[derive(Debug)]
struct GatedGraph {
    gate: Gate,
    graph: Arc<dyn Graph>,
}

impl Gate {
    /// Returns a gate for graphs that are fast when they are measured, and behave as `inline` within
    /// inline calls.
    pub(crate) fn inline(inline: InlineCompute) -> Gate {
        Gate {
            shared: Arc::default(),
            inline: Some(inline),
        }
    }

    /// Returns the number of computations on the graph's own threads that have begun.
    pub(crate) fn computations(&self) -> usize {
        self.change(|state| state.queued)
    }

    /// Returns the number of computations within inline calls that have begun.
    pub(crate) fn inline_computations(&self) -> usize {
        self.change(|state| state.inline)
    }

    /// Opens the gate for all computations.
    pub(crate) fn open(&self) {
        self.change(|state| state.open = true);
    }

    /// Waits until `computations` queued computations have begun.
    pub(crate) fn wait_for(&self, computations: usize) -> Result<()> {
        let what = format!("{computations} computations have begun");
        wait_until(&what, || self.computations() >= computations)
    }

    /// Waits until `computations` inline computations have begun.
    pub(crate) fn wait_for_inline(&self, computations: usize) -> Result<()> {
        let what = format!("{computations} inline computations have begun");
        wait_until(&what, || self.inline_computations() >= computations)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let state = self.shared.state.lock();
        let changed = change(&mut state.unwrap_or_else(PoisonError::into_inner));
        self.shared.changed.notify_all();
        changed
    }

    /// Waits until the gate is open, or until the test has failed because nobody opens it.
    fn wait_while_closed(&self) {
        let state = self.shared.state.lock();
        let state = state.unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .shared
            .changed
            .wait_timeout_while(state, TIMEOUT, |state| !state.open);
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
        if inputs.is_empty() && self.gate.inline.is_some() {
            // A measurement, with the sample inputs below.
            return Ok(Vec::new());
        }
        if !inputs.is_empty() {
            self.gate.change(|state| state.queued += 1);
            self.gate.wait_while_closed();
        }
        self.graph.compute(inputs)
    }

    fn compute_prepared_cancellable(
        &self,
        inputs: &[NamedTensor],
        cancellation: &Cancellation,
    ) -> Option<Result<Vec<NamedTensor>, BackendError>> {
        self.gate.change(|state| state.inline += 1);
        match self.gate.inline {
            None | Some(InlineCompute::Computes) => {}
            Some(InlineCompute::Waits) => self.gate.wait_while_closed(),
            Some(InlineCompute::EndsCancelled) => {
                while !cancellation.is_cancelled() {
                    std::thread::park_timeout(POLL);
                }
                return Some(Err(BackendError::Cancelled));
            }
            Some(InlineCompute::IsUnprepared) => return None,
            Some(InlineCompute::Panics) => panic!("a computation that panics"),
        }
        Some(self.graph.compute(inputs))
    }

    /// Returns no sample inputs, so that a measurement computes nothing.
    fn sample_inputs(&self) -> Result<Vec<NamedTensor>, TensorError> {
        Ok(Vec::new())
    }
}
