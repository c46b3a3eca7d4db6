//! The statistics of model versions as messages. `v2::statistics` is the equivalent over HTTP.

use super::target::target;
use crate::call::Target;
use crate::grpc::message::inference::{
    InferBatchStatistics, InferStatistics, ModelStatistics, ModelStatisticsRequest,
    ModelStatisticsResponse, StatisticDuration,
};
use crate::grpc::target::TargetError;
use crate::statistics::{Batch, Sum, Sums, VersionStatistics};
use std::collections::BTreeMap;

/// Returns the model whose statistics a message requests; `None` for all models.
pub fn statistics_target(message: &ModelStatisticsRequest) -> Result<Option<Target>, TargetError> {
    match message.name.as_str() {
        "" => Ok(None),
        name => target(name, &message.version).map(Some),
    }
}

/// Returns the statistics of these versions.
pub fn statistics(versions: &[VersionStatistics]) -> ModelStatisticsResponse {
    ModelStatisticsResponse {
        model_stats: versions.iter().map(model).collect(),
    }
}

fn model(of: &VersionStatistics) -> ModelStatistics {
    let sums = &of.sums;
    ModelStatistics {
        name: of.model.to_string(),
        version: of.version.to_string(),
        last_inference: sums.last_inference,
        inference_count: sums.inferences,
        execution_count: sums.executions,
        inference_stats: Some(requests(sums)),
        batch_stats: sums.batches.iter().map(batch).collect(),
        memory_usage: Vec::new(),
        response_stats: BTreeMap::new(),
    }
}

fn requests(sums: &Sums) -> InferStatistics {
    InferStatistics {
        success: duration(sums.success),
        fail: duration(sums.fail),
        queue: duration(sums.queue),
        compute_input: duration(sums.phases.compute_input),
        compute_infer: duration(sums.phases.compute_infer),
        compute_output: duration(sums.phases.compute_output),
        cache_hit: duration(sums.cache_hit),
        cache_miss: duration(sums.cache_miss),
    }
}

fn batch(batch: &Batch) -> InferBatchStatistics {
    InferBatchStatistics {
        batch_size: batch.size,
        compute_input: duration(batch.phases.compute_input),
        compute_infer: duration(batch.phases.compute_infer),
        compute_output: duration(batch.phases.compute_output),
    }
}

/// Encodes a sum. It is always present, since clients read its fields without checking for it.
fn duration(sum: Sum) -> Option<StatisticDuration> {
    Some(StatisticDuration {
        count: sum.count,
        ns: sum.nanoseconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{ModelName, Version};
    use crate::statistics::DataQuality;

    #[test]
    fn an_empty_name_selects_all_models_and_an_invalid_one_is_an_error() {
        let ask = |name: &str| {
            statistics_target(&ModelStatisticsRequest {
                name: name.to_owned(),
                version: String::new(),
            })
        };
        assert_eq!(ask(""), Ok(None));
        assert!(ask("m").is_ok_and(|target| target.is_some()));
        assert!(ask("a/b").is_err());
    }

    #[test]
    fn every_sum_is_present_for_a_version_without_requests() {
        let versions = [VersionStatistics {
            model: ModelName::new("m").unwrap(),
            version: Version::FIRST,
            sums: Sums::default(),
            data_quality: Some(DataQuality::default()),
            batching: Vec::new(),
        }];
        let encoded = statistics(&versions).model_stats.remove(0);
        let requests = encoded.inference_stats.unwrap();
        assert_eq!(
            (encoded.name.as_str(), encoded.version.as_str()),
            ("m", "1")
        );
        assert!(requests.success.is_some() && requests.cache_miss.is_some());
        assert!(encoded.batch_stats.is_empty());
    }
}
