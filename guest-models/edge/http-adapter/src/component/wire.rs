//! The imported interface `wisp:handler/model`: the conversion between its types and those of `wisp_tensor`.

use super::model_bindings::wisp::handler::model as wire;
use crate::model::{Model, ModelError, ModelOutputs};
use bytes::Bytes;
use wire::{Datatype, ParameterValueParam, ParameterValueResult};
use wisp_protocol::call::InferRequest;
use wisp_tensor::response_names::shown;
use wisp_tensor::{
    ElementType, NamedTensor, Parameter, ParameterValue, Shape, Tensor, TensorError,
};

/// The model that the bundle is composed with.
#[derive(Debug)]
pub(super) struct ImportedModel;

impl Model for ImportedModel {
    fn infer(&mut self, request: &InferRequest) -> Result<ModelOutputs, ModelError> {
        let inputs: Vec<_> = request.inputs.iter().map(to_wire_tensor).collect();
        let parameters: Vec<_> = request.parameters.iter().map(to_wire_parameter).collect();
        let outputs: Vec<_> = request.outputs.iter().map(String::as_str).collect();
        let response = wire::infer(wire::RequestParam {
            inputs: &inputs,
            parameters: &parameters,
            outputs: &outputs,
        });
        let response = response.map_err(|failure| match failure {
            wire::Failure::Client(text) => ModelError::Client(text),
            wire::Failure::Handler(text) => ModelError::Model(text),
        })?;
        let outputs = response.outputs.into_iter().map(from_wire_tensor);
        let parameters = response.parameters.into_iter().map(from_wire_parameter);
        Ok(ModelOutputs {
            outputs: outputs.collect::<Result<_, _>>()?,
            parameters: parameters.collect(),
        })
    }
}

fn to_wire_tensor(input: &NamedTensor) -> wire::TensorParam<'_> {
    wire::TensorParam {
        name: &input.name,
        datatype: to_datatype(input.tensor.element_type()),
        shape: input.tensor.shape().dimensions(),
        data: input.tensor.content(),
    }
}

fn from_wire_tensor(output: wire::TensorResult) -> Result<NamedTensor, ModelError> {
    let wire::TensorResult {
        name,
        datatype,
        shape,
        data,
    } = output;
    let tensor = Shape::new(shape)
        .map_err(TensorError::from)
        .and_then(|shape| Tensor::new(from_datatype(datatype), shape, Bytes::from(data)));
    match tensor {
        Ok(tensor) => Ok(NamedTensor { name, tensor }),
        Err(error) => {
            let name = shown(&name);
            Err(ModelError::Invalid(format!("output `{name}`: {error}")))
        }
    }
}

fn to_wire_parameter(parameter: &Parameter) -> wire::ParameterParam<'_> {
    wire::ParameterParam {
        name: &parameter.name,
        value: match &parameter.value {
            ParameterValue::Bool(value) => ParameterValueParam::Bool(*value),
            ParameterValue::Int64(value) => ParameterValueParam::S64(*value),
            ParameterValue::Uint64(value) => ParameterValueParam::U64(*value),
            ParameterValue::Double(value) => ParameterValueParam::F64(*value),
            ParameterValue::String(value) => ParameterValueParam::String(value),
        },
    }
}

fn from_wire_parameter(parameter: wire::ParameterResult) -> Parameter {
    Parameter {
        name: parameter.name,
        value: match parameter.value {
            ParameterValueResult::Bool(value) => ParameterValue::Bool(value),
            ParameterValueResult::S64(value) => ParameterValue::Int64(value),
            ParameterValueResult::U64(value) => ParameterValue::Uint64(value),
            ParameterValueResult::F64(value) => ParameterValue::Double(value),
            ParameterValueResult::String(value) => ParameterValue::String(value),
        },
    }
}

fn to_datatype(element_type: ElementType) -> Datatype {
    match element_type {
        ElementType::Bool => Datatype::Bool,
        ElementType::Uint8 => Datatype::Uint8,
        ElementType::Uint16 => Datatype::Uint16,
        ElementType::Uint32 => Datatype::Uint32,
        ElementType::Uint64 => Datatype::Uint64,
        ElementType::Int8 => Datatype::Int8,
        ElementType::Int16 => Datatype::Int16,
        ElementType::Int32 => Datatype::Int32,
        ElementType::Int64 => Datatype::Int64,
        ElementType::Fp16 => Datatype::Fp16,
        ElementType::Bf16 => Datatype::Bf16,
        ElementType::Fp32 => Datatype::Fp32,
        ElementType::Fp64 => Datatype::Fp64,
        ElementType::Bytes => Datatype::Bytes,
    }
}

fn from_datatype(datatype: Datatype) -> ElementType {
    match datatype {
        Datatype::Bool => ElementType::Bool,
        Datatype::Uint8 => ElementType::Uint8,
        Datatype::Uint16 => ElementType::Uint16,
        Datatype::Uint32 => ElementType::Uint32,
        Datatype::Uint64 => ElementType::Uint64,
        Datatype::Int8 => ElementType::Int8,
        Datatype::Int16 => ElementType::Int16,
        Datatype::Int32 => ElementType::Int32,
        Datatype::Int64 => ElementType::Int64,
        Datatype::Fp16 => ElementType::Fp16,
        Datatype::Bf16 => ElementType::Bf16,
        Datatype::Fp32 => ElementType::Fp32,
        Datatype::Fp64 => ElementType::Fp64,
        Datatype::Bytes => ElementType::Bytes,
    }
}
