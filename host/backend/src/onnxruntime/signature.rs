//! Converts the inputs and outputs of a session to a signature.

use crate::onnx;
use ort::session::Session;
use ort::value::{Outlet, TensorElementType, ValueType};
use std::collections::BTreeSet;
use wisp_tensor::{Dimension, ElementType, Signature, TensorSpec};

/// Returns the signature of the session, or an error that names an input or output that cannot be served.
pub(super) fn of(session: &Session) -> Result<Signature, String> {
    let specs = |outlets: &[Outlet], role| {
        let specs = outlets.iter().map(|outlet| spec(outlet, role));
        specs.collect::<Result<Vec<TensorSpec>, String>>()
    };
    let signature = Signature {
        inputs: specs(session.inputs(), "input")?,
        outputs: specs(session.outputs(), "output")?,
    };
    for specs in [&signature.inputs, &signature.outputs] {
        let names: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        if names.len() != specs.len() {
            return Err("two tensors have the same name".to_owned());
        }
    }
    match signature.outputs.is_empty() {
        true => Err("the graph has no outputs".to_owned()),
        false => Ok(signature),
    }
}

fn spec(outlet: &Outlet, role: &str) -> Result<TensorSpec, String> {
    let name = outlet.name();
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
        return Err(format!("{role} `{name}` is not a tensor"));
    };
    let element_type = element_type(*ty)
        .ok_or_else(|| format!("{role} `{name}` is {ty}, which no protocol supports"))?;
    let dimension = |&size: &i64| match size {
        ..0 => Some(Dimension::Variable),
        size => Dimension::from_wire(size),
    };
    let shape = shape
        .iter()
        .map(dimension)
        .collect::<Option<Vec<Dimension>>>()
        .ok_or_else(|| format!("{role} `{name}` has too large a size: {shape:?}"))?;
    Ok(TensorSpec {
        name: name.to_owned(),
        element_type,
        shape,
        optional: false,
    })
}

/// Returns Wisp's element type, if V2 has it.
pub(super) fn element_type(found: TensorElementType) -> Option<ElementType> {
    ElementType::ALL
        .into_iter()
        .find(|element_type| to_library(*element_type) == found)
}

/// Returns the library's element type.
pub(super) fn to_library(element_type: ElementType) -> TensorElementType {
    match element_type {
        ElementType::Bool => TensorElementType::Bool,
        ElementType::Uint8 => TensorElementType::Uint8,
        ElementType::Uint16 => TensorElementType::Uint16,
        ElementType::Uint32 => TensorElementType::Uint32,
        ElementType::Uint64 => TensorElementType::Uint64,
        ElementType::Int8 => TensorElementType::Int8,
        ElementType::Int16 => TensorElementType::Int16,
        ElementType::Int32 => TensorElementType::Int32,
        ElementType::Int64 => TensorElementType::Int64,
        ElementType::Fp16 => TensorElementType::Float16,
        ElementType::Bf16 => TensorElementType::Bfloat16,
        ElementType::Fp32 => TensorElementType::Float32,
        ElementType::Fp64 => TensorElementType::Float64,
        ElementType::Bytes => TensorElementType::String,
    }
}

/// Returns the library's type for a type in a file, and the bytes of an element, if the elements are numbers.
pub(super) fn of_file(data_type: i32) -> Option<(TensorElementType, usize)> {
    let element_type = onnx::element_type(data_type)?;
    Some((to_library(element_type), element_type.size()?))
}
