//! A model's configuration in Triton's words, as far as its description knows it.
//!
//! What is not known here (instances, batching, versions kept) is left out instead of guessed.

use crate::call::ModelDescription;
use crate::grpc::message::inference::{
    DataType, ModelConfig, ModelConfigResponse, ModelInput, ModelOutput,
};
use wisp_tensor::{ElementType, TensorSpec};

/// The configuration of a model. As in Triton, shapes exclude the batch axis that a model with a
/// `max_batch_size` has.
pub fn model_config(model: &ModelDescription) -> ModelConfigResponse {
    let inputs = model.signature.inputs.iter().map(|spec| ModelInput {
        name: spec.name.clone(),
        data_type: data_type(spec.element_type).into(),
        dims: dimensions(spec, model),
        optional: spec.optional,
        ..ModelInput::default()
    });
    let outputs = model.signature.outputs.iter().map(|spec| ModelOutput {
        name: spec.name.clone(),
        data_type: data_type(spec.element_type).into(),
        dims: dimensions(spec, model),
        ..ModelOutput::default()
    });
    let engine = model.platform.split('_').next().unwrap_or_default();
    ModelConfigResponse {
        config: Some(ModelConfig {
            name: model.model.to_string(),
            platform: model.platform.clone(),
            backend: engine.to_owned(),
            max_batch_size: i32::try_from(model.max_batch_size).unwrap_or(i32::MAX),
            input: inputs.collect(),
            output: outputs.collect(),
            ..ModelConfig::default()
        }),
    }
}

fn dimensions(spec: &TensorSpec, model: &ModelDescription) -> Vec<i64> {
    let batch_axes = usize::from(model.max_batch_size > 0);
    let dimensions = spec.shape.iter().skip(batch_axes);
    dimensions.map(|size| size.to_wire()).collect()
}

fn data_type(element_type: ElementType) -> DataType {
    match element_type {
        ElementType::Bool => DataType::TypeBool,
        ElementType::Uint8 => DataType::TypeUint8,
        ElementType::Uint16 => DataType::TypeUint16,
        ElementType::Uint32 => DataType::TypeUint32,
        ElementType::Uint64 => DataType::TypeUint64,
        ElementType::Int8 => DataType::TypeInt8,
        ElementType::Int16 => DataType::TypeInt16,
        ElementType::Int32 => DataType::TypeInt32,
        ElementType::Int64 => DataType::TypeInt64,
        ElementType::Fp16 => DataType::TypeFp16,
        ElementType::Bf16 => DataType::TypeBf16,
        ElementType::Fp32 => DataType::TypeFp32,
        ElementType::Fp64 => DataType::TypeFp64,
        ElementType::Bytes => DataType::TypeString,
    }
}
