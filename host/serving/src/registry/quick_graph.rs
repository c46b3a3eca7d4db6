//! The measurement of whether a graph computes so quickly that a call runs it on its own thread.

use std::time::{Duration, Instant};
use wisp_backend::Graph;
use wisp_tensor::Dimension;

/// The longest computation that is made inline, between the two halves of a handler. Handing a
/// computation of this length to another thread would take as long as the computation.
const INLINE_COMPUTE: Duration = Duration::from_micros(200);

/// Returns whether a computation is short enough to run inline: for one row, and for every request, which
/// variable axes besides the batch could make much longer.
///
/// Uses the best of five runs: the first meets cold caches, and other processes may be using the machine.
pub(super) fn compute_is_quick(graph: &dyn Graph) -> bool {
    let mut inner_axes = graph
        .signature()
        .inputs
        .iter()
        .flat_map(|spec| spec.shape.iter().skip(1));
    if inner_axes.any(|dimension| *dimension == Dimension::Variable) {
        return false;
    }
    let Ok(inputs) = graph.sample_inputs() else {
        return false;
    };
    let began = Instant::now();
    (0..5)
        // A graph that has already taken this long will not become quick.
        .take_while(|_| began.elapsed() < 100 * INLINE_COMPUTE)
        .any(|_| {
            let started = Instant::now();
            graph.compute(&inputs).is_ok() && started.elapsed() <= INLINE_COMPUTE
        })
}
