//! The batching of the graphs of a version, decided when they are loaded by their model file or by a measurement.

use crate::batcher::policy::BatchPolicy;
use crate::call_durations::ExecutionMode;
use crate::cost_curve::{
    BatchingDecision, CostCurve, GraphCost, Unmeasured, choose, forget_unused, prepare,
};
use crate::per_row_graph::has_independent_rows;
use crate::registry::batching::{Batching, settings};
use crate::registry::graph_loader::{GraphLoader, KnownCost, LoadedGraph};
use crate::registry::model_file::ModelFile;
use crate::registry::repository::MAIN_GRAPH;
use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use wisp_backend::{Graph, Rows};
use wisp_protocol::call::ModelDescription;
use wisp_protocol::dynamic_batching::DynamicBatching;
use wisp_protocol::statistics::{BatchMeasurement, GraphBatching};

/// The maximum number of calls of a handler that run at the same time for the sake of large batches. Each holds an
/// instance.
const MAX_BATCHED_CALLS: usize = 256;

/// The part of all instances that these calls may hold, so that a version whose calls do not end leaves instances to others.
const SHARE_OF_INSTANCES: usize = 2;

/// A function that returns the cost of a graph.
type CostSource<'a> = &'a dyn Fn() -> Result<KnownCost, Unmeasured>;

/// The batching of each graph of a version. Lifetime: a model version.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VersionBatching {
    decisions: Vec<(String, BatchingDecision)>,
    /// Set if the rules come from the model, not from a measurement.
    is_set: bool,
}

impl VersionBatching {
    /// Decides for the graphs of a version, each of which is computed on up to `threads` threads at the same time. The
    /// loader measures what their batches cost, unless it is stored.
    pub(super) fn decide(
        model_file: &ModelFile,
        loaded: &BTreeMap<&str, LoadedGraph>,
        threads: NonZeroUsize,
        loader: &GraphLoader,
    ) -> VersionBatching {
        let decisions = loaded.iter().map(|(name, loaded)| {
            let cost = || loader.cost(loaded);
            let decision = decide(model_file, &*loaded.graph, threads, &cost);
            ((*name).to_owned(), decision)
        });
        VersionBatching {
            decisions: decisions.collect(),
            is_set: matches!(model_file.batching, Batching::Dynamic(_)),
        }
    }

    /// Returns the decisions by graph.
    pub fn decisions(&self) -> &[(String, BatchingDecision)] {
        &self.decisions
    }

    /// Returns the decisions with the figures that they follow from, for the statistics of the version.
    pub(crate) fn report(&self) -> Vec<GraphBatching> {
        let decisions = self.decisions.iter();
        let reports = decisions.map(|(graph, decision)| GraphBatching {
            graph: graph.clone(),
            decision: decision.reason.clone(),
            measurements: match &decision.cost {
                Some(cost) => cost.curves.iter().flat_map(measurements).collect(),
                None => Vec::new(),
            },
        });
        reports.collect()
    }

    /// Returns the rules for a graph; `None` if its requests are computed one by one.
    pub(super) fn policy(&self, graph: &str) -> Option<BatchPolicy> {
        let mut decisions = self.decisions.iter();
        let (_, decision) = decisions.find(|(name, _)| name == graph)?;
        decision.policy.clone()
    }

    fn policies(&self) -> impl Iterator<Item = &BatchPolicy> {
        let decisions = self.decisions.iter();
        decisions.filter_map(|(_, decision)| decision.policy.as_ref())
    }

    /// Returns the fastest execution mode, of which `mode` is the fastest without batching. A request that may be held
    /// for others, or whose response has a place among others, does not occupy the thread of its caller.
    pub(super) fn mode(&self, mode: ExecutionMode) -> ExecutionMode {
        match self.policies().any(BatchPolicy::needs_queue) {
            true => ExecutionMode::Queued,
            false => mode,
        }
    }

    /// Returns the number of calls of a handler that may run at the same time, of which `usual` is the number without
    /// batching: enough for one batch to wait while another is computed, within a share of all `instances`.
    pub(super) fn slots(&self, usual: usize, instances: usize) -> usize {
        let rows = self.policies().map(|policy| policy.max_batch_size.get());
        let most = rows.max().unwrap_or(0);
        let calls = usize::try_from(most)
            .unwrap_or(usize::MAX)
            .saturating_mul(2);
        let most = MAX_BATCHED_CALLS.min(instances / SHARE_OF_INSTANCES);
        usual.max(calls.min(most))
    }

    /// Adds the batching that is set to the configuration of the version. What was chosen by measurement differs
    /// between loads and is shown elsewhere.
    pub(crate) fn describe(&self, description: &mut ModelDescription) {
        if !self.is_set {
            return;
        }
        let main = self.decisions.iter().find(|(name, _)| name == MAIN_GRAPH);
        let main = main.and_then(|(_, decision)| decision.policy.as_ref());
        let policy = main.or_else(|| self.policies().next());
        let shown = policy.map(|policy| shown(policy, description.max_batch_size));
        description.configuration.dynamic_batching = shown;
    }
}

/// Returns the settings of a policy as the configuration of a model with this `max_batch_size` shows them. Like Triton, it
/// names the maximum where no preferred size is set and there is a batch, because that is what the rules then mean.
fn shown(policy: &BatchPolicy, max_batch_size: u32) -> DynamicBatching {
    let mut settings = settings(policy);
    if settings.preferred_batch_size.is_empty() && max_batch_size > 0 {
        let most = policy.max_batch_size.get().min(max_batch_size);
        settings.preferred_batch_size = vec![most];
    }
    settings
}

/// Decides for one graph, whose cost is only asked for if it decides.
fn decide(
    model_file: &ModelFile,
    graph: &dyn Graph,
    threads: NonZeroUsize,
    cost: CostSource<'_>,
) -> BatchingDecision {
    match &model_file.batching {
        Batching::Off => BatchingDecision {
            policy: None,
            reason: "off, as set".to_owned(),
            cost: None,
        },
        Batching::Dynamic(policy) => by_setting(policy, model_file.max_batch_size, graph),
        Batching::Auto => by_measurement(model_file.max_batch_size, graph, threads, cost),
    }
}

/// Returns the decision for rules that are set. They also hold for requests that cannot be joined, whose priorities
/// and timeouts count as well.
fn by_setting(
    policy: &BatchPolicy,
    max_batch_size: Option<u32>,
    graph: &dyn Graph,
) -> BatchingDecision {
    let mut policy = policy.clone();
    if max_batch_size == Some(0) {
        policy.max_batch_size = NonZeroU32::MIN;
        policy.preferred_batch_sizes.clear();
    }
    let reason = match refusal(max_batch_size, graph) {
        Some(reason) => format!("requests are computed alone: {reason}"),
        None => format!(
            "up to {} rows and a delay of {} us, as set",
            policy.max_batch_size,
            policy.max_queue_delay.as_micros()
        ),
    };
    BatchingDecision {
        policy: Some(policy),
        reason,
        cost: None,
    }
}

fn by_measurement(
    max_batch_size: Option<u32>,
    graph: &dyn Graph,
    threads: NonZeroUsize,
    cost: CostSource<'_>,
) -> BatchingDecision {
    let off = |reason: &str| BatchingDecision {
        policy: None,
        reason: format!("auto: off, {reason}"),
        cost: None,
    };
    if let Some(reason) = refusal(max_batch_size, graph) {
        return off(&reason);
    }
    if max_batch_size == Some(1) {
        return off("`max_batch_size` is 1");
    }
    let known = match cost() {
        Ok(known) => known,
        Err(reason) => return off(&reason.to_string()),
    };
    let decision = by_cost(max_batch_size, &known.cost, threads);
    match &decision.policy {
        policy if !known.is_stored => forget_unused(graph, policy.as_ref()),
        Some(policy) => prepare(graph, policy),
        None => {}
    }
    decision
}

/// Returns the decision for a graph of this cost, with batches of no more rows than a request may have.
pub(super) fn by_cost(
    max_batch_size: Option<u32>,
    cost: &GraphCost,
    threads: NonZeroUsize,
) -> BatchingDecision {
    let mut decision = choose(cost, threads);
    let limit = max_batch_size.and_then(NonZeroU32::new);
    if let (Some(policy), Some(limit)) = (&mut decision.policy, limit)
        && limit < policy.max_batch_size
    {
        policy.max_batch_size = limit;
        decision.reason = format!("{}, limited by max_batch_size = {limit}", decision.reason);
    }
    decision
}

/// Returns the measured times for rows of one size.
fn measurements(curve: &CostCurve) -> Vec<BatchMeasurement> {
    let points = curve.points.iter().map(|point| BatchMeasurement {
        row_elements: curve.row_elements,
        rows: point.rows,
        took: point.took,
    });
    points.collect()
}

/// Returns the reason that requests for a graph are not joined, if there is one.
fn refusal(max_batch_size: Option<u32>, graph: &dyn Graph) -> Option<String> {
    if max_batch_size == Some(0) {
        return Some("the first axis is not a batch".to_owned());
    }
    if has_independent_rows(graph) {
        return None;
    }
    Some(match graph.rows() {
        Rows::Dependent { reason } => format!("rows may depend on each other: {reason}"),
        Rows::Unrelated { reason } => format!("the inputs are not one batch: {reason}"),
        Rows::Independent => {
            "the first axes of its inputs and outputs are not one batch".to_owned()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost_curve::{CostPoint, measure};
    use std::sync::Mutex;
    use std::time::Duration;
    use wisp_backend::BackendError;
    use wisp_tensor::{Dimension, ElementType, NamedTensor, Signature, TensorError, TensorSpec};

    /// A graph that cannot be computed.
    #[derive(Debug)]
    struct Uncomputed {
        signature: Signature,
        rows: Rows,
    }

    impl Graph for Uncomputed {
        fn signature(&self) -> &Signature {
            &self.signature
        }

        fn rows(&self) -> Rows {
            self.rows.clone()
        }

        fn compute(&self, _: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
            Err(BackendError::Cancelled)
        }

        fn sample_inputs(&self) -> Result<Vec<NamedTensor>, TensorError> {
            Err(TensorError::Size)
        }
    }

    /// A graph that prepares for numbers of rows, and records the numbers it has computed.
    #[derive(Debug)]
    struct Recording {
        signature: Signature,
        computed: Mutex<Vec<u32>>,
        forgotten: Mutex<Vec<u32>>,
    }

    impl Graph for Recording {
        fn signature(&self) -> &Signature {
            &self.signature
        }

        fn rows(&self) -> Rows {
            Rows::Independent
        }

        fn compute(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
            let rows = inputs[0].tensor.shape().dimensions()[0];
            self.computed.lock().unwrap().push(rows);
            Ok(inputs.to_vec())
        }

        fn preparation_capacity(&self) -> Option<NonZeroUsize> {
            NonZeroUsize::new(64)
        }

        fn forget_preparation(&self, inputs: &[NamedTensor]) {
            let rows = inputs[0].tensor.shape().dimensions()[0];
            self.forgotten.lock().unwrap().push(rows);
        }
    }

    fn graph(shape: &[i64], rows: Rows) -> Uncomputed {
        let shape = shape.iter().filter_map(|&size| Dimension::from_wire(size));
        let spec = TensorSpec {
            name: "x".to_owned(),
            element_type: ElementType::Fp32,
            shape: shape.collect(),
            optional: false,
        };
        Uncomputed {
            signature: Signature {
                inputs: vec![spec.clone()],
                outputs: vec![spec],
            },
            rows,
        }
    }

    fn model_file(text: &str) -> ModelFile {
        toml::from_str(text).unwrap()
    }

    fn decided(text: &str, graph: &Uncomputed) -> BatchingDecision {
        let cost = || -> Result<KnownCost, Unmeasured> {
            Ok(KnownCost {
                cost: measure(graph)?,
                is_stored: false,
            })
        };
        decide(&model_file(text), graph, NonZeroUsize::MIN, &cost)
    }

    fn version(decisions: &[(&str, Option<BatchPolicy>)]) -> VersionBatching {
        let decisions = decisions.iter().map(|(graph, policy)| {
            let decision = BatchingDecision {
                policy: policy.clone(),
                reason: "a reason".to_owned(),
                cost: None,
            };
            ((*graph).to_owned(), decision)
        });
        VersionBatching {
            decisions: decisions.collect(),
            is_set: true,
        }
    }

    #[test]
    fn a_graph_that_is_not_measured_is_not_batched_unless_it_is_set() {
        let dependent = graph(
            &[-1, 2],
            Rows::Dependent {
                reason: "CumSum".to_owned(),
            },
        );
        let fixed = graph(&[-1, 2], Rows::Independent);
        let text = graph(&[-1, -1], Rows::Independent);
        for (graph, file, reason) in [
            (&fixed, "batching = 'off'", "off, as set"),
            (
                &dependent,
                "",
                "auto: off, rows may depend on each other: CumSum",
            ),
            (
                &fixed,
                "max_batch_size = 0",
                "auto: off, the first axis is not a batch",
            ),
            (
                &fixed,
                "max_batch_size = 1",
                "auto: off, `max_batch_size` is 1",
            ),
            (
                &text,
                "",
                "auto: off, no inputs are known that could be measured",
            ),
            (
                &fixed,
                "",
                "auto: off, no inputs are known that could be measured",
            ),
        ] {
            let decision = decided(file, graph);
            assert_eq!(decision.policy, None);
            assert_eq!(decision.to_string(), reason);
        }
        let set = "batching = { max_queue_delay_microseconds = 100 }";
        let decision = decided(set, &text);
        assert_eq!(
            decision.to_string(),
            "up to 32 rows and a delay of 100 us, as set"
        );
        assert_eq!(
            decision.policy.map(|policy| policy.max_queue_delay),
            Some(Duration::from_micros(100))
        );
        let decision = decided(set, &dependent);
        assert!(decision.policy.is_some());
        assert_eq!(
            decision.to_string(),
            "requests are computed alone: rows may depend on each other: CumSum"
        );
    }

    #[test]
    fn a_graph_is_prepared_for_the_sizes_of_its_batches_only() {
        let points = [
            (1, 100),
            (2, 110),
            (4, 130),
            (8, 170),
            (16, 800),
            (32, 3000),
        ];
        let points = points.map(|(rows, microseconds)| CostPoint {
            rows,
            took: Duration::from_micros(microseconds),
        });
        let cost = GraphCost {
            curves: vec![CostCurve {
                row_elements: 2,
                points: points.to_vec(),
            }],
            has_variable_rows: false,
            preparation_capacity: NonZeroUsize::new(64),
        };
        for (text, is_stored, expected, forgotten) in [
            ("", true, &[2, 4, 8, 1][..], &[][..]),
            ("max_batch_size = 5", true, &[2, 4, 1], &[]),
            // The measurement has prepared them, and others.
            ("", false, &[], &[16, 32]),
            ("max_batch_size = 5", false, &[], &[8, 16, 32]),
        ] {
            let graph = Recording {
                signature: graph(&[-1, 2], Rows::Independent).signature,
                computed: Mutex::default(),
                forgotten: Mutex::default(),
            };
            let known = || -> Result<KnownCost, Unmeasured> {
                Ok(KnownCost {
                    cost: cost.clone(),
                    is_stored,
                })
            };
            let decision = decide(&model_file(text), &graph, NonZeroUsize::MIN, &known);
            assert_eq!(*graph.computed.lock().unwrap(), expected, "{decision}");
            assert_eq!(*graph.forgotten.lock().unwrap(), forgotten, "{decision}");
            assert_eq!(decision.cost, Some(cost.clone()));
        }
    }

    #[test]
    fn the_configuration_shows_the_maximum_where_no_preferred_size_is_set() {
        let mut policy = BatchPolicy::default();
        let sizes = |policy: &BatchPolicy| {
            let limits = [0, 1, 8, 100, i32::MAX.unsigned_abs()];
            limits.map(|limit| shown(policy, limit).preferred_batch_size)
        };
        assert_eq!(
            sizes(&policy),
            [vec![], vec![1], vec![8], vec![32], vec![32]]
        );
        policy.preferred_batch_sizes = vec![4, 2];
        assert!(sizes(&policy).iter().all(|shown| *shown == [4, 2]));
    }

    #[test]
    fn the_report_has_the_decision_and_its_figures() {
        let cost = GraphCost {
            curves: vec![CostCurve {
                row_elements: 13,
                points: vec![CostPoint {
                    rows: 1,
                    took: Duration::from_micros(7),
                }],
            }],
            has_variable_rows: false,
            preparation_capacity: None,
        };
        let mut version = version(&[("model", None), ("other", None)]);
        version.decisions[0].1.cost = Some(cost);
        let unmeasured = GraphBatching {
            graph: "other".to_owned(),
            decision: "a reason".to_owned(),
            measurements: Vec::new(),
        };
        let measured = GraphBatching {
            graph: "model".to_owned(),
            measurements: vec![BatchMeasurement {
                row_elements: 13,
                rows: 1,
                took: Duration::from_micros(7),
            }],
            ..unmeasured.clone()
        };
        assert_eq!(version.report(), [measured, unmeasured]);
    }

    #[test]
    fn calls_for_large_batches_leave_instances_to_other_versions() {
        let large = BatchPolicy {
            max_batch_size: NonZeroU32::new(64).unwrap(),
            ..BatchPolicy::default()
        };
        let large = version(&[("model", Some(large))]);
        assert_eq!((large.slots(8, 128), large.slots(8, 24)), (64, 12));
        assert_eq!(large.slots(8, 4), 8, "the threads are used anyway");
    }

    #[test]
    fn calls_are_queued_if_a_graph_may_hold_them() {
        let greedy = version(&[("model", Some(BatchPolicy::default())), ("other", None)]);
        assert_eq!(greedy.mode(ExecutionMode::Direct), ExecutionMode::Direct);
        assert_eq!((greedy.slots(8, 1000), greedy.slots(100, 1000)), (64, 100));
        let delayed = BatchPolicy {
            max_batch_size: NonZeroU32::new(5000).unwrap(),
            max_queue_delay: Duration::from_millis(10),
            ..BatchPolicy::default()
        };
        let delayed = version(&[("model", None), ("other", Some(delayed))]);
        assert_eq!(delayed.mode(ExecutionMode::Direct), ExecutionMode::Queued);
        assert_eq!(delayed.slots(8, 1000), MAX_BATCHED_CALLS);
        assert_eq!(version(&[]).slots(8, 1000), 8);
        assert_eq!(delayed.policy("model"), None);
        assert!(delayed.policy("other").is_some());
    }
}
