//! Calls of `wisp:handler`: `init` and `signature` when a version is loaded, `infer` for every request.
//!
//! Every call runs on a new instance in a new store, and both are dropped after it. The types of the
//! contract are in [`mod@signature`] and [`wire`]; outside this module, handlers are called with
//! [`wisp_tensor`] types.

mod call;
mod error;
mod initialization;
mod signature;
mod snapshot;
pub(crate) mod store;
mod trap;
pub(crate) mod trap_cause;
mod wire;

pub use self::call::{HandlerCall, HandlerOutcome, HandlerResponse};
pub use self::error::HandlerError;
pub use self::initialization::{INITIALIZATION_INTERFACE, InitializationError, Initializer};
pub use self::signature::HandlerSignature;
pub use crate::instance::Usage;

use self::store::{Instantiating, handler_error, inline_store, queued_store};
use crate::component::{CheckedComponent, MODEL_INTERFACE};
use crate::compute::{Graphs, Payer};
use crate::configuration::HandlerConfiguration;
use crate::engine::Engine;
use crate::guest_run::GuestRun;
use crate::instance::InstanceState;
use crate::limits::Limits;
use crate::logging::GuestLog;
use crate::text::bounded;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::component::{Component, ComponentExportIndex, Func, Instance, InstancePre};
use wasmtime::{AsContextMut, Store};

/// The time limit for reading a handler's signature.
const SIGNATURE_TIME: Duration = Duration::from_secs(1);

/// A handler that can be called. Lifetime: a model version.
pub struct Handler {
    engine: Arc<Engine>,
    inline: InstancePre<InstanceState>,
    queued: InstancePre<InstanceState>,
    infer: ComponentExportIndex,
    /// Other handlers find it in the store of compiled code for as long as this one lives.
    component: Arc<Component>,
    graphs: Arc<Graphs>,
    configuration: Option<Arc<HandlerConfiguration>>,
    limits: Limits,
    signature: HandlerSignature,
    load_log: GuestLog,
}

/// The machine code of a handler in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineCode {
    /// The same number for all handlers that share the code now.
    pub identity: usize,
    pub bytes: usize,
}

/// The error for a component that has the right imports and exports but is not a handler.
#[derive(Debug, thiserror::Error)]
pub enum HandlerLoadError {
    #[error("the component does not implement the contract: {reason}")]
    Contract { reason: String },
    #[error("the handler's signature cannot be read")]
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
        let configuration = component.configuration.clone();
        let mut load_log = component.initialization_log.clone();
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
        let payer = Payer::default();
        let mut store = inline_store(
            (&**engine, &payer),
            &signature_limits,
            Arc::default(),
            Instant::now() + SIGNATURE_TIME,
        );
        store.data_mut().configuration.clone_from(&configuration);
        let signature = read_signature(&inline, &mut store, &infer, &signature)
            .map_err(|error| handler_error(error, store.data().log.panic()))
            .and_then(|signature| {
                HandlerSignature::try_from(signature).map_err(HandlerError::invalid)
            })
            .map_err(HandlerLoadError::Signature)?;
        load_log.append(store.data_mut().log.take());
        Ok(Handler {
            engine: Arc::clone(engine),
            inline,
            queued,
            infer,
            component: Arc::clone(component),
            graphs,
            configuration,
            limits,
            signature,
            load_log,
        })
    }

    /// Returns the signature that was read when the handler was loaded.
    pub fn signature(&self) -> &HandlerSignature {
        &self.signature
    }

    /// Returns the size of its machine code, and which other handlers share it.
    pub fn machine_code(&self) -> MachineCode {
        let image = self.component.image_range();
        MachineCode {
            identity: Arc::as_ptr(&self.component).addr(),
            bytes: image.end.addr().saturating_sub(image.start.addr()),
        }
    }

    /// Returns the lines that the handler logged during its initialization and while its signature was read.
    pub fn load_log(&self) -> &GuestLog {
        &self.load_log
    }

    /// Runs one request without blocking the thread for longer than an epoch.
    pub async fn infer(&self, call: HandlerCall<'_>) -> HandlerOutcome {
        let graphs = Arc::clone(&self.graphs);
        let options = &call.options;
        let parties = (&*self.engine, &options.payer);
        let mut store = queued_store(parties, &self.limits, graphs, options.deadline);
        store.data_mut().priority = call.options.priority;
        store.data_mut().queue_timeout = call.options.queue_timeout;
        store
            .data_mut()
            .configuration
            .clone_from(&self.configuration);
        let clock = store.data().clock.clone();
        let called = async {
            let instance = self.queued.instantiate_async(&mut store).await;
            let instance = instance.map_err(|error| error.context(Instantiating))?;
            store.data_mut().finish_instantiation();
            let infer = self.infer_function(&mut store, &instance)?;
            infer.call_async(&mut store, (call.into(),)).await
        };
        let response = clock.drive(called).await;
        conclude(response, store.data_mut())
    }

    /// Runs one request on the calling thread, compute included. On [`HandlerError::Unprepared`] the
    /// caller must repeat it with [`Handler::infer`].
    pub fn infer_inline(&self, call: HandlerCall<'_>) -> HandlerOutcome {
        let graphs = Arc::clone(&self.graphs);
        let options = &call.options;
        let parties = (&*self.engine, &options.payer);
        let mut store = inline_store(parties, &self.limits, graphs, options.deadline);
        store
            .data_mut()
            .configuration
            .clone_from(&self.configuration);
        let instance = self.inline.instantiate(&mut store);
        let instance = instance.map_err(|error| error.context(Instantiating));
        let response = instance.and_then(|instance| {
            store.data_mut().finish_instantiation();
            let infer = self.infer_function(&mut store, &instance)?;
            infer.call(&mut store, (call.into(),))
        });
        conclude(response, store.data_mut())
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

/// Returns the outcome of a finished call.
fn conclude(
    response: wasmtime::Result<(Result<wire::Response, wire::Failure>,)>,
    state: &mut InstanceState,
) -> HandlerOutcome {
    let trap = response.as_ref().err().and_then(trap_cause::cause);
    let usage = state.usage();
    HandlerOutcome {
        log: state.log.take(),
        run: GuestRun { usage, trap },
        result: result(response, state, usage),
    }
}

fn result(
    response: wasmtime::Result<(Result<wire::Response, wire::Failure>,)>,
    state: &InstanceState,
    usage: Usage,
) -> Result<HandlerResponse, HandlerError> {
    let failed = |reason: String| match state.compute_error.clone() {
        Some(error) => HandlerError::Compute(error),
        None => HandlerError::Declared(bounded(&reason)),
    };
    match response {
        Ok((Ok(response),)) => {
            let invalid = |error: wire::WireError| HandlerError::invalid(error);
            let (outputs, parameters) = response.try_into().map_err(invalid)?;
            Ok(HandlerResponse {
                outputs,
                parameters,
                usage,
            })
        }
        Ok((Err(wire::Failure::Client(text)),)) => Err(HandlerError::Client(bounded(&text))),
        Ok((Err(wire::Failure::Handler(text)),)) => Err(failed(text)),
        Err(error) => Err(handler_error(error, state.log.panic())),
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
