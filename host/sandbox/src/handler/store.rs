//! The store of a single call, and the error that a call has ended with.
//!
//! A store is used for one call and dropped with it, whatever the outcome. The two kinds of stores differ
//! in their epochs: at the end of its epochs, the guest of an inline call continues if it has time left,
//! and the guest of a queued one also yields its thread. Its memory is reserved in the budget of its payer.

use super::error::HandlerError;
use super::trap;
use crate::backtrace::GuestBacktrace;
use crate::compute::{Graphs, Payer};
use crate::engine::{Engine, TICK};
use crate::instance::{InstanceState, Unprepared};
use crate::limits::{LimitError, Limits};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

/// Marks an error that occurred during instantiation. Unless the guest trapped in its start function, it
/// is not the cause.
#[derive(Debug, thiserror::Error)]
#[error("failed to create an instance")]
pub(crate) struct Instantiating;

/// Creates a store whose guest runs to completion on the calling thread, or until its time has run out.
pub(super) fn inline_store(
    (engine, payer): (&Engine, &Payer),
    limits: &Limits,
    graphs: Arc<Graphs>,
    deadline: Instant,
) -> Store<InstanceState> {
    let mut store = store((engine, payer), limits, graphs, deadline);
    let left = store.data().time_left().unwrap_or_default();
    store.set_epoch_deadline(ticks(left));
    // `compute` does not use up the guest's time, so some of it may be left.
    store.epoch_deadline_callback(|store| {
        let left = store.data().time_left()?;
        Ok(UpdateDeadline::Continue(ticks(left)))
    });
    store
}

/// Returns the number of epochs that end after this time. The first of them may end immediately.
fn ticks(time: Duration) -> u64 {
    let ticks = time.as_nanos().div_ceil(TICK.as_nanos());
    u64::try_from(ticks).unwrap_or(u64::MAX - 1) + 1
}

/// Creates a store whose guest runs on a fiber and yields the thread at every tick.
pub(crate) fn queued_store(
    (engine, payer): (&Engine, &Payer),
    limits: &Limits,
    graphs: Arc<Graphs>,
    deadline: Instant,
) -> Store<InstanceState> {
    let mut store = store((engine, payer), limits, graphs, deadline);
    // A computation on the thread of its caller is charged there.
    store.data_mut().payer = payer.clone();
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|store| {
        store.data().time_left()?;
        Ok(UpdateDeadline::Yield(1))
    });
    store
}

fn store(
    (engine, payer): (&Engine, &Payer),
    limits: &Limits,
    graphs: Arc<Graphs>,
    deadline: Instant,
) -> Store<InstanceState> {
    let memory = payer.memory.as_ref().unwrap_or(&engine.memory);
    let state = InstanceState::new(limits, memory, graphs, deadline);
    let mut store = Store::new(&engine.wasmtime, state);
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(limits.transfer_bytes);
    store.set_max_component_handles(limits.handles);
    store
}

/// Classifies an error that ended a call without a result from the guest. `panic` is the message of the
/// guest's panic, if it has reported one.
pub(crate) fn handler_error(error: wasmtime::Error, panic: Option<&str>) -> HandlerError {
    if let Some(limit) = error.downcast_ref::<LimitError>() {
        return match limit {
            LimitError::GuestTime { budget } => HandlerError::GuestTime {
                budget: *budget,
                functions: GuestBacktrace::of(&error),
            },
            LimitError::Deadline => HandlerError::Deadline,
            LimitError::Capacity => HandlerError::NoMemory,
            LimitError::Memory { .. }
            | LimitError::Table { .. }
            | LimitError::InvalidTensors { .. }
            | LimitError::Handles { .. } => HandlerError::Failed {
                reason: limit.to_string(),
                functions: GuestBacktrace::of(&error),
            },
        };
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return HandlerError::NoInstance;
    }
    if error.is::<Unprepared>() {
        return HandlerError::Unprepared;
    }
    if error.is::<Instantiating>() && !error.is::<Trap>() {
        return HandlerError::Host(error.into());
    }
    HandlerError::Failed {
        reason: trap::reason(&error, panic),
        functions: GuestBacktrace::of(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineOptions;
    use wasmtime::{Func, Instance, Module};

    const LONG: Duration = Duration::from_secs(60);

    /// Calls a guest inline that computes once and then either returns or runs for ever. The computation
    /// lasts for more epochs than there are in the guest's time, none of which it uses up.
    fn call(
        guest_time: Duration,
        deadline: Duration,
        ends: bool,
    ) -> wasmtime::Result<Result<(), HandlerError>> {
        let engine = Engine::start(&EngineOptions {
            instances: 1,
            ..EngineOptions::default()
        })?;
        let wasm = wat::parse_str(
            r#"(module
                (import "" "compute" (func $compute))
                (func (export "run") (param $ends i32)
                    (call $compute)
                    (loop $forever
                        (br_if $forever (i32.eqz (local.get $ends))))))"#,
        )?;
        let module = Module::new(&engine.wasmtime, wasm)?;
        let limits = Limits {
            guest_time,
            ..Limits::default()
        };
        let deadline = Instant::now() + deadline;
        let payer = Payer::default();
        let mut store = inline_store((&engine, &payer), &limits, Arc::default(), deadline);
        let wasmtime = engine.wasmtime.clone();
        let compute = Func::wrap(&mut store, move || {
            for _ in 0..=ticks(guest_time) {
                wasmtime.increment_epoch();
            }
        });
        let instance = Instance::new(&mut store, &module, &[compute.into()])?;
        let run = instance.get_typed_func::<i32, ()>(&mut store, "run")?;
        let ended = run.call(&mut store, i32::from(ends));
        Ok(ended.map_err(|error| handler_error(error, None)))
    }

    #[test]
    fn a_long_computation_does_not_use_up_the_time_of_an_inline_guest() -> wasmtime::Result<()> {
        call(LONG, 2 * LONG, true)??;
        Ok(())
    }

    #[test]
    fn an_inline_guest_that_runs_for_ever_uses_up_its_time() -> wasmtime::Result<()> {
        let ended = call(TICK, LONG, false)?;
        assert!(
            matches!(ended, Err(HandlerError::GuestTime { .. })),
            "{ended:?}"
        );
        Ok(())
    }

    #[test]
    fn an_inline_guest_that_reaches_its_deadline_has_not_used_up_its_time() -> wasmtime::Result<()>
    {
        let ended = call(LONG, Duration::ZERO, false)?;
        assert!(matches!(ended, Err(HandlerError::Deadline)), "{ended:?}");
        Ok(())
    }
}
