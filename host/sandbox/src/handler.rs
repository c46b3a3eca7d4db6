//! Calls of `wisp:handler`: `signature` when a version is loaded, `infer` for every request.
//!
//! Every call runs on a new instance in a new store, and both are dropped after it. The types of the
//! contract are in [`mod@signature`] and [`wire`]; outside this module, handlers are called with
//! [`wisp_tensor`] types.

mod signature;
mod wire;

use crate::component::{CheckedComponent, MODEL_INTERFACE};
use crate::engine::Engine;
pub use crate::instance::Usage;
use crate::instance::{
    InstanceState, Instantiating, Interruption, inline_store, interruption, queued_store,
};
use crate::limits::Limits;
use crate::nn::{ComputeError, Graphs};
use crate::text::bounded;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::component::{ComponentExportIndex, Func, Instance, InstancePre};
use wasmtime::{AsContextMut, Store};
use wisp_tensor::{NamedTensor, Parameter, Signature};

/// The time limit for reading a handler's signature.
const SIGNATURE_TIME: Duration = Duration::from_secs(1);

/// A handler that can be called. Lifetime: a model version.
pub struct Handler {
    engine: Arc<Engine>,
    inline: InstancePre<InstanceState>,
    queued: InstancePre<InstanceState>,
    infer: ComponentExportIndex,
    graphs: Arc<Graphs>,
    limits: Limits,
    signature: HandlerSignature,
}

/// The inputs, outputs and graphs that a handler declares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HandlerSignature {
    /// The inputs and outputs for clients; shapes as on the wire, batch axis included.
    pub model: Signature,
    /// The graphs that the handler loads, by name, with the signatures it expects.
    pub graphs: Vec<(String, Signature)>,
}

/// The parts of a request that are passed to a handler. Lifetime: one request.
#[derive(Debug, Clone, Copy)]
pub struct HandlerCall<'a> {
    pub inputs: &'a [NamedTensor],
    pub parameters: &'a [Parameter],
    /// The requested outputs; empty means all.
    pub outputs: &'a [String],
    pub deadline: Instant,
}

/// A handler's response and the resources it used. Lifetime: one request.
///
/// The caller must reserve the bytes of its outputs, as it does for those of a graph's outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct HandlerAnswer {
    pub outputs: Vec<NamedTensor>,
    pub parameters: Vec<Parameter>,
    pub usage: Usage,
}

/// The error of a handler call.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// The handler reports a fault of the request. The handler wrote the text for the client; it is cut
    /// to one line.
    #[error("{0}")]
    Client(String),
    /// The handler reports a fault of its own. The handler wrote the text for the client; it is cut to
    /// one line.
    #[error("{0}")]
    Declared(String),
    /// The handler trapped, reached a limit, or returned an invalid response. For the log.
    #[error("the handler failed: {reason}")]
    Failed { reason: String },
    #[error("the handler ran longer than {budget:?}")]
    GuestTime { budget: Duration },
    #[error("the deadline passed during the call")]
    Deadline,
    /// The handler failed because a graph did not compute, which was not the handler's fault.
    #[error(transparent)]
    Compute(ComputeError),
    #[error("no free instance")]
    NoInstance,
    /// All instances together have used up the memory that requests may hold.
    #[error("the server's memory budget is used up")]
    NoMemory,
    /// The call cannot be made inline now: a graph has not been prepared for inputs of these sizes.
    #[error("a graph is not prepared for inputs of these sizes")]
    Unprepared,
    #[error("the sandbox failed")]
    Host(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The error for a component that has the right imports and exports but is not a handler.
#[derive(Debug, thiserror::Error)]
pub enum HandlerLoadError {
    #[error("the component does not fit the contract: {reason}")]
    Contract { reason: String },
    #[error("the handler's signature cannot be had")]
    Signature(#[source] HandlerError),
}

impl Handler {
    /// Links the component and reads its signature.
    ///
    /// `graphs` are the only ones that the handler can load in its calls.
    pub fn load(
        engine: &Arc<Engine>,
        component: &CheckedComponent,
        graphs: Arc<Graphs>,
        limits: Limits,
    ) -> Result<Handler, HandlerLoadError> {
        let contract = |error: wasmtime::Error| HandlerLoadError::Contract {
            // The error repeats names of the component.
            reason: bounded(&format!("{error:#}")),
        };
        let component = &component.component;
        let inline = engine
            .linkers
            .inline
            .instantiate_pre(component)
            .map_err(contract)?;
        let queued = engine
            .linkers
            .queued
            .instantiate_pre(component)
            .map_err(contract)?;
        let export = |name: &str| {
            let interface = component.get_export_index(None, MODEL_INTERFACE)?;
            component.get_export_index(Some(&interface), name)
        };
        let missing = |name: &str| HandlerLoadError::Contract {
            reason: format!("`{MODEL_INTERFACE}` lacks `{name}`"),
        };
        let infer = export("infer").ok_or_else(|| missing("infer"))?;
        let signature = export("signature").ok_or_else(|| missing("signature"))?;
        let signature_limits = Limits {
            guest_time: limits.guest_time.min(SIGNATURE_TIME),
            ..limits.clone()
        };
        let mut store = inline_store(
            engine,
            &signature_limits,
            Arc::default(),
            Instant::now() + SIGNATURE_TIME,
        );
        let signature = read_signature(&inline, &mut store, &infer, &signature)
            .map_err(|error| interruption(error, store.data()).into())
            .and_then(|signature| {
                HandlerSignature::try_from(signature).map_err(|error| HandlerError::Failed {
                    reason: error.to_string(),
                })
            })
            .map_err(HandlerLoadError::Signature)?;
        Ok(Handler {
            engine: Arc::clone(engine),
            inline,
            queued,
            infer,
            graphs,
            limits,
            signature,
        })
    }

    /// Returns the signature that was read when the handler was loaded.
    pub fn signature(&self) -> &HandlerSignature {
        &self.signature
    }

    /// Runs one request without blocking the thread for longer than an epoch.
    pub async fn infer(&self, call: HandlerCall<'_>) -> Result<HandlerAnswer, HandlerError> {
        let graphs = Arc::clone(&self.graphs);
        let mut store = queued_store(&self.engine, &self.limits, graphs, call.deadline);
        let clock = store.data().clock.clone();
        let called = async {
            let instance = self.queued.instantiate_async(&mut store).await;
            let instance = instance.map_err(|error| error.context(Instantiating))?;
            let infer = self.infer_function(&mut store, &instance)?;
            infer.call_async(&mut store, (call.into(),)).await
        };
        let answer = clock.drive(called).await;
        conclude(answer, store.data())
    }

    /// Runs one request on the calling thread, compute included. On [`HandlerError::Unprepared`] the
    /// caller must repeat it with [`Handler::infer`].
    pub fn infer_inline(&self, call: HandlerCall<'_>) -> Result<HandlerAnswer, HandlerError> {
        let graphs = Arc::clone(&self.graphs);
        let mut store = inline_store(&self.engine, &self.limits, graphs, call.deadline);
        let instance = self.inline.instantiate(&mut store);
        let instance = instance.map_err(|error| error.context(Instantiating));
        let answer = instance.and_then(|instance| {
            let infer = self.infer_function(&mut store, &instance)?;
            infer.call(&mut store, (call.into(),))
        });
        conclude(answer, store.data())
    }

    fn infer_function<'a>(
        &self,
        store: &mut Store<InstanceState>,
        instance: &Instance,
    ) -> wasmtime::Result<wire::Infer<'a>> {
        function(&mut *store, instance, &self.infer)?.typed(store)
    }
}

fn read_signature(
    pre: &InstancePre<InstanceState>,
    store: &mut Store<InstanceState>,
    infer: &ComponentExportIndex,
    signature: &ComponentExportIndex,
) -> wasmtime::Result<signature::Signature> {
    let instance = pre.instantiate(&mut *store)?;
    // Checks the type of `infer` too, so that a wrong one is found now and not by a request.
    let _: wire::Infer<'_> = function(&mut *store, &instance, infer)?.typed(&mut *store)?;
    let signature: signature::ReadSignature =
        function(&mut *store, &instance, signature)?.typed(&mut *store)?;
    let (signature,) = signature.call(&mut *store, ())?;
    Ok(signature)
}

fn function(
    store: impl AsContextMut,
    instance: &Instance,
    index: &ComponentExportIndex,
) -> wasmtime::Result<Func> {
    instance
        .get_func(store, index)
        .ok_or_else(|| wasmtime::Error::msg("an export has vanished"))
}

/// Returns the result of a finished call.
fn conclude(
    answer: wasmtime::Result<(Result<wire::Response, wire::Failure>,)>,
    state: &InstanceState,
) -> Result<HandlerAnswer, HandlerError> {
    let failed = |reason: String| match state.compute_fault.clone() {
        Some(fault) => HandlerError::Compute(fault),
        None => HandlerError::Declared(bounded(&reason)),
    };
    match answer {
        Ok((Ok(response),)) => {
            let failed = |error: wire::WireError| HandlerError::Failed {
                reason: error.to_string(),
            };
            let (outputs, parameters) = response.try_into().map_err(failed)?;
            Ok(HandlerAnswer {
                outputs,
                parameters,
                usage: state.usage(),
            })
        }
        Ok((Err(wire::Failure::Client(text)),)) => Err(HandlerError::Client(bounded(&text))),
        Ok((Err(wire::Failure::Handler(text)),)) => Err(failed(text)),
        Err(error) => Err(interruption(error, state).into()),
    }
}

impl From<Interruption> for HandlerError {
    fn from(interruption: Interruption) -> HandlerError {
        match interruption {
            Interruption::Trap { reason } => HandlerError::Failed { reason },
            Interruption::GuestTime { budget } => HandlerError::GuestTime { budget },
            Interruption::Deadline => HandlerError::Deadline,
            Interruption::NoInstance => HandlerError::NoInstance,
            Interruption::NoMemory => HandlerError::NoMemory,
            Interruption::Unprepared => HandlerError::Unprepared,
            Interruption::Host(source) => HandlerError::Host(source),
        }
    }
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handler")
            .field("signature", &self.signature)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
