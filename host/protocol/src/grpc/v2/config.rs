//! A model's configuration as a message; `v2::config` determines its contents.

use crate::call::ModelDescription;
use crate::dynamic_batching::{DynamicBatching, QueuePolicy, TimeoutAction};
use crate::grpc::message::inference::model_config::SchedulingChoice;
use crate::grpc::message::inference::model_input::Format;
use crate::grpc::message::inference::model_instance_group::Kind;
use crate::grpc::message::inference::model_optimization_policy::PinnedMemoryBuffer;
use crate::grpc::message::inference::model_version_policy::{All, Latest, PolicyChoice, Specific};
use crate::grpc::message::inference::{
    DataType, ModelConfig, ModelConfigResponse, ModelDynamicBatching, ModelInput,
    ModelInstanceGroup, ModelOptimizationPolicy, ModelOutput, ModelParameter, ModelQueuePolicy,
    ModelResponseCache, ModelVersionPolicy, model_queue_policy,
};
use crate::v2::config::{Config, Input, InstanceGroup, Output, PinnedMemory, Policy};

/// Returns the configuration of a model.
pub fn model_config(model: &ModelDescription) -> ModelConfigResponse {
    let config = Config::new(model);
    let parameters = config.parameters.iter().map(|(name, parameter)| {
        let string_value = parameter.string_value.to_owned();
        ((*name).to_owned(), ModelParameter { string_value })
    });
    ModelConfigResponse {
        config: Some(ModelConfig {
            name: config.name.to_owned(),
            platform: config.platform.to_owned(),
            backend: config.backend.to_owned(),
            version_policy: Some(version_policy(&config.version_policy)),
            max_batch_size: signed(config.max_batch_size),
            input: config.input.iter().map(input).collect(),
            output: config.output.iter().map(output).collect(),
            optimization: Some(ModelOptimizationPolicy {
                input_pinned_memory: Some(pinned_memory(&config.optimization.input_pinned_memory)),
                output_pinned_memory: Some(pinned_memory(
                    &config.optimization.output_pinned_memory,
                )),
                ..ModelOptimizationPolicy::default()
            }),
            scheduling_choice: config
                .dynamic_batching
                .map(|batching| SchedulingChoice::DynamicBatching(dynamic_batching(batching))),
            instance_group: config.instance_group.iter().map(instance_group).collect(),
            default_model_filename: config.default_model_filename.to_owned(),
            parameters: parameters.collect(),
            response_cache: (config.response_cache.as_ref()).map(|cache| ModelResponseCache {
                enable: cache.enable,
            }),
            ..ModelConfig::default()
        }),
    }
}

fn version_policy(policy: &Policy<'_>) -> ModelVersionPolicy {
    let choice = match *policy {
        Policy::Latest { num_versions } => PolicyChoice::Latest(Latest { num_versions }),
        Policy::All {} => PolicyChoice::All(All {}),
        Policy::Specific { versions } => PolicyChoice::Specific(Specific {
            versions: (versions.iter())
                .map(|version| i64::try_from(*version).unwrap_or(i64::MAX))
                .collect(),
        }),
    };
    ModelVersionPolicy {
        policy_choice: Some(choice),
    }
}

fn input(input: &Input<'_>) -> ModelInput {
    ModelInput {
        name: input.name.to_owned(),
        data_type: data_type(input.data_type),
        format: Format::from_str_name(input.format).map_or(0, i32::from),
        dims: input.dims.clone(),
        optional: input.optional,
        ..ModelInput::default()
    }
}

fn output(output: &Output<'_>) -> ModelOutput {
    ModelOutput {
        name: output.name.to_owned(),
        data_type: data_type(output.data_type),
        dims: output.dims.clone(),
        label_filename: output.label_filename.to_owned(),
        ..ModelOutput::default()
    }
}

fn instance_group(group: &InstanceGroup) -> ModelInstanceGroup {
    ModelInstanceGroup {
        name: group.name.clone(),
        kind: Kind::from_str_name(group.kind).map_or(0, i32::from),
        count: signed(group.count),
        gpus: group.gpus.iter().map(|gpu| signed(*gpu)).collect(),
        ..ModelInstanceGroup::default()
    }
}

fn dynamic_batching(batching: &DynamicBatching) -> ModelDynamicBatching {
    let preferred = batching.preferred_batch_size.iter();
    let own = batching.priority_queue_policy.iter();
    ModelDynamicBatching {
        preferred_batch_size: preferred.map(|size| signed(*size)).collect(),
        max_queue_delay_microseconds: batching.max_queue_delay_microseconds,
        preserve_ordering: batching.preserve_ordering,
        priority_levels: batching.priority_levels.into(),
        default_priority_level: batching.default_priority_level.into(),
        default_queue_policy: batching.default_queue_policy.as_ref().map(queue_policy),
        priority_queue_policy: own
            .map(|(level, policy)| (u64::from(*level), queue_policy(policy)))
            .collect(),
    }
}

fn queue_policy(policy: &QueuePolicy) -> ModelQueuePolicy {
    let action = match policy.timeout_action {
        TimeoutAction::Reject => model_queue_policy::TimeoutAction::Reject,
        TimeoutAction::Delay => model_queue_policy::TimeoutAction::Delay,
    };
    ModelQueuePolicy {
        timeout_action: action.into(),
        default_timeout_microseconds: policy.default_timeout_microseconds,
        allow_timeout_override: policy.allow_timeout_override,
        max_queue_size: policy.max_queue_size,
    }
}

fn pinned_memory(memory: &PinnedMemory) -> PinnedMemoryBuffer {
    PinnedMemoryBuffer {
        enable: memory.enable,
    }
}

/// Returns a number in the type that the messages use for counts.
fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Returns the number of the datatype with this name.
fn data_type(name: &str) -> i32 {
    DataType::from_str_name(name).map_or(0, i32::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{configured_model, model, spec};
    use crate::model_configuration::VersionPolicy;
    use wisp_tensor::ElementType;

    #[test]
    fn every_element_type_has_a_number() {
        let inputs = ElementType::ALL.map(|element_type| spec("x", element_type, &[-1]));
        let response = model_config(&model(inputs.into(), Vec::new()));
        let inputs = response.config.map(|config| config.input).unwrap();
        assert_eq!(inputs.len(), ElementType::ALL.len());
        assert!(inputs.iter().all(|input| input.data_type != 0));
    }

    #[test]
    fn a_dynamic_batcher_is_the_scheduling_choice() {
        let mut model = configured_model();
        let policy = QueuePolicy {
            timeout_action: TimeoutAction::Delay,
            max_queue_size: 16,
            ..QueuePolicy::default()
        };
        model.configuration.dynamic_batching = Some(DynamicBatching {
            preferred_batch_size: vec![4, 8],
            max_queue_delay_microseconds: 100,
            priority_levels: 2,
            default_priority_level: 1,
            priority_queue_policy: [(2, policy)].into(),
            ..DynamicBatching::default()
        });
        let config = model_config(&model).config.unwrap();
        let Some(SchedulingChoice::DynamicBatching(batching)) = config.scheduling_choice else {
            panic!("{:?}", config.scheduling_choice);
        };
        assert_eq!(batching.preferred_batch_size, [4, 8]);
        assert_eq!(batching.max_queue_delay_microseconds, 100);
        assert_eq!(
            (batching.priority_levels, batching.default_priority_level),
            (2, 1)
        );
        assert_eq!(batching.default_queue_policy, None);
        let own = &batching.priority_queue_policy[&2];
        let action = model_queue_policy::TimeoutAction::Delay;
        assert_eq!((own.timeout_action(), own.max_queue_size), (action, 16));
    }

    #[test]
    fn the_message_has_the_contents_of_the_json() {
        let mut model = configured_model();
        model.configuration.version_policy = VersionPolicy::Specific(vec![1, 3]);
        model.configuration.gpu = Some(1);
        let config = model_config(&model).config.unwrap();
        let formats: Vec<Format> = config.input.iter().map(ModelInput::format).collect();
        assert_eq!(formats, [Format::Nchw, Format::None]);
        let optional: Vec<bool> = config.input.iter().map(|input| input.optional).collect();
        assert_eq!(optional, [false, true]);
        assert_eq!(config.output[0].label_filename, "labels.txt");
        assert_eq!(config.default_model_filename, "model.onnx");
        let group = &config.instance_group[0];
        assert_eq!((group.name.as_str(), group.kind()), ("wine_0", Kind::Gpu));
        assert_eq!((group.count, group.gpus.as_slice()), (2, [1].as_slice()));
        let versions = vec![1, 3];
        assert_eq!(
            config
                .version_policy
                .and_then(|policy| policy.policy_choice),
            Some(PolicyChoice::Specific(Specific { versions }))
        );
        assert_eq!(
            config.parameters["backend_selection"].string_value,
            "auto: tract"
        );
        assert!(config.scheduling_choice.is_none());
        assert_eq!(config.response_cache, None);
        model.configuration.response_cache = true;
        let config = model_config(&model).config.unwrap();
        assert_eq!(
            config.response_cache,
            Some(ModelResponseCache { enable: true })
        );
    }
}
