//! The measurement of a graph when it is loaded.
//!
//! A graph of fixed sizes is measured for [`BUDGET`] in all. One with other variable axes is measured with rows of a few
//! sizes, for [`ROW_SIZE_BUDGET`] each, and a computation is cancelled at the end of this time. A preparation for new
//! sizes counts, and ends when it is done.
//!
//! A backend that prepares for each set of sizes keeps a few preparations. Only as many sizes are measured as it keeps
//! besides those that requests need anyway, so that all batches that are chosen have been prepared here.

use super::curve::{CostCurve, CostPoint, GraphCost};
use super::row_sizes::{has_variable_inner_axes, measured_rows};
use crate::batcher::batch_sizes::row_elements;
use crate::batcher::policy::BatchPolicy;
use crate::per_row_graph::{batch_size, has_independent_rows};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};
use wisp_backend::deadline::cancel_at;
use wisp_backend::{Cancellation, Graph};
use wisp_tensor::NamedTensor;
use wisp_tensor::batch::stack;

/// The numbers of rows that are measured, as long as the time allows.
const SIZES: [u32; 6] = [1, 2, 4, 8, 16, 32];

/// The time after which no further size of a graph is measured whose rows have one size.
const BUDGET: Duration = Duration::from_millis(60);

/// The time after which a size of rows is not measured any more, of the few that are.
const ROW_SIZE_BUDGET: Duration = Duration::from_millis(200);

/// The time for the runs of one batch size, if they are quick.
const SIZE_BUDGET: Duration = Duration::from_millis(3);

/// The minimum number of runs of a size after the first one, which may prepare, unless the time is over.
const MIN_RUNS: usize = 2;

/// The maximum number of runs of a size after the first one.
const MAX_RUNS: usize = 8;

/// The number of row sizes for which preparations must fit, so that requests of a few sizes do not make a backend
/// prepare again and again.
const PREPARED_ROW_SIZES: usize = 16;

/// The maximum number of elements of a batch.
const MAX_ELEMENTS: u64 = 1 << 24;

/// The reason that a graph was not measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unmeasured {
    #[error("rows may depend on each other")]
    Dependent,
    #[error(
        "its backend prepares for each set of sizes, and keeps {capacity} preparations of this graph, too few for \
         batches of rows of several sizes"
    )]
    Preparations { capacity: NonZeroUsize },
    #[error("no inputs are known that could be measured")]
    NoInputs,
}

/// The measurement of rows of one size.
struct Measuring<'a> {
    graph: &'a dyn Graph,
    /// The numbers of rows to measure.
    sizes: &'static [u32],
    cancellation: Cancellation,
    end: Instant,
}

/// Measures a graph.
///
/// # Errors
/// Fails if its rows are not independent, if its backend would prepare too often for batches, or if no inputs are known
/// that it computes.
pub fn measure(graph: &dyn Graph) -> Result<GraphCost, Unmeasured> {
    if !has_independent_rows(graph) {
        return Err(Unmeasured::Dependent);
    }
    let capacity = graph.preparation_capacity();
    let has_variable_rows = has_variable_inner_axes(graph.signature());
    let sizes = sizes_to_measure(capacity, has_variable_rows);
    if let Some(capacity) = capacity
        && sizes.len() < 2
    {
        return Err(Unmeasured::Preparations { capacity });
    }
    let rows = measured_rows(graph);
    let mut curves = Vec::with_capacity(rows.len());
    for row in &rows {
        let cancellation = Cancellation::new();
        let started = Instant::now();
        let (end, watched) = match has_variable_rows {
            // The first run of a slow graph counts however long it takes.
            false => (started + BUDGET, None),
            true => {
                let end = started + ROW_SIZE_BUDGET;
                (end, Some(cancel_at(&cancellation, end)))
            }
        };
        let measuring = Measuring {
            graph,
            sizes,
            cancellation,
            end,
        };
        curves.extend(measuring.curve(row));
        drop(watched);
    }
    match curves.is_empty() {
        true => Err(Unmeasured::NoInputs),
        false => Ok(GraphCost {
            curves,
            has_variable_rows,
            preparation_capacity: capacity,
        }),
    }
}

/// Computes a batch of each size that the rules allow, if the backend prepares for sizes. A graph whose cost is known from
/// an earlier load is then prepared as if it had been measured, and does not prepare while requests wait.
///
/// Rows of several sizes are not computed: requests choose these sizes, and few have the sizes of the measurement.
pub(crate) fn prepare(graph: &dyn Graph, policy: &BatchPolicy) {
    let allowed = &policy.sizes.allowed;
    if allowed.is_empty() || has_variable_inner_axes(graph.signature()) {
        return;
    }
    let rows = measured_rows(graph);
    let Some(row) = rows.first() else {
        return;
    };
    let most = policy.max_batch_size.get();
    let several = allowed.iter().copied();
    let several = several.filter(|size| (2..=most).contains(size));
    // A single row is the last one, as in the measurement.
    for size in several.chain([1]) {
        if let Some(inputs) = repeated(row, size) {
            // A failure shows with the first request.
            let _ = graph.compute(&inputs);
        }
    }
}

/// Drops what the backend has prepared in a measurement and no batch of this policy uses. Of rows of several sizes, only a
/// single one of the first size stays.
pub(crate) fn forget_unused(graph: &dyn Graph, policy: Option<&BatchPolicy>) {
    let capacity = graph.preparation_capacity();
    if capacity.is_none() {
        return;
    }
    let has_variable_rows = has_variable_inner_axes(graph.signature());
    let is_used = |size: u32| {
        let policy = policy.filter(|_| !has_variable_rows);
        let allowed = policy.filter(|policy| size <= policy.max_batch_size.get());
        allowed.is_some_and(|policy| policy.sizes.allows(u64::from(size)))
    };
    for (index, row) in measured_rows(graph).iter().enumerate() {
        for size in sizes_to_measure(capacity, has_variable_rows) {
            let is_single = index == 0 && *size == 1;
            if !is_single
                && !is_used(*size)
                && let Some(inputs) = repeated(row, *size)
            {
                graph.forget_preparation(&inputs);
            }
        }
    }
}

/// Returns the numbers of rows to measure.
fn sizes_to_measure(capacity: Option<NonZeroUsize>, has_variable_rows: bool) -> &'static [u32] {
    match capacity {
        None => &SIZES,
        Some(capacity) => prepared_sizes(capacity, has_variable_rows),
    }
}

/// Returns the numbers of rows that batches may have if a backend keeps this many preparations, one of which is for
/// other requests.
fn prepared_sizes(capacity: NonZeroUsize, has_variable_rows: bool) -> &'static [u32] {
    let kept = match has_variable_rows {
        true => capacity.get() / PREPARED_ROW_SIZES,
        false => capacity.get().saturating_sub(1),
    };
    match kept {
        0 | 1 => &[1],
        2 => &[1, 8],
        3 => &[1, 4, 16],
        4 => &[1, 2, 8, 32],
        5 => &[1, 2, 4, 8, 32],
        _ => &SIZES,
    }
}

/// Returns a batch of this many equal rows; `None` if it would be too large.
fn repeated(row: &[NamedTensor], rows: u32) -> Option<Vec<NamedTensor>> {
    let elements = row_elements(row).saturating_mul(u64::from(rows));
    let count = usize::try_from(rows).ok()?;
    if rows > 1 && elements > MAX_ELEMENTS {
        return None;
    }
    let inputs = row.iter().map(|input| {
        let copies = vec![input.tensor.clone(); count];
        Some(NamedTensor {
            name: input.name.clone(),
            tensor: stack(&copies).ok()?,
        })
    });
    inputs.collect()
}

// === impl GraphCost ===

impl GraphCost {
    /// Returns whether a measurement of this graph may have had this result.
    pub(crate) fn may_be_of(&self, graph: &dyn Graph) -> bool {
        self.preparation_capacity == graph.preparation_capacity()
            && self.has_variable_rows == has_variable_inner_axes(graph.signature())
    }

    /// Returns whether a measurement of any graph may have had this result: it has times of the numbers of rows that are
    /// measured, for rows of one size or of several.
    pub(crate) fn is_valid(&self) -> bool {
        let sizes = sizes_to_measure(self.preparation_capacity, self.has_variable_rows);
        let is_measured = |curve: &CostCurve| {
            let rows = curve.points.iter().map(|point| point.rows);
            let first = sizes.iter().copied().take(curve.points.len());
            !curve.points.is_empty() && rows.eq(first)
        };
        let has_rows = match self.has_variable_rows {
            true => !self.curves.is_empty(),
            false => self.curves.len() == 1,
        };
        has_rows
            && sizes.len() > 1
            && self.curves.iter().all(is_measured)
            && self.curves.is_sorted_by_key(|curve| curve.row_elements)
    }
}

// === impl Measuring ===

impl Measuring<'_> {
    /// Returns the times of batches of this row; `None` if it could not be computed.
    fn curve(&self, row: &[NamedTensor]) -> Option<CostCurve> {
        let mut curve = CostCurve {
            row_elements: row_elements(row),
            points: Vec::new(),
        };
        for rows in self.sizes.iter().copied() {
            let Some(inputs) = repeated(row, rows) else {
                break;
            };
            let left = self.end.saturating_duration_since(Instant::now());
            if !curve.has_time_for(rows, left) {
                break;
            }
            let Some(took) = self.shortest_run(&inputs) else {
                break;
            };
            curve.points.push(CostPoint { rows, took });
            if curve.has_turned() {
                break;
            }
        }
        if curve.points.len() > 1 && Instant::now() < self.end {
            // Of the preparations that a backend keeps, that for a single row is used first by most requests, and the
            // one that was used the longest time ago is dropped first. A failure shows with the first request.
            let _ = self.graph.compute_cancellable(row, &self.cancellation);
        }
        (!curve.points.is_empty()).then_some(curve)
    }

    /// Returns the shortest of a few runs, without the first one, in which a backend may prepare for the size. For a
    /// single row, the first one counts if the time is over after it.
    fn shortest_run(&self, inputs: &[NamedTensor]) -> Option<Duration> {
        let run = || {
            let started = Instant::now();
            let computed = self.graph.compute_cancellable(inputs, &self.cancellation);
            computed.ok()?;
            Some(started.elapsed())
        };
        let first = run()?;
        let began = Instant::now();
        let mut shortest: Option<Duration> = None;
        for number in 0..MAX_RUNS {
            let is_enough = number >= MIN_RUNS && began.elapsed() >= SIZE_BUDGET;
            if is_enough || Instant::now() >= self.end {
                break;
            }
            // A run that was cancelled at the end of the time is no measurement.
            let Some(took) = run() else {
                break;
            };
            shortest = Some(shortest.map_or(took, |shortest| shortest.min(took)));
        }
        let is_single = batch_size(inputs) == Some(1);
        shortest.or(is_single.then_some(first))
    }
}

#[cfg(test)]
mod tests;
