//! The backends that take part in a comparison, with what it finds of them.

use std::sync::Arc;
use std::time::Duration;
use wisp_backend::Graph;

/// A backend's graph, and the results of its comparison.
#[derive(Debug)]
pub(super) struct Contender {
    pub(super) backend: &'static str,
    pub(super) graph: Arc<dyn Graph>,
    /// The time to load it.
    pub(super) load: Duration,
    /// The shortest time to compute a batch of one row.
    pub(super) shortest: Option<Duration>,
    /// The difference of its outputs from those that are taken as right.
    pub(super) difference: Option<f64>,
    /// The reason that it is excluded.
    pub(super) problem: Option<String>,
}

/// Returns the contenders that are not excluded.
pub(super) fn remaining(contenders: &[Contender]) -> Vec<usize> {
    let all = 0..contenders.len();
    all.filter(|&one| contenders[one].problem.is_none())
        .collect()
}
