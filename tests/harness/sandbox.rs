//! A sandbox without a server, in which tests call handlers on their own thread.

use super::TIMEOUT;
use anyhow::{Result, ensure};
use std::collections::{BTreeSet, HashSet};
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

/// The maximum length of a guest's message in a response, in characters.
const MAX_TEXT: usize = 1000;

/// The objects that are needed to load and call handlers without a server. It has few instances, so that
/// calls soon reuse their memory.
pub(crate) struct Sandbox {
    engine: Arc<Engine>,
    store: AotStore,
    memory: Arc<MemoryBudget>,
    _directory: Option<tempfile::TempDir>,
}

impl Sandbox {
    pub(crate) fn start() -> Result<Sandbox> {
        let directory = tempfile::tempdir()?;
        let store = AotStore::open(&directory.path().join("aot"))?;
        Sandbox::with_store(store, 2, Some(directory))
    }

    /// Starts a sandbox that keeps no machine code in files, and has a single instance: if a call does not give it
    /// back, the next one has none.
    pub(crate) fn with_one_instance() -> Result<Sandbox> {
        Sandbox::with_store(AotStore::in_memory(), 1, None)
    }

    fn with_store(
        store: AotStore,
        instances: u32,
        directory: Option<tempfile::TempDir>,
    ) -> Result<Sandbox> {
        let memory = Arc::new(MemoryBudget::new(usize::MAX));
        let engine = Engine::start(&EngineOptions {
            instances,
            memory: Arc::clone(&memory),
            ..EngineOptions::default()
        })?;
        Ok(Sandbox {
            engine: Arc::new(engine),
            store,
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
        let component = self.compile(wasm)?;
        Ok(self.handler(&component, graphs, limits))
    }

    /// Checks and compiles a component.
    pub(crate) fn compile(&self, wasm: &[u8]) -> Result<CheckedComponent> {
        let component = CheckedComponent::load(&self.engine, &self.store, wasm, &BTreeSet::new())?;
        Ok(component)
    }

    /// Loads the handler of a component, which may use these graphs.
    pub(crate) fn handler(
        &self,
        component: &CheckedComponent,
        graphs: Arc<Graphs>,
        limits: Limits,
    ) -> Result<Handler, HandlerLoadError> {
        Handler::load(&self.engine, component, graphs, limits)
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

/// Calls a handler on this thread, and returns its result and log lines.
pub(crate) fn call_with_log(handler: &Handler, inputs: &[NamedTensor]) -> HandlerOutcome {
    handler.infer_inline(HandlerCall {
        inputs,
        parameters: &[],
        outputs: &[],
        options: ComputeOptions::until(Instant::now() + TIMEOUT),
    })
}

/// Checks that the response keeps the contract, or that the guest is at fault.
pub(crate) fn keeps_the_contract(outcome: &Result<HandlerResponse, HandlerError>) -> Result<()> {
    match outcome {
        Ok(answer) => {
            ensure!(answer.outputs.len() <= 1024 && answer.parameters.len() <= 1024);
            let names = answer.outputs.iter().map(|output| &output.name);
            ensure!(names.clone().all(|name| name.len() <= 1024));
            let distinct: HashSet<_> = names.collect();
            ensure!(
                distinct.len() == answer.outputs.len(),
                "a name is there twice"
            );
        }
        Err(HandlerError::Client(text) | HandlerError::Declared(text)) => {
            ensure!(text.chars().count() <= MAX_TEXT, "{text}");
            ensure!(!text.contains(char::is_control), "{text}");
        }
        Err(HandlerError::Failed { .. } | HandlerError::GuestTime { .. }) => {}
        Err(error) => anyhow::bail!("{error:?}"),
    }
    Ok(())
}
