//! A sandbox without a server, in which tests call handlers on their own thread.

use super::TIMEOUT;
use anyhow::Result;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;
use wisp_sandbox::aot::AotStore;
use wisp_sandbox::component::CheckedComponent;
use wisp_sandbox::compute::{ComputeOptions, Graphs};
use wisp_sandbox::engine::{Engine, EngineOptions};
use wisp_sandbox::handler::{
    Handler, HandlerCall, HandlerError, HandlerLoadError, HandlerOutcome, HandlerResponse,
};
use wisp_sandbox::limits::Limits;
use wisp_tensor::{MemoryBudget, NamedTensor};

/// The objects that are needed to load and call handlers without a server. It has few instances, so that
/// calls soon reuse their memory.
pub(crate) struct Sandbox {
    engine: Arc<Engine>,
    store: AotStore,
    memory: Arc<MemoryBudget>,
    _directory: tempfile::TempDir,
}

impl Sandbox {
    pub(crate) fn start() -> Result<Sandbox> {
        let memory = Arc::new(MemoryBudget::new(usize::MAX));
        let engine = Engine::start(&EngineOptions {
            instances: 2,
            memory: Arc::clone(&memory),
            ..EngineOptions::default()
        })?;
        let directory = tempfile::tempdir()?;
        Ok(Sandbox {
            engine: Arc::new(engine),
            store: AotStore::open(&directory.path().join("aot"))?,
            memory,
            _directory: directory,
        })
    }

    /// Loads a handler without graphs. The outer error is that of an invalid component.
    pub(crate) fn load(
        &self,
        wasm: &[u8],
        limits: Limits,
    ) -> Result<Result<Handler, HandlerLoadError>> {
        self.load_with(wasm, Arc::default(), limits)
    }

    /// Loads a handler that may use these graphs. The outer error is that of an invalid component.
    pub(crate) fn load_with(
        &self,
        wasm: &[u8],
        graphs: Arc<Graphs>,
        limits: Limits,
    ) -> Result<Result<Handler, HandlerLoadError>> {
        let component = CheckedComponent::load(&self.engine, &self.store, wasm, &BTreeSet::new())?;
        Ok(Handler::load(&self.engine, &component, graphs, limits))
    }

    /// Returns the bytes that calls have reserved and not released.
    pub(crate) fn reserved_bytes(&self) -> usize {
        self.memory.reserved()
    }
}

/// Calls a handler on this thread, without a fiber.
pub(crate) fn call_inline(
    handler: &Handler,
    inputs: &[NamedTensor],
) -> Result<HandlerResponse, HandlerError> {
    call_with_log(handler, inputs).result
}

/// Calls a handler on this thread, and returns what it logs too.
pub(crate) fn call_with_log(handler: &Handler, inputs: &[NamedTensor]) -> HandlerOutcome {
    handler.infer_inline(HandlerCall {
        inputs,
        parameters: &[],
        outputs: &[],
        options: ComputeOptions::until(Instant::now() + TIMEOUT),
    })
}
