//! The statistics of model versions, in the format of Triton's extension.
//!
//! `data_quality` and `batching` are additional members, which Triton's clients ignore. A version without rules and
//! without a baseline does not have the first, and a version without graphs not the second.
//!
//! `grpc::v2::statistics` is the equivalent over gRPC.

use crate::encoded_response::document;
use crate::statistics::{
    Batch, BatchMeasurement, DataQuality, FeatureQuality, GraphBatching, InputQuality, Phases, Sum,
    Sums, VersionStatistics,
};
use bytes::Bytes;
use serde::Serialize;

#[derive(Serialize)]
struct Document<'a> {
    model_stats: Vec<ModelStatistics<'a>>,
}

#[derive(Serialize)]
struct ModelStatistics<'a> {
    name: &'a str,
    version: String,
    last_inference: u64,
    inference_count: u64,
    execution_count: u64,
    inference_stats: InferenceStatistics,
    batch_stats: Vec<BatchStatistics>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_quality: Option<QualityStatistics<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    batching: Vec<BatchingStatistics<'a>>,
}

#[derive(Serialize)]
struct BatchingStatistics<'a> {
    graph: &'a str,
    decision: &'a str,
    measurements: Vec<MeasuredBatch>,
}

#[derive(Serialize)]
struct MeasuredBatch {
    row_elements: u64,
    rows: u32,
    ns: u64,
}

#[derive(Serialize)]
struct QualityStatistics<'a> {
    rejected_inputs: u64,
    output_violations: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<u64>,
    inputs: Vec<InputStatistics<'a>>,
}

#[derive(Serialize)]
struct InputStatistics<'a> {
    name: &'a str,
    features: Vec<FeatureStatistics<'a>>,
}

#[derive(Serialize)]
struct FeatureStatistics<'a> {
    name: &'a str,
    observations: u64,
    missing: f64,
    baseline_missing: f64,
    psi: Option<f64>,
    ks: Option<f64>,
    p_value: Option<f64>,
}

#[derive(Serialize)]
struct InferenceStatistics {
    success: StatisticDuration,
    fail: StatisticDuration,
    queue: StatisticDuration,
    #[serde(flatten)]
    phases: ExecutionPhases,
    cache_hit: StatisticDuration,
    cache_miss: StatisticDuration,
}

#[derive(Serialize)]
struct BatchStatistics {
    batch_size: u64,
    #[serde(flatten)]
    phases: ExecutionPhases,
}

#[derive(Serialize)]
struct ExecutionPhases {
    compute_input: StatisticDuration,
    compute_infer: StatisticDuration,
    compute_output: StatisticDuration,
}

#[derive(Serialize)]
struct StatisticDuration {
    count: u64,
    ns: u64,
}

/// Returns the statistics of these versions as JSON.
pub fn statistics(versions: &[VersionStatistics]) -> Bytes {
    document(&Document {
        model_stats: versions.iter().map(ModelStatistics::new).collect(),
    })
}

impl ModelStatistics<'_> {
    fn new(of: &VersionStatistics) -> ModelStatistics<'_> {
        ModelStatistics {
            name: of.model.as_str(),
            version: of.version.to_string(),
            last_inference: of.sums.last_inference,
            inference_count: of.sums.inferences,
            execution_count: of.sums.executions,
            inference_stats: InferenceStatistics::new(&of.sums),
            batch_stats: of.sums.batches.iter().map(BatchStatistics::new).collect(),
            data_quality: of.data_quality.as_ref().map(QualityStatistics::new),
            batching: of.batching.iter().map(BatchingStatistics::new).collect(),
        }
    }
}

impl BatchingStatistics<'_> {
    fn new(of: &GraphBatching) -> BatchingStatistics<'_> {
        BatchingStatistics {
            graph: &of.graph,
            decision: &of.decision,
            measurements: of.measurements.iter().map(MeasuredBatch::new).collect(),
        }
    }
}

impl MeasuredBatch {
    fn new(of: &BatchMeasurement) -> MeasuredBatch {
        MeasuredBatch {
            row_elements: of.row_elements,
            rows: of.rows,
            ns: u64::try_from(of.took.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

impl QualityStatistics<'_> {
    fn new(of: &DataQuality) -> QualityStatistics<'_> {
        QualityStatistics {
            rejected_inputs: of.rejected_inputs,
            output_violations: of.output_violations,
            window: of.window,
            inputs: of.inputs.iter().map(InputStatistics::new).collect(),
        }
    }
}

impl InputStatistics<'_> {
    fn new(of: &InputQuality) -> InputStatistics<'_> {
        InputStatistics {
            name: &of.input,
            features: of.features.iter().map(FeatureStatistics::new).collect(),
        }
    }
}

impl FeatureStatistics<'_> {
    fn new(of: &FeatureQuality) -> FeatureStatistics<'_> {
        FeatureStatistics {
            name: &of.feature,
            observations: of.observations,
            missing: of.missing,
            baseline_missing: of.baseline_missing,
            psi: of.psi,
            ks: of.ks,
            p_value: of.p_value,
        }
    }
}

impl InferenceStatistics {
    fn new(sums: &Sums) -> InferenceStatistics {
        InferenceStatistics {
            success: StatisticDuration::new(sums.success),
            fail: StatisticDuration::new(sums.fail),
            queue: StatisticDuration::new(sums.queue),
            phases: ExecutionPhases::new(sums.phases),
            cache_hit: StatisticDuration::new(sums.cache_hit),
            cache_miss: StatisticDuration::new(sums.cache_miss),
        }
    }
}

impl BatchStatistics {
    fn new(batch: &Batch) -> BatchStatistics {
        BatchStatistics {
            batch_size: batch.size,
            phases: ExecutionPhases::new(batch.phases),
        }
    }
}

impl ExecutionPhases {
    fn new(phases: Phases) -> ExecutionPhases {
        ExecutionPhases {
            compute_input: StatisticDuration::new(phases.compute_input),
            compute_infer: StatisticDuration::new(phases.compute_infer),
            compute_output: StatisticDuration::new(phases.compute_output),
        }
    }
}

impl StatisticDuration {
    fn new(sum: Sum) -> StatisticDuration {
        StatisticDuration {
            count: sum.count,
            ns: sum.nanoseconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{ModelName, Version};
    use std::time::Duration;

    #[test]
    fn the_document_has_the_keys_of_tritons_extension() {
        let sum = |count, nanoseconds| Sum { count, nanoseconds };
        let phases = Phases {
            compute_input: sum(2, 20),
            compute_infer: sum(2, 200),
            compute_output: sum(2, 2000),
        };
        let versions = [VersionStatistics {
            model: ModelName::new("m").unwrap(),
            version: Version::FIRST,
            sums: Sums {
                last_inference: 1_700_000_000_000,
                inferences: 4,
                executions: 2,
                success: sum(2, 9000),
                fail: sum(1, 7),
                queue: sum(2, 5),
                cache_hit: sum(3, 6),
                cache_miss: sum(2, 8),
                phases,
                batches: vec![Batch { size: 2, phases }],
            },
            data_quality: None,
            batching: Vec::new(),
        }];
        let phases = concat!(
            r#""compute_input":{"count":2,"ns":20},"compute_infer":{"count":2,"ns":200},"#,
            r#""compute_output":{"count":2,"ns":2000}"#,
        );
        let expected = format!(
            concat!(
                r#"{{"model_stats":[{{"name":"m","version":"1","last_inference":1700000000000,"#,
                r#""inference_count":4,"execution_count":2,"inference_stats":{{"#,
                r#""success":{{"count":2,"ns":9000}},"fail":{{"count":1,"ns":7}},"#,
                r#""queue":{{"count":2,"ns":5}},{phases},"#,
                r#""cache_hit":{{"count":3,"ns":6}},"cache_miss":{{"count":2,"ns":8}}}},"#,
                r#""batch_stats":[{{"batch_size":2,{phases}}}]}}]}}"#,
            ),
            phases = phases
        );
        assert_eq!(statistics(&versions), expected);
        assert_eq!(statistics(&[]), r#"{"model_stats":[]}"#);
    }

    #[test]
    fn the_drift_of_inputs_is_an_additional_member() {
        let feature = FeatureQuality {
            feature: "a".to_owned(),
            observations: 4,
            missing: 0.25,
            baseline_missing: 0.0,
            psi: Some(0.5),
            ks: None,
            p_value: None,
        };
        let versions = [VersionStatistics {
            model: ModelName::new("m").unwrap(),
            version: Version::FIRST,
            sums: Sums::default(),
            data_quality: Some(DataQuality {
                window: Some(100),
                rejected_inputs: 1,
                output_violations: 2,
                inputs: vec![InputQuality {
                    input: "x".to_owned(),
                    features: vec![feature],
                }],
            }),
            batching: Vec::new(),
        }];
        let document = statistics(&versions);
        let text = std::str::from_utf8(&document).unwrap();
        let expected = concat!(
            r#""batch_stats":[],"data_quality":{"rejected_inputs":1,"output_violations":2,"window":100,"#,
            r#""inputs":[{"name":"x","features":[{"name":"a","observations":4,"missing":0.25,"#,
            r#""baseline_missing":0.0,"psi":0.5,"ks":null,"p_value":null}]}]}}]}"#,
        );
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn the_batching_of_graphs_is_an_additional_member_with_its_figures() {
        let measured = |rows, nanoseconds| BatchMeasurement {
            row_elements: 13,
            rows,
            took: Duration::from_nanos(nanoseconds),
        };
        let versions = [VersionStatistics {
            model: ModelName::new("m").unwrap(),
            version: Version::FIRST,
            sums: Sums::default(),
            data_quality: None,
            batching: vec![GraphBatching {
                graph: "model".to_owned(),
                decision: "auto: up to 2 rows".to_owned(),
                measurements: vec![measured(1, 900), measured(2, 1000)],
            }],
        }];
        let document = statistics(&versions);
        let text = std::str::from_utf8(&document).unwrap();
        let expected = concat!(
            r#""batch_stats":[],"batching":[{"graph":"model","decision":"auto: up to 2 rows","#,
            r#""measurements":[{"row_elements":13,"rows":1,"ns":900},"#,
            r#"{"row_elements":13,"rows":2,"ns":1000}]}]}]}"#,
        );
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn a_sum_counts_events_and_saturates() {
        let mut sum = Sum::default();
        sum.add(Duration::from_nanos(5));
        sum.add(Duration::MAX);
        let expected = Sum {
            count: 2,
            nanoseconds: u64::MAX,
        };
        assert_eq!(sum, expected);
    }
}
