//! A model's configuration as a message; `v2::config` determines its contents.

use crate::call::ModelDescription;
use crate::grpc::message::inference::{
    DataType, ModelConfig, ModelConfigResponse, ModelInput, ModelOutput,
};
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
            data_type: number(data_type),
            dims,
            optional,
            ..ModelInput::default()
        }
    });
    let outputs = config.output.into_iter().map(|tensor| ModelOutput {
        name: tensor.name.to_owned(),
        data_type: number(tensor.data_type),
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

/// Returns the number of the datatype with this name.
fn number(data_type: &str) -> i32 {
    DataType::from_str_name(data_type).map_or(0, i32::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{model, spec};
    use wisp_tensor::ElementType;

    #[test]
    fn every_element_type_has_a_number() {
        let inputs = ElementType::ALL.map(|element_type| spec("x", element_type, &[-1]));
        let response = model_config(&model(inputs.into(), Vec::new()));
        let inputs = response.config.map(|config| config.input).unwrap();
        assert_eq!(inputs.len(), ElementType::ALL.len());
        assert!(inputs.iter().all(|input| input.data_type != 0));
    }
}
