//! The state of an initialized instance, written into its component.
//!
//! wasmtime gives no access to the memories and globals inside a component. So the component is first
//! instrumented with functions that read them; the results of these functions become the initial state of
//! the original component. Machine code is compiled from the result as from any other component, and
//! wasmtime maps its memory copy-on-write into each instance.

use crate::instance::InstanceState;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use wasmtime::Store;
use wasmtime::component::{Instance, Lift, WasmList};
use wasmtime_wizer::{ComponentContext, ComponentInstanceState, Wizer};

/// A component with functions that read its state. Lifetime: one load.
pub(super) struct Instrumented<'a> {
    wizer: Wizer,
    context: ComponentContext<'a>,
    /// The bytes of the instrumented component.
    pub(super) wasm: Vec<u8>,
}

/// Reads the state of an instance of an instrumented component.
struct StateReader<'a> {
    store: &'a mut Store<InstanceState>,
    instance: Instance,
    /// The first failure. What is read after it has no meaning.
    failure: Option<wasmtime::Error>,
}

impl<'a> Instrumented<'a> {
    /// Instruments a component. Fails for forms of components that cannot be given a state: a module that
    /// is instantiated twice, or modules in inner components.
    pub(super) fn new(wasm: &'a [u8]) -> wasmtime::Result<Instrumented<'a>> {
        let wizer = Wizer::new();
        let (context, wasm) = guarded(|| wizer.instrument_component(wasm))?;
        Ok(Instrumented {
            wizer,
            context,
            wasm,
        })
    }

    /// Returns the original component with the state of this instance of the instrumented one.
    pub(super) fn snapshot(
        &self,
        store: &mut Store<InstanceState>,
        instance: Instance,
    ) -> wasmtime::Result<Vec<u8>> {
        // A memory is one transfer of any size.
        store.set_hostcall_fuel(usize::MAX);
        let mut reader = StateReader {
            store,
            instance,
            failure: None,
        };
        let snapshot = guarded(|| {
            let snapshot = ready(self.wizer.snapshot_component(&self.context, &mut reader));
            snapshot.unwrap_or_else(|| Err(wasmtime::Error::msg("reading it would block")))
        });
        match reader.failure {
            Some(failure) => Err(failure),
            None => snapshot,
        }
    }
}

/// Returns the result of a step of Wizer. Its assertions fail for some valid components, such as one with a module
/// that has a memory of its own and no exports.
fn guarded<T>(step: impl FnOnce() -> wasmtime::Result<T>) -> wasmtime::Result<T> {
    // Of what the step has changed, only the first failure is used after a panic.
    let result = catch_unwind(AssertUnwindSafe(step));
    result.unwrap_or_else(|_| {
        Err(wasmtime::Error::msg(
            "it has a module of an unusual form, such as one with a memory and without exports",
        ))
    })
}

/// Returns the output of a future that never waits.
fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).as_mut().poll(&mut context) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

impl StateReader<'_> {
    /// Calls a function without parameters of an exported instance.
    fn call<R: Lift + 'static>(&mut self, instance: &str, function: &str) -> Option<R> {
        if self.failure.is_some() {
            return None;
        }
        match self.try_call(instance, function) {
            Ok(value) => Some(value),
            Err(error) => {
                self.failure = Some(error);
                None
            }
        }
    }

    fn try_call<R: Lift + 'static>(
        &mut self,
        instance: &str,
        function: &str,
    ) -> wasmtime::Result<R> {
        let missing = || wasmtime::Error::msg(format!("`{instance}` lacks `{function}`"));
        let exporting = self
            .instance
            .get_export_index(&mut *self.store, None, instance)
            .ok_or_else(missing)?;
        let index = self
            .instance
            .get_export_index(&mut *self.store, Some(&exporting), function)
            .ok_or_else(missing)?;
        let function = self
            .instance
            .get_typed_func::<(), (R,)>(&mut *self.store, &index)?;
        let (value,) = function.call(&mut *self.store, ())?;
        Ok(value)
    }
}

impl ComponentInstanceState for StateReader<'_> {
    async fn call_func_ret_list_u8(
        &mut self,
        instance: &str,
        func: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        match self.call::<WasmList<u8>>(instance, func) {
            Some(list) => contents(list.as_le_slice(&*self.store)),
            None => contents(&[]),
        }
    }

    async fn call_func_ret_s32(&mut self, instance: &str, func: &str) -> i32 {
        self.call(instance, func).unwrap_or_default()
    }

    async fn call_func_ret_s64(&mut self, instance: &str, func: &str) -> i64 {
        self.call(instance, func).unwrap_or_default()
    }

    async fn call_func_ret_f32(&mut self, instance: &str, func: &str) -> u32 {
        self.call(instance, func)
            .map_or_else(u32::default, f32::to_bits)
    }

    async fn call_func_ret_f64(&mut self, instance: &str, func: &str) -> u64 {
        self.call(instance, func)
            .map_or_else(u64::default, f64::to_bits)
    }
}
