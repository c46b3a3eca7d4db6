//! The host's state for one sandboxed call.

use crate::compute::{ComputeError, ComputeOptions, Graphs, Payer};
use crate::configuration::HandlerConfiguration;
use crate::guest_clock::GuestClock;
use crate::limits::{LimitError, Limits, MemoryMeter, TensorBudget};
use crate::logging::LogMeter;
use crate::web::context::WebContext;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use wasmtime::component::ResourceTable;
use wisp_tensor::MemoryBudget;

/// The host's state for one instance. Lifetime: one request.
pub(crate) struct InstanceState {
    pub(crate) graphs: Arc<Graphs>,
    /// `None` if the handler is called without the settings and files of a model.
    pub(crate) configuration: Option<Arc<HandlerConfiguration>>,
    pub(crate) table: ResourceTable,
    pub(crate) handle_limit: usize,
    pub(crate) tensor_budget: TensorBudget,
    pub(crate) deadline: Instant,
    /// The priority level of the computations; 0 for the default one.
    pub(crate) priority: u32,
    /// The time that each computation may wait in its queue; `None` for the graph's own.
    pub(crate) queue_timeout: Option<Duration>,
    /// The party that is charged for the computations.
    pub(crate) payer: Payer,
    /// The time at which the call began, for the guest.
    pub(crate) started: SystemTime,
    pub(crate) clock: GuestClock,
    /// The time that the creation of the instance took.
    instantiation: Duration,
    /// The guest's running time before its first `compute`; `None` until then.
    pub(crate) preprocess: Option<Duration>,
    pub(crate) queue: Duration,
    pub(crate) compute: Duration,
    pub(crate) backend: Duration,
    pub(crate) invalid_tensors: u32,
    /// The last failure of `compute` that the guest did not cause. It is the reason if the handler then
    /// fails.
    pub(crate) compute_error: Option<ComputeError>,
    pub(crate) memory: MemoryMeter,
    pub(crate) log: LogMeter,
    /// The state of the WASI interfaces of a web component; `None` for a handler.
    pub(crate) web: Option<Box<WebContext>>,
    guest_time: Duration,
}

/// The resources that a call used, whether or not it succeeded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// The running time of the guest's own code.
    pub guest: Duration,
    /// The part of `guest` before the first `compute`; all of it if there was none.
    pub preprocess: Duration,
    /// The part of `preprocess` in which the instance was created, with the start function of its module.
    pub instantiation: Duration,
    /// The time that `compute` calls waited in the queue.
    pub queue: Duration,
    /// The duration of all `compute` calls, without the time in the queue.
    pub compute: Duration,
    /// The time for which graphs computed for this call. It is less than `compute` if its computations were joined with
    /// those of other calls, whose parts are not included.
    pub backend: Duration,
    /// The size of all linear memories at the end, in bytes.
    pub peak_memory_bytes: usize,
}

impl Usage {
    /// Returns the running time of the guest's own code after the first `compute`.
    pub fn postprocess(&self) -> Duration {
        self.guest.saturating_sub(self.preprocess)
    }
}

/// Ends an inline call that would block its thread.
#[derive(Debug, thiserror::Error)]
#[error("a graph is not prepared for inputs of these sizes")]
pub(crate) struct Unprepared;

impl InstanceState {
    pub(crate) fn new(
        limits: &Limits,
        budget: &Arc<MemoryBudget>,
        graphs: Arc<Graphs>,
        deadline: Instant,
    ) -> InstanceState {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        InstanceState {
            graphs,
            configuration: None,
            table,
            handle_limit: limits.handles,
            tensor_budget: TensorBudget::new(limits.tensor_bytes, budget),
            deadline,
            priority: 0,
            queue_timeout: None,
            payer: Payer::default(),
            started: SystemTime::now(),
            clock: GuestClock::start(),
            instantiation: Duration::ZERO,
            preprocess: None,
            queue: Duration::ZERO,
            compute: Duration::ZERO,
            backend: Duration::ZERO,
            invalid_tensors: 0,
            compute_error: None,
            memory: MemoryMeter::new(limits, budget),
            log: LogMeter::new(limits.log_bytes),
            web: None,
            guest_time: limits.guest_time,
        }
    }

    /// Returns the options of the computations of this call.
    pub(crate) fn compute_options(&self) -> ComputeOptions {
        ComputeOptions {
            deadline: self.deadline,
            priority: self.priority,
            queue_timeout: self.queue_timeout,
            payer: self.payer.clone(),
        }
    }

    /// Records that the instance has been created. Nothing but its creation has been charged to the clock.
    pub(crate) fn finish_instantiation(&mut self) {
        self.instantiation = self.clock.elapsed();
    }

    pub(crate) fn usage(&self) -> Usage {
        let guest = self.clock.elapsed();
        Usage {
            guest,
            preprocess: self.preprocess.unwrap_or(guest),
            instantiation: self.instantiation,
            queue: self.queue,
            compute: self.compute,
            backend: self.backend,
            peak_memory_bytes: self.memory.peak_bytes,
        }
    }

    /// Returns the time that the guest may still run without a pause, or the limit that it has reached.
    pub(crate) fn time_left(&self) -> Result<Duration, LimitError> {
        // Checked first: a call that was delayed beyond its deadline is not the guest's fault alone, and an
        // inline one can be repeated.
        let now = Instant::now();
        let deadline_left = self.deadline.saturating_duration_since(now);
        if deadline_left.is_zero() {
            return Err(LimitError::Deadline);
        }
        let budget = self.guest_time;
        let guest_left = budget.checked_sub(self.clock.used_at(now));
        let guest_left = guest_left.ok_or(LimitError::GuestTime { budget })?;
        Ok(guest_left.min(deadline_left))
    }
}

impl std::fmt::Debug for InstanceState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InstanceState").finish_non_exhaustive()
    }
}
