//! A graph that computes the rows of a batch one by one, on several threads, if that is faster.
//!
//! tract fuses convolutions only for a batch of one, so eight rows together can take four times as long as
//! eight single rows. Other graphs are faster with many rows at once. It depends on the graph and on the
//! sizes besides the batch. For each new set of such sizes, a few rows of the first batch are therefore
//! computed both ways, and the faster way is kept.
//!
//! Only a graph whose rows are independent is computed in this way, as its file shows. No result of a computation
//! decides that. The same holds for batches without rows, whose outputs are the same as for one row, without its axis.

use crate::worker_pool::{WorkerOptions, WorkerPool, WorkerQueue};
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wisp_backend::{Backend, BackendError, Cancellation, Graph, LoadOptions, ModelSource, Rows};
use wisp_tensor::batch::{split, stack};
use wisp_tensor::{Dimension, NamedTensor, Shape, Signature, Tensor, TensorError};

/// The number of rows that are computed both ways, which is enough to show the cost of batches.
const TRIED_ROWS: usize = 4;

/// The time above which a row is tried with only one other row, since a client waits.
const LONG_ROW: Duration = Duration::from_millis(20);

/// The number of times that each way is tried.
const TRIES: usize = 3;

/// The total time of tries after which no further one is made.
const LONG_TRIES: Duration = Duration::from_millis(200);

/// The maximum number of stored decisions. Batches of further sizes are computed whole.
const MAX_DECISIONS: usize = 256;

/// A graph of independent rows and its decisions on batches. Lifetime: a model version.
#[derive(Debug)]
struct PerRowGraph {
    graph: Arc<dyn Graph>,
    /// Set if rows may be computed faster one by one.
    may_split: bool,
    /// The jobs that help the thread of the caller; `None` if only one thread is allowed.
    helpers: Option<WorkerQueue>,
    decisions: Mutex<HashMap<Vec<u32>, BatchMode>>,
}

/// The way in which a batch is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BatchMode {
    /// All rows together.
    Whole,
    /// Each row alone.
    PerRow,
}

/// The rows of a batch while several threads compute them.
struct Batch {
    rows: Vec<Vec<NamedTensor>>,
    next: AtomicUsize,
    cancellation: Cancellation,
}

type RowResult = (usize, Result<Vec<NamedTensor>, BackendError>);

/// Loads the graph at `path` with `backend`. If the rows of a batch are independent and the backend may compute
/// them faster one by one, each batch is computed the faster way, on up to as many threads as the options allow,
/// besides the thread of the caller the threads of `pool`.
pub fn load_graph(
    backend: &dyn Backend,
    path: &Path,
    options: &LoadOptions,
    pool: &Arc<WorkerPool>,
) -> Result<Arc<dyn Graph>, BackendError> {
    let graph = backend.load(ModelSource::Path(path), options)?;
    Ok(with_rows(backend, graph, options.threads, pool))
}

/// Returns a graph that `backend` has loaded, with the rows of batches computed one by one if they are
/// independent and the backend may be faster so.
pub(crate) fn with_rows(
    backend: &dyn Backend,
    graph: Arc<dyn Graph>,
    threads: NonZeroUsize,
    pool: &Arc<WorkerPool>,
) -> Arc<dyn Graph> {
    if !has_independent_rows(&*graph) {
        return graph;
    }
    match backend.rows_may_be_faster() {
        true => split_where_faster(graph, threads, pool),
        false => Arc::new(PerRowGraph::whole(graph)),
    }
}

/// Returns whether axis 0 of all inputs and outputs is a batch of independent rows.
pub(crate) fn has_independent_rows(graph: &dyn Graph) -> bool {
    let signature = graph.signature();
    // An input that a request may omit has a fixed number of rows.
    let may_be_omitted = signature.inputs.iter().any(|input| input.optional);
    !signature.inputs.is_empty()
        && signature.has_batch_axis()
        && !may_be_omitted
        && graph.rows().are_independent()
}

/// Returns `graph` with each batch computed the faster way, on up to `threads` threads. Returns the graph
/// unchanged if the rows of axis 0 are not independent.
fn split_where_faster(
    graph: Arc<dyn Graph>,
    threads: NonZeroUsize,
    pool: &Arc<WorkerPool>,
) -> Arc<dyn Graph> {
    if !has_independent_rows(&*graph) {
        return graph;
    }
    let helpers = NonZeroUsize::new(threads.get() - 1);
    let helpers = helpers.map(|threads| pool.queue(WorkerOptions { threads, queue: 64 }));
    Arc::new(PerRowGraph {
        may_split: true,
        helpers,
        ..PerRowGraph::whole(graph)
    })
}

// === impl PerRowGraph ===

impl PerRowGraph {
    /// Returns the graph with each batch computed whole.
    fn whole(graph: Arc<dyn Graph>) -> PerRowGraph {
        PerRowGraph {
            graph,
            may_split: false,
            helpers: None,
            decisions: Mutex::default(),
        }
    }

    /// Returns one row that the graph computes, if all inputs have the same sizes in every request.
    fn sample_row(&self) -> Option<Vec<NamedTensor>> {
        let inputs = self.graph.signature().inputs.iter();
        let mut inner = inputs.flat_map(|spec| spec.shape.iter().skip(1));
        match inner.any(|size| *size == Dimension::Variable) {
            true => None,
            false => self.graph.sample_inputs().ok(),
        }
    }

    /// Returns the decision for these sizes besides the batch, if there is one.
    fn decided(&self, sizes: &[u32]) -> Option<BatchMode> {
        let decisions = self.decisions();
        match decisions.get(sizes) {
            Some(mode) => Some(*mode),
            None if decisions.len() >= MAX_DECISIONS => Some(BatchMode::Whole),
            None => None,
        }
    }

    fn decisions(&self) -> MutexGuard<'_, HashMap<Vec<u32>, BatchMode>> {
        // No code panics while the lock is held.
        self.decisions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the decision for these inputs of `rows` rows, which is made now if there is none.
    fn mode(&self, inputs: &[NamedTensor], rows: usize, cancellation: &Cancellation) -> BatchMode {
        let sizes = inner_sizes(inputs);
        if let Some(mode) = self.decided(&sizes) {
            return mode;
        }
        let mode = match self.try_both(inputs, rows, cancellation) {
            Some((whole, rows)) if rows < whole.mul_f64(0.9) => BatchMode::PerRow,
            // The next call tries again.
            None if cancellation.is_cancelled() => return BatchMode::Whole,
            _ => BatchMode::Whole,
        };
        self.decisions().insert(sizes, mode);
        mode
    }

    /// Returns the times of the first few rows together and one by one. Returns `None` if either way
    /// fails.
    fn try_both(
        &self,
        inputs: &[NamedTensor],
        rows: usize,
        cancellation: &Cancellation,
    ) -> Option<(Duration, Duration)> {
        let compute = |inputs: &[NamedTensor]| {
            let outputs = self.graph.compute_cancellable(inputs, cancellation);
            outputs.ok()
        };
        let mut rows = rows_of(inputs, rows.min(TRIED_ROWS)).ok()?;
        // The first run of each kind includes a preparation and is not timed.
        compute(rows.first()?)?;
        let started = Instant::now();
        compute(rows.first()?)?;
        if started.elapsed() > LONG_ROW {
            rows.truncate(2);
        }
        let together = stack_rows(&rows).ok()?;
        compute(&together)?;
        let (mut together_took, mut rows_took) = (Duration::MAX, Duration::MAX);
        let tries = Instant::now();
        for _ in 0..TRIES {
            let started = Instant::now();
            compute(&together)?;
            together_took = together_took.min(started.elapsed());
            let started = Instant::now();
            self.compute_rows(rows.clone(), cancellation).ok()?;
            rows_took = rows_took.min(started.elapsed());
            if tries.elapsed() > LONG_TRIES {
                break;
            }
        }
        Some((together_took, rows_took))
    }

    fn compute_rows(
        &self,
        rows: Vec<Vec<NamedTensor>>,
        cancellation: &Cancellation,
    ) -> Result<Vec<NamedTensor>, BackendError> {
        let count = rows.len();
        let batch = Arc::new(Batch {
            rows,
            next: AtomicUsize::new(0),
            cancellation: cancellation.clone(),
        });
        let (send, results) = channel();
        if let Some(helpers) = &self.helpers {
            for _ in 1..count.min(helpers.threads() + 1) {
                let (batch, graph, send) =
                    (Arc::clone(&batch), Arc::clone(&self.graph), send.clone());
                // If the queue is full, other batches are being computed, and this thread computes all rows.
                if helpers
                    .submit(move || batch.compute(&*graph, &send))
                    .is_err()
                {
                    break;
                }
            }
        }
        batch.compute(&*self.graph, &send);
        drop(send);
        let mut ordered: Vec<Option<Vec<NamedTensor>>> = (0..count).map(|_| None).collect();
        // A helper that has not started yet also holds a sender, but is not waited for.
        for (position, result) in results.iter().take(count) {
            ordered[position] = Some(result?);
        }
        let ordered: Option<Vec<Vec<NamedTensor>>> = ordered.into_iter().collect();
        let ordered = ordered.ok_or_else(|| failed("the computation of a row was lost"))?;
        stack_rows(&ordered)
    }
}

impl Graph for PerRowGraph {
    fn signature(&self) -> &Signature {
        self.graph.signature()
    }

    fn rows(&self) -> Rows {
        self.graph.rows()
    }

    fn compute(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
        self.compute_cancellable(inputs, &Cancellation::new())
    }

    fn compute_prepared(
        &self,
        inputs: &[NamedTensor],
    ) -> Option<Result<Vec<NamedTensor>, BackendError>> {
        self.compute_prepared_cancellable(inputs, &Cancellation::new())
    }

    fn compute_cancellable(
        &self,
        inputs: &[NamedTensor],
        cancellation: &Cancellation,
    ) -> Result<Vec<NamedTensor>, BackendError> {
        let compute = |inputs: &[NamedTensor]| self.graph.compute_cancellable(inputs, cancellation);
        match batch_size(inputs) {
            Some(0) => match self.sample_row() {
                Some(row) => compute(&row).and_then(without_rows),
                None => compute(inputs),
            },
            Some(rows @ 2..)
                if self.may_split && self.mode(inputs, rows, cancellation) == BatchMode::PerRow =>
            {
                self.compute_rows(rows_of(inputs, rows)?, cancellation)
            }
            _ => compute(inputs),
        }
    }

    fn compute_prepared_cancellable(
        &self,
        inputs: &[NamedTensor],
        cancellation: &Cancellation,
    ) -> Option<Result<Vec<NamedTensor>, BackendError>> {
        let compute = |inputs: &[NamedTensor]| {
            self.graph
                .compute_prepared_cancellable(inputs, cancellation)
        };
        let rows = match batch_size(inputs) {
            Some(0) => {
                return match self.sample_row() {
                    Some(row) => compute(&row).map(|outputs| outputs.and_then(without_rows)),
                    None => compute(inputs),
                };
            }
            Some(rows @ 2..) if self.may_split => rows,
            _ => return compute(inputs),
        };
        match self.decided(&inner_sizes(inputs))? {
            BatchMode::Whole => compute(inputs),
            BatchMode::PerRow => {
                let rows = match rows_of(inputs, rows) {
                    Ok(rows) => rows,
                    Err(error) => return Some(Err(error)),
                };
                let results = rows.iter().map(|row| compute(row));
                // All rows have the same sizes: if the first is prepared, so are the others.
                let results: Option<Result<Vec<_>, _>> = results.collect();
                Some(results?.and_then(|results| stack_rows(&results)))
            }
        }
    }

    fn sample_inputs(&self) -> Result<Vec<NamedTensor>, TensorError> {
        self.graph.sample_inputs()
    }

    fn forget_preparation(&self, inputs: &[NamedTensor]) {
        self.graph.forget_preparation(inputs);
    }

    fn preparation_capacity(&self) -> Option<NonZeroUsize> {
        self.graph.preparation_capacity()
    }

    fn wrong_declarations(&self) -> &[String] {
        self.graph.wrong_declarations()
    }
}

impl Batch {
    /// Computes rows that no thread has started yet, until there are none.
    fn compute(&self, graph: &dyn Graph, results: &Sender<RowResult>) {
        loop {
            let position = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(row) = self.rows.get(position) else {
                return;
            };
            let result = graph.compute_cancellable(row, &self.cancellation);
            let failed = result.is_err();
            if results.send((position, result)).is_err() || failed {
                // The other rows are not needed any more.
                self.next.store(self.rows.len(), Ordering::Relaxed);
                return;
            }
        }
    }
}

/// Returns the batch size of the inputs, if they all have the same.
pub(crate) fn batch_size(inputs: &[NamedTensor]) -> Option<usize> {
    let size = |input: &NamedTensor| input.tensor.shape().dimensions().first().copied();
    let first = size(inputs.first()?)?;
    let same = inputs.iter().all(|input| size(input) == Some(first));
    same.then_some(first as usize)
}

/// Returns the sizes of the axes besides the batch, input by input.
fn inner_sizes(inputs: &[NamedTensor]) -> Vec<u32> {
    let mut sizes = Vec::new();
    for input in inputs {
        sizes.extend(input.tensor.shape().dimensions().iter().skip(1));
        // No axis has this size; it separates the sizes of inputs.
        sizes.push(u32::MAX);
    }
    sizes
}

/// Returns the inputs of each of the first `count` rows.
fn rows_of(inputs: &[NamedTensor], count: usize) -> Result<Vec<Vec<NamedTensor>>, BackendError> {
    let mut rows: Vec<Vec<NamedTensor>> = (0..count).map(|_| Vec::new()).collect();
    for NamedTensor { name, tensor } in inputs {
        let tensors = split(tensor).map_err(|error| failed(&error.to_string()))?;
        for (row, tensor) in rows.iter_mut().zip(tensors) {
            let name = name.clone();
            row.push(NamedTensor { name, tensor });
        }
    }
    Ok(rows)
}

/// Returns the tensors of all rows as one batch.
fn stack_rows(rows: &[Vec<NamedTensor>]) -> Result<Vec<NamedTensor>, BackendError> {
    let Some(first) = rows.first() else {
        return Err(failed("there are no rows"));
    };
    let stacked = first.iter().enumerate().map(|(position, named)| {
        let tensors: Vec<_> = rows
            .iter()
            .filter_map(|row| Some(row.get(position)?.tensor.clone()))
            .collect();
        let tensor = stack(&tensors).map_err(|error| failed(&error.to_string()))?;
        let name = named.name.clone();
        Ok(NamedTensor { name, tensor })
    });
    stacked.collect()
}

/// Returns the outputs for a batch without rows, from those for one row.
fn without_rows(outputs: Vec<NamedTensor>) -> Result<Vec<NamedTensor>, BackendError> {
    let emptied = outputs.into_iter().map(|NamedTensor { name, tensor }| {
        let inner = tensor.shape().dimensions().iter().skip(1).copied();
        let sizes = std::iter::once(0).chain(inner).collect();
        let shape = Shape::new(sizes).map_err(|error| failed(&error.to_string()))?;
        let content = tensor.content().slice(..0);
        let tensor = Tensor::new(tensor.element_type(), shape, content)
            .map_err(|error| failed(&error.to_string()))?;
        Ok(NamedTensor { name, tensor })
    });
    emptied.collect()
}

fn failed(reason: &str) -> BackendError {
    BackendError::Compute {
        backend: "rows",
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;
