//! A graph that computes the rows of a batch one by one, on several threads, where that is faster.
//!
//! tract fuses convolutions for a batch of one only, so that eight rows together can take four times as
//! long as eight times one; other graphs are faster with many rows at once. Which it is depends on the
//! graph and on the sizes besides the batch, so the first batch of each such sizes is tried both ways, a
//! few rows of it, and the faster way is kept. Rows whose answers depend on each other stay together.

use crate::measure::largest_difference;
use crate::worker::{WorkerOptions, Workers};
use crate::{BackendError, Cancellation, Graph};
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wisp_tensor::batch::{split, stack};
use wisp_tensor::{NamedTensor, Signature, TensorError};

/// Rows that are tried both ways: enough for what batches gain or lose to show.
const TRIED_ROWS: usize = 4;

/// A row that takes longer is tried with one other only, since somebody waits.
const LONG_ROW: Duration = Duration::from_millis(20);

/// Times that each way is tried.
const TRIES: usize = 3;

/// Tries that have taken so long altogether are enough.
const LONG_TRIES: Duration = Duration::from_millis(200);

/// How far answers may be apart and still be the same; the order of sums differs.
const TOLERANCE: f64 = 1e-3;

/// Sizes besides the batch that decisions are kept for. Further ones are computed whole.
const MAX_DECISIONS: usize = 256;

/// A graph and how it computes batches. Lifetime: a model version.
#[derive(Debug)]
struct RowGraph {
    graph: Arc<dyn Graph>,
    /// Those that help the caller's thread; none where one thread is all there may be.
    helpers: Option<Workers>,
    decisions: Mutex<HashMap<Vec<u32>, Way>>,
}

/// How a batch is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// All rows together.
    Whole,
    /// Each row alone.
    Rows,
}

/// The rows of a batch while several threads compute them.
struct Batch {
    rows: Vec<Vec<NamedTensor>>,
    next: AtomicUsize,
    cancellation: Cancellation,
}

type RowAnswer = (usize, Result<Vec<NamedTensor>, BackendError>);

/// `graph` with each batch computed the faster way, on up to `threads` threads; as it is where axis 0 is
/// no batch.
pub(crate) fn split_where_faster(
    graph: Arc<dyn Graph>,
    threads: NonZeroUsize,
) -> Result<Arc<dyn Graph>, BackendError> {
    let signature = graph.signature();
    if signature.inputs.is_empty() || !signature.has_batch_axis() {
        return Ok(graph);
    }
    let helpers = match NonZeroUsize::new(threads.get() - 1) {
        Some(threads) => {
            let options = WorkerOptions { threads, queue: 64 };
            Some(Workers::spawn("wisp-rows", options).map_err(BackendError::Read)?)
        }
        None => None,
    };
    Ok(Arc::new(RowGraph {
        graph,
        helpers,
        decisions: Mutex::default(),
    }))
}

// === impl RowGraph ===

impl RowGraph {
    /// The decision for these inputs' sizes besides the batch, if there is one.
    fn decided(&self, sizes: &[u32]) -> Option<Way> {
        let decisions = self.decisions();
        match decisions.get(sizes) {
            Some(way) => Some(*way),
            None if decisions.len() >= MAX_DECISIONS => Some(Way::Whole),
            None => None,
        }
    }

    fn decisions(&self) -> MutexGuard<'_, HashMap<Vec<u32>, Way>> {
        // Nothing panics while the lock is held.
        self.decisions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The decision for these inputs, of which there are `rows`; made now if there is none.
    fn way(&self, inputs: &[NamedTensor], rows: usize, cancellation: &Cancellation) -> Way {
        let sizes = inner_sizes(inputs);
        if let Some(way) = self.decided(&sizes) {
            return way;
        }
        let way = match self.try_both(inputs, rows, cancellation) {
            Some((whole, rows)) if rows < whole.mul_f64(0.9) => Way::Rows,
            // Whoever comes next tries again.
            None if cancellation.is_cancelled() => return Way::Whole,
            _ => Way::Whole,
        };
        self.decisions().insert(sizes, way);
        way
    }

    /// How long the first few of so many rows take together and one by one; `None` where either fails, or
    /// the answers are not the same.
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
        // What is prepared by the first run of each kind is not timed.
        compute(rows.first()?)?;
        let started = Instant::now();
        compute(rows.first()?)?;
        if started.elapsed() > LONG_ROW {
            rows.truncate(2);
        }
        let together = stack_answers(&rows).ok()?;
        let whole = compute(&together)?;
        let (mut together_took, mut rows_took) = (Duration::MAX, Duration::MAX);
        let tries = Instant::now();
        for _ in 0..TRIES {
            let started = Instant::now();
            compute(&together)?;
            together_took = together_took.min(started.elapsed());
            let started = Instant::now();
            let one_by_one = self.compute_rows(rows.clone(), cancellation).ok()?;
            rows_took = rows_took.min(started.elapsed());
            if largest_difference(&whole, &one_by_one) > TOLERANCE {
                return None;
            }
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
        let (send, answers) = channel();
        if let Some(helpers) = &self.helpers {
            for _ in 1..count.min(helpers.threads() + 1) {
                let (batch, graph, send) =
                    (Arc::clone(&batch), Arc::clone(&self.graph), send.clone());
                // Where there is no room, others are computing, and this thread does it all.
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
        // A helper that has not begun yet holds a sender, and is not waited for.
        for (position, answer) in answers.iter().take(count) {
            ordered[position] = Some(answer?);
        }
        let ordered: Option<Vec<Vec<NamedTensor>>> = ordered.into_iter().collect();
        let ordered = ordered.ok_or_else(|| failed("the computation of a row was lost"))?;
        stack_answers(&ordered)
    }
}

impl Graph for RowGraph {
    fn signature(&self) -> &Signature {
        self.graph.signature()
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
        match batch_size(inputs) {
            Some(rows @ 2..) if self.way(inputs, rows, cancellation) == Way::Rows => {
                self.compute_rows(rows_of(inputs, rows)?, cancellation)
            }
            _ => self.graph.compute_cancellable(inputs, cancellation),
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
        let Some(rows @ 2..) = batch_size(inputs) else {
            return compute(inputs);
        };
        match self.decided(&inner_sizes(inputs))? {
            Way::Whole => compute(inputs),
            Way::Rows => {
                let rows = match rows_of(inputs, rows) {
                    Ok(rows) => rows,
                    Err(error) => return Some(Err(error)),
                };
                let answers = rows.iter().map(|row| compute(row));
                // All have the same sizes: if the first is prepared, so are the others.
                let answers: Option<Result<Vec<_>, _>> = answers.collect();
                Some(answers?.and_then(|answers| stack_answers(&answers)))
            }
        }
    }

    fn sample_inputs(&self) -> Result<Vec<NamedTensor>, TensorError> {
        self.graph.sample_inputs()
    }
}

impl Batch {
    /// Compute rows that nobody has begun, until there are none.
    fn compute(&self, graph: &dyn Graph, answers: &Sender<RowAnswer>) {
        loop {
            let position = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(row) = self.rows.get(position) else {
                return;
            };
            let answer = graph.compute_cancellable(row, &self.cancellation);
            let failed = answer.is_err();
            if answers.send((position, answer)).is_err() || failed {
                // Nobody wants the other rows any more.
                self.next.store(self.rows.len(), Ordering::Relaxed);
                return;
            }
        }
    }
}

/// The batch that all inputs have, if they have the same.
fn batch_size(inputs: &[NamedTensor]) -> Option<usize> {
    let size = |input: &NamedTensor| input.tensor.shape().dimensions().first().copied();
    let first = size(inputs.first()?)?;
    let same = inputs.iter().all(|input| size(input) == Some(first));
    same.then_some(first as usize)
}

/// Sizes of the axes besides the batch, input by input.
fn inner_sizes(inputs: &[NamedTensor]) -> Vec<u32> {
    let mut sizes = Vec::new();
    for input in inputs {
        sizes.extend(input.tensor.shape().dimensions().iter().skip(1));
        // No axis is so long; it ends an input's sizes.
        sizes.push(u32::MAX);
    }
    sizes
}

/// The inputs of each of the first `count` rows.
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

/// The tensors of all rows as one batch.
fn stack_answers(rows: &[Vec<NamedTensor>]) -> Result<Vec<NamedTensor>, BackendError> {
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

fn failed(reason: &str) -> BackendError {
    BackendError::Compute {
        engine: "rows",
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;
