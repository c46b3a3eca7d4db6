//! The cost of a graph's rows in batches of several sizes, and the choice of batching that follows from it.
//!
//! A batch pays only if a row costs less in it than alone. On CPUs that is so for small networks, whose time is mostly
//! overhead, and not for large convolutions, which tract computes several times slower in batches. Where a batch does
//! not pay, requests are computed one by one on several threads. Graphs that cannot be measured quickly are not batched
//! either: those with variable axes besides the batch, whose cost depends on sizes that only requests show, and those
//! that take so long that a few rows exceed the time of the measurement. Such computations keep a core busy alone.

use crate::batcher::policy::BatchPolicy;
use crate::per_row_graph::{batch_size, has_independent_rows};
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::{Duration, Instant};
use wisp_backend::Graph;
use wisp_tensor::batch::stack;
use wisp_tensor::{Dimension, NamedTensor};

/// The numbers of rows that are measured, as long as the time allows.
const SIZES: [u32; 6] = [1, 2, 4, 8, 16, 32];

/// The time after which no further size is measured.
const BUDGET: Duration = Duration::from_millis(60);

/// The time for the runs of one size, if they are quick.
const SIZE_BUDGET: Duration = Duration::from_millis(3);

/// The minimum number of runs of a size after the first one, which may prepare, unless the time is over.
const MIN_RUNS: usize = 2;

/// The maximum number of runs of a size after the first one.
const MAX_RUNS: usize = 8;

/// The part of the cost of a single row that a row in a batch may cost at most, so that batches clearly pay.
const WORTHWHILE: f64 = 0.8;

/// The part of the cost of a row in a smaller batch that counts as less. A smaller difference may be noise.
const IMPROVED: f64 = 0.97;

/// The shortest measured time to compute a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CostPoint {
    pub rows: u32,
    pub took: Duration,
}

/// The measured times of a graph, in the order of the numbers of rows. The first is that of a single row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CostCurve {
    pub points: Vec<CostPoint>,
}

/// The rules by which the requests for a graph are computed together, if they are, and the reason for them.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchingDecision {
    /// `None` if requests are computed one by one.
    pub policy: Option<BatchPolicy>,
    /// The text for people, such as `auto: up to 32 rows, 1.2 us a row instead of 10.4 us`.
    pub reason: String,
}

impl fmt::Display for BatchingDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl CostPoint {
    /// Returns the microseconds for each row.
    fn per_row(&self) -> f64 {
        self.took.as_secs_f64() * 1e6 / f64::from(self.rows.max(1))
    }
}

/// Measures a graph. Returns `None` if its rows are not independent, if axes besides the batch are variable, or if no
/// inputs are known that it computes.
pub fn measure(graph: &dyn Graph) -> Option<CostCurve> {
    if !has_independent_rows(graph) || has_variable_inner_axes(graph) {
        return None;
    }
    let row = graph.sample_inputs().ok()?;
    if batch_size(&row) != Some(1) {
        return None;
    }
    let end = Instant::now() + BUDGET;
    let mut curve = CostCurve { points: Vec::new() };
    for rows in SIZES {
        let Some(inputs) = repeated(&row, rows) else {
            break;
        };
        if !curve.has_time_for(rows, end.saturating_duration_since(Instant::now())) {
            break;
        }
        let Some(took) = shortest_run(graph, &inputs, end) else {
            break;
        };
        curve.points.push(CostPoint { rows, took });
        if curve.has_turned() {
            break;
        }
    }
    if curve.points.len() > 1 {
        // A backend that prepares for each size keeps a few of them; most requests have a single row.
        graph.compute(&row).ok()?;
    }
    match curve.points.is_empty() {
        true => None,
        false => Some(curve),
    }
}

/// Returns whether the sizes of a request besides its rows are unknown.
pub(crate) fn has_variable_inner_axes(graph: &dyn Graph) -> bool {
    let inputs = graph.signature().inputs.iter();
    let mut inner_axes = inputs.flat_map(|spec| spec.shape.iter().skip(1));
    inner_axes.any(|dimension| *dimension == Dimension::Variable)
}

/// Returns a batch of this many equal rows.
fn repeated(row: &[NamedTensor], rows: u32) -> Option<Vec<NamedTensor>> {
    let count = usize::try_from(rows).ok()?;
    let inputs = row.iter().map(|input| {
        let copies = vec![input.tensor.clone(); count];
        Some(NamedTensor {
            name: input.name.clone(),
            tensor: stack(&copies).ok()?,
        })
    });
    inputs.collect()
}

/// Returns the shortest of a few runs, without the first one, in which a backend may prepare for the size. For a single
/// row, the first one counts if the time is over after it.
fn shortest_run(graph: &dyn Graph, inputs: &[NamedTensor], end: Instant) -> Option<Duration> {
    let run = || {
        let started = Instant::now();
        graph.compute(inputs).ok()?;
        Some(started.elapsed())
    };
    let first = run()?;
    let began = Instant::now();
    let mut shortest: Option<Duration> = None;
    for number in 0..MAX_RUNS {
        let is_enough = number >= MIN_RUNS && began.elapsed() >= SIZE_BUDGET;
        if is_enough || Instant::now() >= end {
            break;
        }
        let took = run()?;
        shortest = Some(shortest.map_or(took, |shortest| shortest.min(took)));
    }
    let is_single = batch_size(inputs) == Some(1);
    shortest.or(is_single.then_some(first))
}

// === impl CostCurve ===

impl CostCurve {
    /// Returns the curve of these points; `None` unless their sizes are those that a measurement has.
    pub(crate) fn of_measured(points: Vec<CostPoint>) -> Option<CostCurve> {
        let rows = points.iter().map(|point| point.rows);
        let are_measured = rows.eq(SIZES.into_iter().take(points.len())) && !points.is_empty();
        are_measured.then_some(CostCurve { points })
    }

    /// Returns whether this many rows can be computed twice within the time that is left, at the cost of single rows.
    fn has_time_for(&self, rows: u32, left: Duration) -> bool {
        let Some(single) = self.points.first() else {
            return true;
        };
        single.took.saturating_mul(rows.saturating_mul(2)) <= left
    }

    /// Returns whether the last two sizes were no improvement, so that larger ones are not expected to be one.
    fn has_turned(&self) -> bool {
        let Some(best) = self.best() else {
            return false;
        };
        let larger = self.points.iter().filter(|point| point.rows > best.rows);
        larger.count() >= 2
    }

    /// Returns the largest size up to which the cost of a row has decreased with every improvement.
    fn best(&self) -> Option<CostPoint> {
        let mut points = self.points.iter().copied();
        let mut best = points.next()?;
        for point in points {
            if point.per_row() < IMPROVED * best.per_row() {
                best = point;
            }
        }
        Some(best)
    }
}

/// Returns the rules for a graph of this cost, which is computed on up to `threads` threads at the same time.
///
/// The rules are greedy: a thread that becomes free takes the requests that wait, and none waits for company. Since
/// requests only wait while all threads are busy, a lower cost of each row is a gain whatever the number of threads.
pub fn choose(curve: &CostCurve, threads: NonZeroUsize) -> BatchingDecision {
    let off = |reason: String| BatchingDecision {
        policy: None,
        reason: format!("auto: off, {reason}; requests are computed alone, {threads} at a time"),
    };
    let Some((single, best)) = curve.points.first().zip(curve.best()) else {
        return off("nothing was measured".to_owned());
    };
    let alone = Cost(single.per_row());
    let Some(largest) = curve.points.last().filter(|last| last.rows > 1) else {
        return off(format!("a row takes {alone}, and no batch was measured"));
    };
    let most = NonZeroU32::new(best.rows).filter(|_| best.per_row() < WORTHWHILE * alone.0);
    match most {
        Some(max_batch_size) => BatchingDecision {
            reason: format!(
                "auto: up to {max_batch_size} rows, {} a row instead of {alone}",
                Cost(best.per_row())
            ),
            policy: Some(BatchPolicy {
                max_batch_size,
                ..BatchPolicy::default()
            }),
        },
        None => off(format!(
            "a row takes {alone}, and {} in a batch of {}",
            Cost(largest.per_row()),
            largest.rows
        )),
    }
}

/// A number of microseconds, as a text with a unit.
struct Cost(f64);

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            time if time >= 1e3 => write!(f, "{:.1} ms", time / 1e3),
            time => write!(f, "{time:.1} us"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREADS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

    fn curve(points: &[(u32, u64)]) -> CostCurve {
        let points = points.iter().map(|&(rows, microseconds)| CostPoint {
            rows,
            took: Duration::from_micros(microseconds),
        });
        CostCurve {
            points: points.collect(),
        }
    }

    fn max_rows(points: &[(u32, u64)]) -> Option<u32> {
        let policy = choose(&curve(points), THREADS).policy?;
        assert!(policy.max_queue_delay.is_zero(), "{policy:?}");
        Some(policy.max_batch_size.get())
    }

    #[test]
    fn rows_that_cost_less_together_are_batched_up_to_the_largest_size_that_improves() {
        let network = [(1, 10), (2, 11), (4, 13), (8, 16), (16, 20), (32, 28)];
        assert_eq!(max_rows(&network), Some(32));
        let saturated = [
            (1, 100),
            (2, 140),
            (4, 240),
            (8, 400),
            (16, 810),
            (32, 1700),
        ];
        assert_eq!(max_rows(&saturated), Some(8));
        let decision = choose(&curve(&saturated), THREADS);
        assert_eq!(
            decision.to_string(),
            "auto: up to 8 rows, 50.0 us a row instead of 100.0 us"
        );
    }

    #[test]
    fn rows_that_cost_as_much_or_more_together_are_computed_alone() {
        let convolutions = [(1, 1200), (2, 3800), (4, 9600)];
        assert_eq!(max_rows(&convolutions), None);
        let linear = [(1, 100), (2, 200), (4, 400), (8, 800)];
        assert_eq!(max_rows(&linear), None);
        // The gain does not outweigh what a member waits for the others.
        let slightly = [(1, 100), (2, 190), (4, 350), (8, 690)];
        assert_eq!(max_rows(&slightly), None);
        assert_eq!(
            choose(&curve(&convolutions), THREADS).to_string(),
            "auto: off, a row takes 1.2 ms, and 2.4 ms in a batch of 4; requests are computed alone, 2 at a time"
        );
    }

    #[test]
    fn a_graph_whose_batches_were_not_measured_is_not_batched() {
        assert_eq!(max_rows(&[(1, 45_000)]), None);
        assert_eq!(max_rows(&[]), None);
        assert_eq!(
            choose(&curve(&[(1, 45_000)]), THREADS).to_string(),
            "auto: off, a row takes 45.0 ms, and no batch was measured; requests are computed alone, 2 at a time"
        );
    }

    #[test]
    fn a_difference_that_may_be_noise_is_no_improvement() {
        let noisy = [(1, 100), (2, 100), (4, 120), (8, 236)];
        assert_eq!(max_rows(&noisy), Some(4));
    }

    #[test]
    fn sizes_are_measured_while_the_time_allows_and_until_two_are_no_improvement() {
        let single = curve(&[(1, 1000)]);
        assert!(single.has_time_for(30, Duration::from_millis(60)));
        assert!(!single.has_time_for(31, Duration::from_millis(60)));
        assert!(curve(&[]).has_time_for(32, Duration::ZERO));
        assert!(!curve(&[(1, 10), (2, 30)]).has_turned());
        assert!(curve(&[(1, 10), (2, 30), (4, 70)]).has_turned());
        assert!(!curve(&[(1, 10), (2, 30), (4, 20)]).has_turned());
    }
}
