//! Timing of graphs of the same model on the same inputs.
//!
//! Machines are noisy, so graphs are timed in turns and compared by their medians. The choice between
//! backends and reported comparisons use these measurements.

use crate::cancellation::Cancellation;
use crate::deadline::cancel_at;
use crate::error::BackendError;
use crate::graph::Graph;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use wisp_tensor::number::from_numbers;
use wisp_tensor::{Dimension, ElementType, NamedTensor, Shape, Signature, TensorError};

/// The backend whose outputs are the reference for the others, if it is available. The
/// authors of the format test with it.
pub const REFERENCE: &str = "onnxruntime";

/// The maximum number of computations of each graph.
const MAX_RUNS: usize = 2000;

/// The minimum number of computations of each graph, without the first one, which may prepare.
const MIN_RUNS: usize = 3;

/// The time limit of one computation in a comparison.
const MAX_TIME: Duration = Duration::from_secs(30);

/// Computes `inputs` for a comparison, for at most 30 s.
pub fn compute(
    graph: &dyn Graph,
    inputs: &[NamedTensor],
) -> Result<Vec<NamedTensor>, BackendError> {
    let cancellation = Cancellation::new();
    let _watched = cancel_at(&cancellation, Instant::now() + MAX_TIME);
    graph.compute_cancellable(inputs, &cancellation)
}

/// Computes as [`compute`] does, and returns the time without a preparation for inputs of new sizes.
pub fn compute_timed(
    graph: &dyn Graph,
    inputs: &[NamedTensor],
) -> Result<(Vec<NamedTensor>, Duration), BackendError> {
    let prepared = || {
        let cancellation = Cancellation::new();
        let _watched = cancel_at(&cancellation, Instant::now() + MAX_TIME);
        graph.compute_prepared_cancellable(inputs, &cancellation)
    };
    let started = Instant::now();
    if let Some(outputs) = prepared() {
        return Ok((outputs?, started.elapsed()));
    }
    compute(graph, inputs)?;
    let started = Instant::now();
    Ok((compute(graph, inputs)?, started.elapsed()))
}

/// The durations of a series of computations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatencySummary {
    pub median: Duration,
    /// The 99th percentile.
    pub p99: Duration,
    pub runs: usize,
}

/// Returns inputs for `graph` with varied numbers, the same in each call.
///
/// The numbers are pseudo-random from 0 to 1. Integers and bools are 0 and 1, which are valid indices
/// into any table of two entries, and strings are empty. A variable first axis has the size `rows`; other
/// axes have the sizes of the sample inputs.
pub fn varied_inputs(graph: &dyn Graph, rows: u32) -> Result<Vec<NamedTensor>, TensorError> {
    shaped_inputs(graph, Some(rows), &BTreeMap::new())
}

/// Returns inputs as [`varied_inputs`] does, of which those in `shapes` have these shapes. Without `rows`,
/// their first axes keep the given sizes, too.
pub fn shaped_inputs(
    graph: &dyn Graph,
    rows: Option<u32>,
    shapes: &BTreeMap<String, Vec<u32>>,
) -> Result<Vec<NamedTensor>, TensorError> {
    let mut random = Random::new(1);
    let sample = graph.sample_inputs()?;
    let mut vary = |NamedTensor { name, tensor }| {
        let given = shapes.get(&name).map(Vec::as_slice);
        let mut dimensions = given.unwrap_or(tensor.shape().dimensions()).to_vec();
        let first = declared_first_axis(graph.signature(), &name);
        if let (Some(size), Some(Dimension::Variable), Some(rows)) =
            (dimensions.first_mut(), first, rows)
        {
            *size = rows;
        }
        let shape = Shape::new(dimensions)?;
        let element_type = tensor.element_type();
        let is_real = matches!(
            element_type,
            ElementType::Fp16 | ElementType::Bf16 | ElementType::Fp32 | ElementType::Fp64
        );
        let number = || match is_real {
            true => random.number(),
            false => random.number().round(),
        };
        let tensor = from_numbers(element_type, shape, number)?;
        Ok(NamedTensor { name, tensor })
    };
    sample.into_iter().map(&mut vary).collect()
}

fn declared_first_axis(signature: &Signature, name: &str) -> Option<Dimension> {
    let spec = signature.inputs.iter().find(|spec| spec.name == name)?;
    spec.shape.first().copied()
}

/// The linear congruential generator of Knuth's MMIX.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Returns the generator that begins with `seed`.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Returns a number from 0 up to 1.
    pub fn number(&mut self) -> f64 {
        self.0 = (self.0)
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // The upper bits are the random ones; an f64 has 53 bits of precision.
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Computes `inputs` with each graph in turns, for about `budget` in total, after one run
/// of each that is not counted.
pub fn in_turns(
    graphs: &[&dyn Graph],
    inputs: &[NamedTensor],
    budget: Duration,
) -> Vec<Result<LatencySummary, BackendError>> {
    let mut times: Vec<Result<Vec<Duration>, BackendError>> = graphs
        .iter()
        .map(|graph| compute(*graph, inputs).map(|_| Vec::new()))
        .collect();
    let started = Instant::now();
    for run in 0..MAX_RUNS {
        if run >= MIN_RUNS && started.elapsed() >= budget {
            break;
        }
        for (graph, times) in graphs.iter().zip(&mut times) {
            let Ok(measured) = times else { continue };
            let began = Instant::now();
            match compute(*graph, inputs) {
                Ok(_) => measured.push(began.elapsed()),
                Err(error) => *times = Err(error),
            }
        }
    }
    times
        .into_iter()
        .map(|times| times.map(LatencySummary::of))
        .collect()
}

impl LatencySummary {
    /// Returns the statistics of `times`; all are zero if there are none.
    fn of(mut times: Vec<Duration>) -> LatencySummary {
        times.sort_unstable();
        let at = |index: usize| times.get(index).copied().unwrap_or_default();
        LatencySummary {
            median: at(times.len() / 2),
            p99: at((times.len() * 99) / 100),
            runs: times.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use wisp_tensor::TensorSpec;
    use wisp_tensor::number::numbers;

    /// A graph that returns its inputs.
    #[derive(Debug)]
    struct Echo {
        signature: Signature,
        computations: AtomicUsize,
    }

    impl Echo {
        fn of(element_type: ElementType) -> Echo {
            let spec = TensorSpec {
                name: "x".to_owned(),
                element_type,
                shape: vec![Dimension::Variable, Dimension::Fixed(4)],
                optional: false,
            };
            Echo {
                signature: Signature {
                    inputs: vec![spec.clone()],
                    outputs: vec![spec],
                },
                computations: AtomicUsize::new(0),
            }
        }
    }

    impl Graph for Echo {
        fn signature(&self) -> &Signature {
            &self.signature
        }

        fn compute(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
            self.computations.fetch_add(1, SeqCst);
            Ok(inputs.to_vec())
        }
    }

    #[test]
    fn inputs_have_the_requested_rows_and_are_deterministic() -> anyhow::Result<()> {
        for element_type in ElementType::ALL {
            let graph = Echo::of(element_type);
            let inputs = varied_inputs(&graph, 3)?;
            assert_eq!(inputs[0].tensor.shape().dimensions(), [3, 4]);
            assert_eq!(inputs, varied_inputs(&graph, 3)?);
            let all_in_range = numbers(&inputs[0].tensor).all(|n| (0.0..=1.0).contains(&n));
            assert!(all_in_range, "{element_type}: {inputs:?}");
        }
        Ok(())
    }

    #[test]
    fn named_inputs_have_the_given_shape_with_the_rows_of_the_batch() -> anyhow::Result<()> {
        let graph = Echo::of(ElementType::Fp32);
        let shapes = BTreeMap::from([("x".to_owned(), vec![2, 7])]);
        for (rows, expected) in [(None, [2, 7]), (Some(5), [5, 7])] {
            let inputs = shaped_inputs(&graph, rows, &shapes)?;
            assert_eq!(inputs[0].tensor.shape().dimensions(), expected);
        }
        let inputs = shaped_inputs(&graph, None, &BTreeMap::new())?;
        assert_eq!(inputs[0].tensor.shape().dimensions(), [1, 4]);
        Ok(())
    }

    #[test]
    fn a_graph_that_needs_no_preparation_is_timed_in_one_computation() -> anyhow::Result<()> {
        let graph = Echo::of(ElementType::Fp32);
        let inputs = varied_inputs(&graph, 2)?;
        assert_eq!(compute_timed(&graph, &inputs)?.0, inputs);
        assert_eq!(graph.computations.load(SeqCst), 1);
        Ok(())
    }

    #[test]
    fn graphs_are_timed_equally_often_and_a_bounded_number_of_times() -> anyhow::Result<()> {
        let (a, b) = (Echo::of(ElementType::Fp32), Echo::of(ElementType::Fp32));
        let inputs = varied_inputs(&a, 1)?;
        for (budget, at_most) in [(Duration::ZERO, MIN_RUNS), (Duration::MAX, MAX_RUNS)] {
            for summary in in_turns(&[&a, &b], &inputs, budget) {
                assert_eq!(summary?.runs, at_most);
            }
        }
        assert_eq!(a.computations.load(SeqCst), b.computations.load(SeqCst));
        Ok(())
    }
}
