//! The statistics of model versions, in the format of Triton's extension.
//!
//! `grpc::v2::statistics` is the equivalent over gRPC.

use crate::encoded_response::document;
use crate::statistics::{Batch, Phases, Sum, Sums, VersionStatistics};
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
