//! A model's configuration as a message; `v2::config` determines its contents.

use crate::call::ModelDescription;
use crate::grpc::message::inference::{ModelConfig, ModelConfigResponse, ModelInput, ModelOutput};
use crate::v2::config::{Config, Tensor};

/// Returns the configuration of a model.
pub fn model_config(model: &ModelDescription) -> ModelConfigResponse {
    let config = Config::new(model);
    let inputs = config.input.into_iter().map(|tensor| {
        let Tensor {
            name,
            data_type,
            dims,
            optional,
        } = tensor;
        ModelInput {
            name: name.to_owned(),
            data_type: data_type.into(),
            dims,
            optional,
            ..ModelInput::default()
        }
    });
    let outputs = config.output.into_iter().map(|tensor| ModelOutput {
        name: tensor.name.to_owned(),
        data_type: tensor.data_type.into(),
        dims: tensor.dims,
        ..ModelOutput::default()
    });
    ModelConfigResponse {
        config: Some(ModelConfig {
            name: config.name.to_owned(),
            platform: config.platform.to_owned(),
            backend: config.backend.to_owned(),
            max_batch_size: i32::try_from(config.max_batch_size).unwrap_or(i32::MAX),
            input: inputs.collect(),
            output: outputs.collect(),
            ..ModelConfig::default()
        }),
    }
}
