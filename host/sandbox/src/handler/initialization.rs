//! The initialization of a handler, which is paid once, when a version is loaded.
//!
//! A handler may export `init`. It is called on an instance of its own, which can read the configuration
//! and log, and nothing else; the state that it leaves is the one in which every instance for a request
//! begins. All requests share that state, so nothing that should differ between them is available to
//! `init`: no request, no graphs.
//!
//! The state is kept in the component (see [`super::snapshot`]), and the store of compiled code finds
//! the result by its content. `init` itself runs at each load, and so do its errors appear at each. If its
//! state is kept, it runs twice, and only the lines of the first run are logged.

use super::error::HandlerError;
use super::snapshot::Instrumented;
use super::store::{Instantiating, handler_error, inline_store};
use crate::aot::{AotStore, CompileError};
use crate::component::CheckedComponent;
use crate::compute::Payer;
use crate::configuration::{self, CONFIGURATION_INTERFACE, HandlerConfiguration};
use crate::engine::Engine;
use crate::instance::InstanceState;
use crate::limits::Limits;
use crate::logging::interface::{self as logging, LOGGING};
use crate::text::bounded;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::Store;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Instance, Linker, ResourceType};

/// The interface that a handler with an initialization exports.
pub const INITIALIZATION_INTERFACE: &str = "wisp:handler/initialization@0.1.0";

/// The imports that `init` may call.
const AVAILABLE_IMPORTS: [&str; 2] = [CONFIGURATION_INTERFACE, LOGGING];

/// The guest time of an initialization, in multiples of a request's. It is paid once, and reads files.
const GUEST_TIME_FACTOR: u32 = 5;

/// The longest duration of an initialization on a busy machine.
const WALL_TIME: Duration = Duration::from_secs(60);

/// Initializes components for one model. Lifetime: one load.
#[derive(Debug)]
pub struct Initializer<'a> {
    pub engine: &'a Engine,
    pub store: &'a AotStore,
    /// The settings and files that the handler can read, during its initialization and in every request.
    pub configuration: Arc<HandlerConfiguration>,
    /// The limits of a request. Those on memory apply to the initialization too.
    pub limits: &'a Limits,
}

/// The error for a component that cannot be initialized.
#[derive(Debug, thiserror::Error)]
pub enum InitializationError {
    /// The handler returned an error. The handler wrote the text; it is cut to one line.
    #[error("{0}")]
    Declared(String),
    /// The handler trapped or reached a limit, or there is no instance for it.
    #[error(transparent)]
    Failed(HandlerError),
    #[error("the component does not implement `{INITIALIZATION_INTERFACE}`: {reason}")]
    Contract { reason: String },
    #[error("the state of the component after its initialization cannot be kept: {reason}")]
    Snapshot { reason: String },
    #[error(transparent)]
    Compile(CompileError),
}

/// Ends an initialization that calls an import that only requests have.
#[derive(Debug, thiserror::Error)]
#[error("`{function}` of `{interface}` is not available during the initialization")]
struct Unavailable {
    interface: String,
    function: String,
}

/// An instance after its initialization.
struct Initialized {
    store: Store<InstanceState>,
    instance: Instance,
    /// The handler's answer, whether requests are to begin with this state.
    keeps_state: bool,
}

impl Initializer<'_> {
    /// Returns the component with its configuration, and with the state after its initialization if it has
    /// one. `wasm` are the bytes of the component.
    pub fn initialize(
        &self,
        component: CheckedComponent,
        wasm: &[u8],
    ) -> Result<CheckedComponent, InitializationError> {
        let (component, snapshot) = self.keep_state(component, wasm)?;
        let Some(snapshot) = snapshot else {
            return Ok(component);
        };
        let compiled = self.store.load(self.engine, &snapshot);
        let (compiled, origin) = compiled.map_err(InitializationError::Compile)?;
        Ok(CheckedComponent {
            component: compiled,
            origin,
            ..component
        })
    }

    /// Returns the bytes of the component with the state after its initialization: `wasm` as it is if it has
    /// none.
    pub fn initialized(
        &self,
        component: CheckedComponent,
        wasm: Vec<u8>,
    ) -> Result<Vec<u8>, InitializationError> {
        let (_, snapshot) = self.keep_state(component, &wasm)?;
        Ok(snapshot.unwrap_or(wasm))
    }

    /// Initializes the component. Returns it with its configuration and the lines that it has logged, and its bytes
    /// with the state of its initialization if requests are to begin with that.
    fn keep_state(
        &self,
        component: CheckedComponent,
        wasm: &[u8],
    ) -> Result<(CheckedComponent, Option<Vec<u8>>), InitializationError> {
        let component = CheckedComponent {
            configuration: Some(Arc::clone(&self.configuration)),
            ..component
        };
        let export = component
            .component
            .get_export_index(None, INITIALIZATION_INTERFACE);
        if export.is_none() {
            return Ok((component, None));
        }
        let Initialized {
            mut store,
            instance: _,
            keeps_state,
        } = self.run(&component.component)?;
        let component = CheckedComponent {
            initialization_log: store.data_mut().log.take(),
            ..component
        };
        // The next instance may need its place in the pool.
        drop(store);
        // Most handlers have nothing to initialize, and need no instrumentation to find that out.
        let snapshot = keeps_state.then(|| self.snapshot(wasm)).transpose()?;
        Ok((component, snapshot))
    }

    /// Runs the initialization again, with the state in reach, and returns the component with that state.
    /// Its lines come from the first run, and are not returned twice.
    fn snapshot(&self, wasm: &[u8]) -> Result<Vec<u8>, InitializationError> {
        let failed = |error: wasmtime::Error| InitializationError::Snapshot {
            // The error may repeat names of the component.
            reason: bounded(&format!("{error:#}")),
        };
        let instrumented = Instrumented::new(wasm).map_err(failed)?;
        let compiled = self.store.load(self.engine, &instrumented.wasm);
        let (compiled, _) = compiled.map_err(InitializationError::Compile)?;
        let Initialized {
            mut store,
            instance,
            keeps_state: _,
        } = self.run(&compiled)?;
        instrumented.snapshot(&mut store, instance).map_err(failed)
    }

    /// Calls `init` on a new instance.
    fn run(&self, component: &Component) -> Result<Initialized, InitializationError> {
        let contract = |error: wasmtime::Error| InitializationError::Contract {
            reason: bounded(&format!("{error:#}")),
        };
        let linker = linker(self.engine, component).map_err(contract)?;
        let pre = linker.instantiate_pre(component).map_err(contract)?;
        let limits = Limits {
            guest_time: self.limits.guest_time.saturating_mul(GUEST_TIME_FACTOR),
            ..self.limits.clone()
        };
        let deadline = Instant::now() + WALL_TIME;
        let mut store = inline_store(
            (self.engine, &Payer::default()),
            &limits,
            Arc::default(),
            deadline,
        );
        store.data_mut().configuration = Some(Arc::clone(&self.configuration));
        let failed = |error, store: &Store<InstanceState>| {
            InitializationError::Failed(handler_error(error, store.data().log.panic()))
        };
        let instance = pre
            .instantiate(&mut store)
            .map_err(|error| failed(error.context(Instantiating), &store))?;
        let init = component
            .get_export_index(None, INITIALIZATION_INTERFACE)
            .and_then(|interface| component.get_export_index(Some(&interface), "init"))
            .ok_or_else(|| contract(wasmtime::Error::msg("it lacks `init`")))?;
        let init = instance
            .get_typed_func::<(), (Result<bool, String>,)>(&mut store, &init)
            .map_err(contract)?;
        let (answer,) = init
            .call(&mut store, ())
            .map_err(|error| failed(error, &store))?;
        let keeps_state = answer.map_err(|text| InitializationError::Declared(bounded(&text)))?;
        Ok(Initialized {
            store,
            instance,
            keeps_state,
        })
    }
}

/// Returns the imports of an initialization: the available ones, and functions that end it for the others.
fn linker(engine: &Engine, component: &Component) -> wasmtime::Result<Linker<InstanceState>> {
    let engine = &engine.wasmtime;
    let mut linker = Linker::new(engine);
    configuration::interface::add_to_linker(&mut linker)?;
    logging::add_to_linker(&mut linker)?;
    let component_type = component.component_type();
    for (interface, import) in component_type.imports(engine) {
        let ComponentItem::ComponentInstance(instance) = import.ty else {
            continue;
        };
        if AVAILABLE_IMPORTS.contains(&interface) {
            continue;
        }
        let mut stub = linker.instance(interface)?;
        for (name, export) in instance.exports(engine) {
            match export.ty {
                ComponentItem::ComponentFunc(_) => {
                    let (interface, function) = (interface.to_owned(), name.to_owned());
                    stub.func_new(name, move |_, _, _, _| {
                        Err(Unavailable {
                            interface: interface.clone(),
                            function: function.clone(),
                        }
                        .into())
                    })?;
                }
                ComponentItem::Resource(_) => {
                    stub.resource(name, ResourceType::host::<()>(), |_, _| Ok(()))?;
                }
                _ => {}
            }
        }
    }
    Ok(linker)
}

#[cfg(test)]
mod tests;
