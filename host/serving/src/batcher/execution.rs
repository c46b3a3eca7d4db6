//! The computation of a batch: joining inputs, splitting outputs, and the search for requests that fail.

use super::graph_statistics::{ExecutionTimes, GraphStatistics};
use super::rerun::rerun;
use super::turn::{Member, RunningBatch};
use crate::call_durations::CallDurations;
use crate::expected_wait::ExpectedWait;
use crate::owner::Owner;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use wisp_backend::{BackendError, Cancellation, Graph};
use wisp_sandbox::compute::{ComputeError, ComputeMeter, Computed};
use wisp_tensor::NamedTensor;
use wisp_tensor::batch::{split_parts, stack};

/// The result of a request.
pub(super) type ComputeResult = Result<Computed, ComputeError>;

/// A request that waits or is computed. Lifetime: one request.
pub(super) struct Entry {
    pub(super) inputs: Vec<NamedTensor>,
    pub(super) rows: u32,
    pub(super) owner: Owner,
    pub(super) deadline: Instant,
    pub(super) submitted: Instant,
    /// Set if all threads were busy when the request was submitted.
    pub(super) has_to_wait: bool,
    /// The part of the request in the time of all executions so far that it was a member of, by its rows.
    pub(super) computed: Duration,
    /// The meter that is charged for these parts as they are spent, if there is one.
    pub(super) meter: Option<Arc<dyn ComputeMeter>>,
    pub(super) member: Arc<Member>,
    /// The channel to the caller. It is closed if the caller has gone.
    pub(super) response: oneshot::Sender<ComputeResult>,
}

/// A result on its way to its caller.
pub(super) struct Delivery {
    pub(super) response: oneshot::Sender<ComputeResult>,
    pub(super) result: ComputeResult,
}

/// A graph with the measurements of its computations. Lifetime: a model version.
#[derive(Debug)]
pub(super) struct Executor {
    pub(super) graph: Arc<dyn Graph>,
    /// Set as long as requests may be joined.
    pub(super) may_join: AtomicBool,
    /// The expected wait for a thread, including the time of the computation.
    pub(super) wait: Arc<ExpectedWait>,
    pub(super) durations: CallDurations,
    pub(super) statistics: Arc<GraphStatistics>,
}

/// A batch while it is computed.
struct Execution<'a> {
    executor: &'a Executor,
    batch: &'a RunningBatch,
    started: Instant,
    /// The members without a result, by position.
    entries: Vec<Option<Entry>>,
    deliver: &'a mut dyn FnMut(Delivery),
}

// === impl Executor ===

impl Executor {
    /// Computes the members of a batch, except for those whose caller has gone or that have waited for too long, and
    /// delivers their results.
    pub(super) fn execute(
        &self,
        entries: Vec<Entry>,
        batch: &RunningBatch,
        deliver: &mut dyn FnMut(Delivery),
    ) {
        let started = Instant::now();
        let mut members = Vec::with_capacity(entries.len());
        for entry in entries {
            let is_late = || self.wait.check_start(started, entry.deadline).is_err();
            if entry.response.is_closed() {
                continue;
            }
            match entry.has_to_wait && is_late() {
                true => entry.finish(Err(ComputeError::WouldMissDeadline), deliver),
                false => members.push(Some(entry)),
            }
        }
        let count = members.len();
        if count == 0 {
            return;
        }
        let mut execution = Execution {
            executor: self,
            batch,
            started,
            entries: members,
            deliver,
        };
        let all: Vec<usize> = (0..count).collect();
        if !execution.run(&all) && count > 1 {
            rerun(count, &mut |members| execution.run(members));
        }
        let took = started.elapsed();
        self.wait.record(took, count);
        if count == 1 {
            self.durations.add(took);
        }
    }

    /// Computes on this thread.
    fn compute(
        &self,
        inputs: &[NamedTensor],
        cancellation: &Cancellation,
    ) -> Result<Vec<NamedTensor>, ComputeError> {
        let compute = || self.graph.compute_cancellable(inputs, cancellation);
        // A request that makes a backend panic fails alone, as one that makes it return an error.
        match catch_unwind(AssertUnwindSafe(compute)) {
            Ok(computed) => computed.map_err(compute_error),
            Err(_) => Err(ComputeError::Backend("the computation panicked".to_owned())),
        }
    }

    /// Computes several requests together, and returns the outputs of each.
    fn compute_joined(
        &self,
        members: &[&Entry],
        cancellation: &Cancellation,
    ) -> Result<Vec<Vec<NamedTensor>>, ComputeError> {
        let started = Instant::now();
        let inputs = join(members)?;
        let joined = Instant::now();
        let outputs = self.compute(&inputs, cancellation)?;
        let computed = Instant::now();
        let sizes: Vec<u32> = members.iter().map(|member| member.rows).collect();
        let split = split(outputs, &sizes).inspect_err(|error| {
            // The graph does not behave as its file shows.
            if self.may_join.swap(false, Relaxed) {
                tracing::warn!(%error, "requests for a graph are no longer joined");
            }
        })?;
        let times = ExecutionTimes {
            join: joined.duration_since(started),
            compute: computed.duration_since(joined),
            split: computed.elapsed(),
        };
        let rows = sizes.iter().copied().map(u64::from).sum();
        self.statistics.add(rows, times);
        Ok(split)
    }

    /// Counts the successful computation of a single request.
    pub(super) fn count_single(&self, rows: u32, compute: Duration) {
        let times = ExecutionTimes {
            compute,
            ..ExecutionTimes::default()
        };
        self.statistics.add(u64::from(rows), times);
    }
}

// === impl Execution ===

impl Execution<'_> {
    /// Computes the members at these positions together, as far as their callers wait for them. Returns whether that
    /// succeeded. A member has its result once it has succeeded, or failed alone.
    fn run(&mut self, positions: &[usize]) -> bool {
        // Looked at once: a caller that leaves in the meantime must not move the results of others.
        let waited_for = positions.iter().filter_map(|position| {
            let entry = self.entries.get(*position)?.as_ref()?;
            (!entry.response.is_closed()).then_some((*position, entry))
        });
        let (positions, members): (Vec<usize>, Vec<&Entry>) = waited_for.unzip();
        let cancellation = &self.batch.cancellation;
        let began = Instant::now();
        let results: Option<Vec<Result<Vec<NamedTensor>, ComputeError>>> = match members.as_slice()
        {
            // Nobody waits for a result.
            [] => return true,
            _ if cancellation.is_cancelled() => return true,
            [member] => {
                let computed = self.executor.compute(&member.inputs, cancellation);
                if computed.is_ok() {
                    self.executor.count_single(member.rows, began.elapsed());
                }
                Some(vec![computed])
            }
            members => {
                let computed = self.executor.compute_joined(members, cancellation);
                computed.ok().map(|all| all.into_iter().map(Ok).collect())
            }
        };
        self.charge(&positions, began.elapsed());
        let Some(results) = results else {
            return false;
        };
        let has_succeeded = results.iter().all(Result::is_ok);
        for (position, result) in positions.into_iter().zip(results) {
            if let Some(entry) = self.entries.get_mut(position).and_then(Option::take) {
                let result = result.map(|outputs| Computed {
                    outputs,
                    queue: self.started.saturating_duration_since(entry.submitted),
                    backend: entry.computed,
                });
                entry.finish(result, self.deliver);
            }
        }
        has_succeeded
    }

    /// Adds the parts of the members at these positions in the time of an execution, whether or not it succeeded. Members
    /// whose callers have gone meanwhile are charged too.
    fn charge(&mut self, positions: &[usize], took: Duration) {
        let members = positions.iter();
        let rows: Vec<u32> = members
            .map(|position| {
                let entry = self.entries.get(*position).and_then(Option::as_ref);
                entry.map_or(0, |entry| entry.rows)
            })
            .collect();
        for (position, part) in positions.iter().zip(parts_by_rows(took, &rows)) {
            if let Some(Some(entry)) = self.entries.get_mut(*position) {
                entry.computed = entry.computed.saturating_add(part);
                if let Some(meter) = &entry.meter {
                    meter.add_compute(part);
                }
            }
        }
    }
}

// === impl Entry ===

impl Entry {
    /// Delivers the result. The caller may have gone; the result is then dropped.
    pub(super) fn finish(self, result: ComputeResult, deliver: &mut dyn FnMut(Delivery)) {
        let Entry {
            meter,
            member,
            response,
            ..
        } = self;
        // The usage is complete before the caller goes on.
        drop(meter);
        member.finish();
        deliver(Delivery { response, result });
    }
}

impl Delivery {
    /// Sends the result to its caller, which may have gone.
    pub(super) fn send(self) {
        let _ = self.response.send(self.result);
    }
}

/// Returns the parts of the members of an execution in its time, which have these numbers of rows. A member without rows
/// counts as one of a single row.
fn parts_by_rows(took: Duration, rows: &[u32]) -> Vec<Duration> {
    let all: u64 = rows.iter().map(|rows| u64::from((*rows).max(1))).sum();
    let nanoseconds = took.as_nanos();
    let parts = rows.iter().map(|rows| {
        let part = nanoseconds.saturating_mul(u128::from((*rows).max(1))) / u128::from(all.max(1));
        Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX))
    });
    parts.collect()
}

/// Returns the inputs of all members as one batch. They have the same names, in the same order.
fn join(members: &[&Entry]) -> Result<Vec<NamedTensor>, ComputeError> {
    let Some(first) = members.first() else {
        return Err(ComputeError::Backend("there are no requests".to_owned()));
    };
    let joined = first.inputs.iter().enumerate().map(|(position, named)| {
        let tensors = members
            .iter()
            .filter_map(|member| member.inputs.get(position));
        let tensors: Vec<_> = tensors.map(|input| input.tensor.clone()).collect();
        let tensor = stack(&tensors).map_err(|error| ComputeError::Backend(error.to_string()))?;
        let name = named.name.clone();
        Ok(NamedTensor { name, tensor })
    });
    joined.collect()
}

/// Returns the outputs of each request, which has these numbers of rows.
fn split(outputs: Vec<NamedTensor>, sizes: &[u32]) -> Result<Vec<Vec<NamedTensor>>, ComputeError> {
    let mut requests: Vec<Vec<NamedTensor>> = sizes.iter().map(|_| Vec::new()).collect();
    for NamedTensor { name, tensor } in outputs {
        let parts = split_parts(&tensor, sizes).map_err(|error| {
            ComputeError::Backend(format!(
                "output `{name}` of a batch cannot be split: {error}"
            ))
        })?;
        for (request, tensor) in requests.iter_mut().zip(parts) {
            let name = name.clone();
            request.push(NamedTensor { name, tensor });
        }
    }
    Ok(requests)
}

/// Returns the error for the caller of a computation.
pub(super) fn compute_error(error: BackendError) -> ComputeError {
    match error {
        BackendError::Inputs {
            ref explanation, ..
        } => ComputeError::Inputs {
            explanation: explanation.clone(),
            reason: error.to_string(),
        },
        BackendError::Overloaded { .. } => ComputeError::NoMemory,
        BackendError::Cancelled => ComputeError::Deadline,
        BackendError::Unknown { .. }
        | BackendError::Unavailable { .. }
        | BackendError::Read(_)
        | BackendError::Load { .. }
        | BackendError::Compute { .. } => ComputeError::Backend(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_an_execution_are_its_time_by_rows() {
        let took = Duration::from_millis(12);
        let parts = parts_by_rows(took, &[1, 2, 3]);
        assert_eq!(parts, [2, 4, 6].map(Duration::from_millis));
        assert_eq!(parts_by_rows(took, &[7]), [took]);
        // A request without rows takes part too.
        assert_eq!(parts_by_rows(took, &[0, 5])[0], Duration::from_millis(2));
        assert!(parts_by_rows(took, &[]).is_empty());
    }

    #[test]
    fn the_parts_of_a_long_execution_add_up_to_it() {
        let took = Duration::from_secs(3600);
        let rows: Vec<u32> = (1..500).collect();
        let sum: Duration = parts_by_rows(took, &rows).iter().sum();
        assert!(sum <= took);
        assert!(took - sum < Duration::from_nanos(500));
    }
}
