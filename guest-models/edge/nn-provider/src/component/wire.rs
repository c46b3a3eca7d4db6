//! The types of `wisp:handler/model`.

use super::bindings::exports::wisp::handler::model as wire;
use bytes::Bytes;
use wisp_tensor::{Dimension, ElementType, NamedTensor, Shape, Signature, Tensor, TensorSpec};

/// Converts a tensor of a request. The bytes are not copied. The error contains its name.
pub(super) fn from_tensor(tensor: wire::Tensor) -> Result<NamedTensor, String> {
    let wire::Tensor {
        name,
        datatype,
        shape,
        data,
    } = tensor;
    let shape = Shape::new(shape).map_err(|error| format!("`{name}`: {error}"))?;
    let tensor = Tensor::new(from_datatype(datatype), shape, Bytes::from(data));
    let tensor = tensor.map_err(|error| format!("`{name}`: {error}"))?;
    Ok(NamedTensor { name, tensor })
}

/// Converts an output.
pub(super) fn to_tensor(output: NamedTensor) -> wire::Tensor {
    let NamedTensor { name, tensor } = output;
    wire::Tensor {
        name,
        datatype: to_datatype(tensor.element_type()),
        shape: tensor.shape().dimensions().to_vec(),
        data: tensor.into_content().into(),
    }
}

/// Converts the signature of a graph.
pub(super) fn to_signature(signature: Signature) -> wire::ModelSignature {
    wire::ModelSignature {
        inputs: signature.inputs.into_iter().map(to_spec).collect(),
        outputs: signature.outputs.into_iter().map(to_spec).collect(),
        graphs: Vec::new(),
    }
}

fn to_spec(spec: TensorSpec) -> wire::TensorSpec {
    let sizes = spec.shape.into_iter().map(|size| match size {
        Dimension::Fixed(size) => i64::from(size),
        Dimension::Variable => -1,
    });
    wire::TensorSpec {
        name: spec.name,
        datatype: to_datatype(spec.element_type),
        shape: sizes.collect(),
        optional: spec.optional,
    }
}

fn from_datatype(datatype: wire::Datatype) -> ElementType {
    match datatype {
        wire::Datatype::Bool => ElementType::Bool,
        wire::Datatype::Uint8 => ElementType::Uint8,
        wire::Datatype::Uint16 => ElementType::Uint16,
        wire::Datatype::Uint32 => ElementType::Uint32,
        wire::Datatype::Uint64 => ElementType::Uint64,
        wire::Datatype::Int8 => ElementType::Int8,
        wire::Datatype::Int16 => ElementType::Int16,
        wire::Datatype::Int32 => ElementType::Int32,
        wire::Datatype::Int64 => ElementType::Int64,
        wire::Datatype::Fp16 => ElementType::Fp16,
        wire::Datatype::Bf16 => ElementType::Bf16,
        wire::Datatype::Fp32 => ElementType::Fp32,
        wire::Datatype::Fp64 => ElementType::Fp64,
        wire::Datatype::Bytes => ElementType::Bytes,
    }
}

fn to_datatype(element_type: ElementType) -> wire::Datatype {
    match element_type {
        ElementType::Bool => wire::Datatype::Bool,
        ElementType::Uint8 => wire::Datatype::Uint8,
        ElementType::Uint16 => wire::Datatype::Uint16,
        ElementType::Uint32 => wire::Datatype::Uint32,
        ElementType::Uint64 => wire::Datatype::Uint64,
        ElementType::Int8 => wire::Datatype::Int8,
        ElementType::Int16 => wire::Datatype::Int16,
        ElementType::Int32 => wire::Datatype::Int32,
        ElementType::Int64 => wire::Datatype::Int64,
        ElementType::Fp16 => wire::Datatype::Fp16,
        ElementType::Bf16 => wire::Datatype::Bf16,
        ElementType::Fp32 => wire::Datatype::Fp32,
        ElementType::Fp64 => wire::Datatype::Fp64,
        ElementType::Bytes => wire::Datatype::Bytes,
    }
}
