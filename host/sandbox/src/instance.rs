//! A single sandboxed call: its store, its clocks, and the interpretation of its end.
//!
//! A store is used for one call and dropped with it, whatever the outcome. The two kinds of stores differ
//! in the clock: an inline call is interrupted by the epoch at its deadline, and a queued one also yields
//! its thread at every tick.

use crate::engine::{Engine, TICK};
use crate::limits::{GuestClock, Ledger, LimitError, Limits, MemoryMeter};
use crate::nn::{ComputeError, Graphs};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::component::ResourceTable;
use wasmtime::{Store, Trap, UpdateDeadline};
use wisp_tensor::MemoryBudget;

/// The host's state for one instance. Lifetime: one request.
pub(crate) struct InstanceState {
    pub(crate) graphs: Arc<Graphs>,
    pub(crate) table: ResourceTable,
    pub(crate) handle_limit: usize,
    pub(crate) ledger: Ledger,
    pub(crate) deadline: Instant,
    pub(crate) clock: GuestClock,
    /// The guest's running time before its first `compute`; `None` until then.
    pub(crate) preprocess: Option<Duration>,
    pub(crate) queue: Duration,
    pub(crate) compute: Duration,
    pub(crate) invalid_tensors: u32,
    /// The last failure of `compute` that the guest did not cause. It is the reason if the handler then
    /// fails.
    pub(crate) compute_fault: Option<ComputeError>,
    memory: MemoryMeter,
    guest_time: Duration,
}

/// The resources that a call used, whether or not it succeeded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// The running time of the guest's own code.
    pub guest: Duration,
    /// The part of `guest` before the first `compute`; all of it if there was none.
    pub preprocess: Duration,
    /// The time that `compute` calls waited in the queue.
    pub queue: Duration,
    /// The duration of all `compute` calls, without the time in the queue.
    pub compute: Duration,
    /// The largest linear memory, in bytes.
    pub peak_memory_bytes: usize,
}

impl Usage {
    /// Returns the running time of the guest's own code after the first `compute`.
    pub fn postprocess(&self) -> Duration {
        self.guest.saturating_sub(self.preprocess)
    }
}

/// The reason why a call ended without a result from the guest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Interruption {
    /// The guest trapped, on its own or at a limit.
    #[error("{reason}")]
    Trap { reason: String },
    #[error("the guest ran longer than {budget:?}")]
    GuestTime { budget: Duration },
    #[error("the deadline passed during the call")]
    Deadline,
    /// The pool has no free slot.
    #[error("no free instance")]
    NoInstance,
    /// All instances together have used up the memory budget.
    #[error("the server's memory budget is used up")]
    NoMemory,
    /// An inline call needs a graph that would first have to be prepared.
    #[error("a graph is not prepared for inputs of these sizes")]
    Unprepared,
    /// A failure of the host or of wasmtime.
    #[error("the sandbox failed")]
    Host(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Marks an error that occurred during instantiation. Unless the guest trapped in its start function, it
/// is not the cause.
#[derive(Debug, thiserror::Error)]
#[error("failed to make an instance")]
pub(crate) struct Instantiating;

/// Ends an inline call that would block its thread.
#[derive(Debug, thiserror::Error)]
#[error("a graph is not prepared for inputs of these sizes")]
pub(crate) struct Unprepared;

impl InstanceState {
    fn new(
        limits: &Limits,
        budget: &Arc<MemoryBudget>,
        graphs: Arc<Graphs>,
        deadline: Instant,
    ) -> InstanceState {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        InstanceState {
            graphs,
            table,
            handle_limit: limits.handles,
            ledger: Ledger::new(limits.host_bytes, budget),
            deadline,
            clock: GuestClock::start(),
            preprocess: None,
            queue: Duration::ZERO,
            compute: Duration::ZERO,
            invalid_tensors: 0,
            compute_fault: None,
            memory: MemoryMeter::new(limits, budget),
            guest_time: limits.guest_time,
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        let guest = self.clock.elapsed();
        Usage {
            guest,
            preprocess: self.preprocess.unwrap_or(guest),
            queue: self.queue,
            compute: self.compute,
            peak_memory_bytes: self.memory.peak_bytes,
        }
    }

    fn interruption(&self) -> Option<LimitError> {
        if self.clock.elapsed() > self.guest_time {
            return Some(LimitError::GuestTime {
                budget: self.guest_time,
            });
        }
        (Instant::now() >= self.deadline).then_some(LimitError::Deadline)
    }
}

impl std::fmt::Debug for InstanceState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InstanceState").finish_non_exhaustive()
    }
}

/// Creates a store whose guest runs to completion on the calling thread, or until the epoch of its
/// deadline.
pub(crate) fn inline_store(
    engine: &Engine,
    limits: &Limits,
    graphs: Arc<Graphs>,
    deadline: Instant,
) -> Store<InstanceState> {
    let mut store = store(engine, limits, graphs, deadline);
    let left = deadline
        .saturating_duration_since(Instant::now())
        .min(limits.guest_time);
    let ticks = left.as_nanos().div_ceil(TICK.as_nanos());
    // The first tick may come immediately.
    store.set_epoch_deadline(u64::try_from(ticks).unwrap_or(u64::MAX - 1) + 1);
    store.epoch_deadline_trap();
    store
}

/// Creates a store whose guest runs on a fiber and yields the thread at every tick.
pub(crate) fn queued_store(
    engine: &Engine,
    limits: &Limits,
    graphs: Arc<Graphs>,
    deadline: Instant,
) -> Store<InstanceState> {
    let mut store = store(engine, limits, graphs, deadline);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|store| match store.data().interruption() {
        Some(limit) => Err(limit.into()),
        None => Ok(UpdateDeadline::Yield(1)),
    });
    store
}

fn store(
    engine: &Engine,
    limits: &Limits,
    graphs: Arc<Graphs>,
    deadline: Instant,
) -> Store<InstanceState> {
    let state = InstanceState::new(limits, &engine.memory, graphs, deadline);
    let mut store = Store::new(&engine.wasmtime, state);
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(limits.transfer_bytes);
    store.set_max_component_handles(limits.handles);
    store
}

/// Classifies an error that ended a call.
pub(crate) fn interruption(error: wasmtime::Error, state: &InstanceState) -> Interruption {
    if let Some(limit) = error.downcast_ref::<LimitError>() {
        return match limit {
            LimitError::GuestTime { budget } => Interruption::GuestTime { budget: *budget },
            LimitError::Deadline => Interruption::Deadline,
            LimitError::Capacity => Interruption::NoMemory,
            LimitError::Memory { .. }
            | LimitError::Table { .. }
            | LimitError::InvalidTensors { .. }
            | LimitError::Handles { .. } => Interruption::Trap {
                reason: limit.to_string(),
            },
        };
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return Interruption::NoInstance;
    }
    if error.is::<Unprepared>() {
        return Interruption::Unprepared;
    }
    if error.is::<Instantiating>() && !error.is::<Trap>() {
        return Interruption::Host(error.into());
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) if Instant::now() >= state.deadline => Interruption::Deadline,
        Some(Trap::Interrupt) => Interruption::GuestTime {
            budget: state.guest_time,
        },
        Some(trap) => Interruption::Trap {
            reason: trap.to_string(),
        },
        None => Interruption::Trap {
            reason: error.root_cause().to_string(),
        },
    }
}
