//! Gives a prebuilt core module its data once, and makes a component that begins with that data loaded.
//!
//! The modules of an edge bundle contain no model. [`Preload::component`] instruments such a module, calls
//! it in this process, and writes the memory that it leaves into the original module (wasmtime-wizer), so a
//! model is read and parsed by the bundler and never again. The module exports three functions for this:
//!
//! - `cabi_realloc`, by which every component receives memory, for the bytes of blobs and of the manifest;
//! - `wisp-blob(address, length)`, which takes a blob, to be kept in its place: 0, 1, 2, ...;
//! - `wisp-load(address, length) -> i32`, which reads the manifest and loads its contents. The result is 0, or
//!   the address of two 32-bit numbers: address and length of the text of an error.
//!
//! Code that only these functions call is removed from the module afterwards.
//!
//! The machine code of the instrumented module does not depend on the data. The store of compiled code, which
//! holds components, holds it in a component that exports the module ([`exporting_component`]).

mod exporting_component;
mod unreachable_code;

use crate::aot::{AotStore, CompileError};
use crate::engine::{Engine, TICK};
use crate::text::bounded;
use exporting_component::{MODULE_EXPORT, exporting_component};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use unreachable_code::remove_unreachable_code;
use wasmtime::component::{self, Component};
use wasmtime::{Instance, Linker, Memory, Module, Store, Trap, TypedFunc, Val};
use wasmtime_wizer::{InstanceState, SnapshotVal, ValType, Wizer};
use wit_component::ComponentEncoder;

/// The export that receives memory for data. It has the parameters of `realloc` with an alignment.
const REALLOC: &str = "cabi_realloc";

/// The export that takes a blob.
const BLOB: &str = "wisp-blob";

/// The export that reads the manifest. It is removed from the module with the data.
const LOAD: &str = "wisp-load";

/// The alignment of blobs in bytes: a cache line, which suits the vectors of every engine.
const BLOB_ALIGNMENT: i32 = 64;

/// The longest duration of reading the data, after which a module is considered to be in an endless loop.
const LOAD_TIME: Duration = Duration::from_secs(600);

/// A core module and the data that it is given. Lifetime: the making of one bundle.
#[derive(Debug, Clone, Copy)]
pub struct Preload<'a> {
    /// The core module, which contains the type of its component.
    pub module: &'a [u8],
    /// The blobs, to which the manifest refers by their positions.
    pub blobs: &'a [&'a [u8]],
    pub manifest: &'a [u8],
}

/// The error for a module that cannot be given its data.
#[derive(Debug, thiserror::Error)]
pub enum PreloadError {
    /// The module refuses the data: it cannot load the model. The text is cut to one line.
    #[error("{0}")]
    Declared(String),
    /// The data does not fit into the memory of the module.
    #[error("its data has {bytes} bytes, more than the module has memory for")]
    TooLarge { bytes: usize },
    /// The module traps, or does not end.
    #[error("it fails while it loads its data: {reason}")]
    Trap { reason: String },
    /// The file is not a module of an edge bundle, or one of another version of Wisp.
    #[error("it is not a module of an edge bundle of this version: {reason}")]
    Contract { reason: String },
    #[error("its state with the data cannot be kept: {reason}")]
    Snapshot { reason: String },
    #[error(transparent)]
    Compile(CompileError),
}

/// An instance of an instrumented module.
struct Loading {
    store: Store<()>,
    instance: Instance,
    memory: Memory,
    realloc: TypedFunc<(i32, i32, i32, i32), i32>,
}

/// Reads the state of an instance of an instrumented module.
struct StateReader<'a> {
    store: &'a mut Store<()>,
    instance: Instance,
    /// The name of the first export that is missing. What is read after it has no meaning.
    missing: Option<String>,
}

impl Preload<'_> {
    /// Returns the component of the module in its state with the data. `engine` needs no pool.
    ///
    /// The machine code of the instrumented module comes from `store`, or is left there for the next time.
    pub fn component(&self, engine: &Engine, store: &AotStore) -> Result<Vec<u8>, PreloadError> {
        let contract = |error: wasmtime::Error| PreloadError::Contract {
            reason: bounded(&format!("{error:#}")),
        };
        let snapshot_error = |error: wasmtime::Error| PreloadError::Snapshot {
            reason: bounded(&format!("{error:#}")),
        };
        let mut wizer = Wizer::new();
        wizer.init_func(LOAD);
        let (context, instrumented) =
            guarded(|| wizer.instrument(self.module)).map_err(contract)?;
        let wrapped = exporting_component(&instrumented);
        let (compiled, _) = store
            .load(engine, &wrapped)
            .map_err(PreloadError::Compile)?;
        let mut loading = Loading::start(engine, &compiled).map_err(contract)?;
        loading.load(self)?;
        let Loading {
            mut store,
            instance,
            ..
        } = loading;
        let mut reader = StateReader {
            store: &mut store,
            instance,
            missing: None,
        };
        let snapshot = guarded(|| {
            let snapshot = ready(wizer.snapshot(&context, &mut reader));
            snapshot.unwrap_or_else(|| Err(wasmtime::Error::msg("reading it would block")))
        });
        if let Some(missing) = reader.missing {
            let missing = wasmtime::Error::msg(format!("there is no `{missing}`"));
            return Err(snapshot_error(missing));
        }
        let snapshot = snapshot.map_err(snapshot_error)?;
        // Only the functions that load the data need these.
        let pruned = remove_unreachable_code(&snapshot, &[BLOB, LOAD]);
        componentize(&pruned.map_err(|error| snapshot_error(error.into()))?)
    }
}

/// Returns the component of a module, which contains its type.
fn componentize(module: &[u8]) -> Result<Vec<u8>, PreloadError> {
    let encoder = ComponentEncoder::default().validate(true).module(module);
    let component = encoder.and_then(|mut encoder| encoder.encode());
    component.map_err(|error| PreloadError::Contract {
        reason: bounded(&format!("{error:#}")),
    })
}

impl Loading {
    /// Instantiates the module that `component` exports. Every import traps.
    fn start(engine: &Engine, component: &Component) -> wasmtime::Result<Loading> {
        let engine = &engine.wasmtime;
        let mut store = Store::new(engine, ());
        let ticks = LOAD_TIME.as_millis() / TICK.as_millis();
        store.set_epoch_deadline(u64::try_from(ticks).unwrap_or(u64::MAX >> 1));
        let module = exported_module(engine, component, &mut store)?;
        let mut linker = Linker::new(engine);
        linker.define_unknown_imports_as_traps(&module)?;
        let instance = linker.instantiate(&mut store, &module)?;
        let memory = instance.get_memory(&mut store, "memory");
        let memory = memory.ok_or_else(|| wasmtime::Error::msg("it exports no `memory`"))?;
        let realloc = instance.get_typed_func(&mut store, REALLOC)?;
        Ok(Loading {
            store,
            instance,
            memory,
            realloc,
        })
    }

    /// Gives the instance its blobs and then its manifest.
    fn load(&mut self, data: &Preload<'_>) -> Result<(), PreloadError> {
        let contract = |error: wasmtime::Error| PreloadError::Contract {
            reason: bounded(&format!("{error:#}")),
        };
        let blob = self
            .instance
            .get_typed_func::<(i32, i32), ()>(&mut self.store, BLOB)
            .map_err(contract)?;
        let load = self
            .instance
            .get_typed_func::<(i32, i32), i32>(&mut self.store, LOAD)
            .map_err(contract)?;
        for bytes in data.blobs {
            let place = self.write(bytes, BLOB_ALIGNMENT)?;
            blob.call(&mut self.store, place).map_err(trapped)?;
        }
        let place = self.write(data.manifest, 1)?;
        match load.call(&mut self.store, place).map_err(trapped)? {
            0 => Ok(()),
            answer => Err(PreloadError::Declared(self.error_text(answer)?)),
        }
    }

    /// Writes bytes to memory that the module allocates. Returns their address and length.
    fn write(&mut self, bytes: &[u8], alignment: i32) -> Result<(i32, i32), PreloadError> {
        let too_large = PreloadError::TooLarge { bytes: bytes.len() };
        let Ok(length) = i32::try_from(bytes.len()) else {
            return Err(too_large);
        };
        // An allocation that fails is a trap of the module.
        let address = self
            .realloc
            .call(&mut self.store, (0, 0, alignment, length))
            .map_err(trapped)?;
        let offset = usize::try_from(address.cast_unsigned()).unwrap_or(usize::MAX);
        match self.memory.write(&mut self.store, offset, bytes) {
            Ok(()) => Ok((address, length)),
            Err(_) => Err(too_large),
        }
    }

    /// Returns the text to which the two numbers at `address` refer.
    fn error_text(&self, address: i32) -> Result<String, PreloadError> {
        let memory = self.memory.data(&self.store);
        let at = |address: usize, length: usize| memory.get(address..)?.get(..length);
        let number = |address: usize| {
            let bytes = at(address, 4)?.first_chunk::<4>()?;
            usize::try_from(u32::from_le_bytes(*bytes)).ok()
        };
        let text = || {
            let address = usize::try_from(address.cast_unsigned()).ok()?;
            at(number(address)?, number(address.checked_add(4)?)?)
        };
        let text = text().ok_or_else(|| PreloadError::Contract {
            reason: format!("`{LOAD}` returns an address outside the memory"),
        })?;
        Ok(bounded(&String::from_utf8_lossy(text)))
    }
}

/// Returns the module that a component of [`exporting_component`] exports.
fn exported_module(
    engine: &wasmtime::Engine,
    component: &Component,
    store: &mut Store<()>,
) -> wasmtime::Result<Module> {
    let instance = component::Linker::new(engine).instantiate(&mut *store, component)?;
    let module = instance.get_module(store, MODULE_EXPORT);
    module.ok_or_else(|| wasmtime::Error::msg("the stored component exports no module"))
}

fn trapped(error: wasmtime::Error) -> PreloadError {
    let reason = match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => format!("it does not end within {} s", LOAD_TIME.as_secs()),
        Some(trap) => trap.to_string(),
        None => format!("{error:#}"),
    };
    PreloadError::Trap {
        reason: bounded(&reason),
    }
}

/// Returns the result of a step of Wizer, whose assertions fail for some valid modules.
fn guarded<T>(step: impl FnOnce() -> wasmtime::Result<T>) -> wasmtime::Result<T> {
    // Nothing that the step has changed is used after a panic.
    let result = catch_unwind(AssertUnwindSafe(step));
    result.unwrap_or_else(|_| Err(wasmtime::Error::msg("it has an unusual form")))
}

/// Returns the output of a future that never waits.
fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).as_mut().poll(&mut context) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

// === impl StateReader ===

impl InstanceState for StateReader<'_> {
    async fn global_get(&mut self, name: &str, type_hint: ValType) -> SnapshotVal {
        let global = self.instance.get_global(&mut *self.store, name);
        let value = global.map(|global| global.get(&mut *self.store));
        match value {
            Some(Val::I32(value)) => SnapshotVal::I32(value),
            Some(Val::I64(value)) => SnapshotVal::I64(value),
            Some(Val::F32(bits)) => SnapshotVal::F32(bits),
            Some(Val::F64(bits)) => SnapshotVal::F64(bits),
            Some(Val::V128(value)) => SnapshotVal::V128(value.as_u128()),
            _ => {
                self.missing.get_or_insert_with(|| name.to_owned());
                zero(type_hint)
            }
        }
    }

    async fn memory_contents(&mut self, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        match self.instance.get_memory(&mut *self.store, name) {
            Some(memory) => contents(memory.data(&*self.store)),
            None => {
                self.missing.get_or_insert_with(|| name.to_owned());
                contents(&[]);
            }
        }
    }
}

/// Returns a zero of this type.
fn zero(value_type: ValType) -> SnapshotVal {
    match value_type {
        ValType::I64 => SnapshotVal::I64(0),
        ValType::F32 => SnapshotVal::F32(0),
        ValType::F64 => SnapshotVal::F64(0),
        ValType::V128 => SnapshotVal::V128(0),
        ValType::I32 | ValType::Ref(_) => SnapshotVal::I32(0),
    }
}

#[cfg(test)]
mod tests;
