//! Whether the tensors that an ONNX file holds are what it says of them, and how much there is in it.
//!
//! tract finds most of it too, but names neither tensor nor file, and some it only finds by asserting.
//! Refusals from here name the tensor, and no path of this machine.

use crate::onnx::{file_bytes, visit_tensors};
use std::path::Path;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{GraphProto, TensorProto};
use wisp_tensor::shape::MAX_RANK;

/// Nodes of a graph, inner ones included. Real ones have some thousands; tract's time is quadratic in them.
const MAX_NODES: usize = 30_000;

/// Check the number of nodes, and every tensor; external data must lie in `folder`.
pub(super) fn check_stored(graph: &GraphProto, folder: Option<&Path>) -> Result<(), String> {
    let nodes = count_nodes(graph);
    if nodes > MAX_NODES {
        return Err(format!(
            "the graph has {nodes} nodes, at most {MAX_NODES} are loaded"
        ));
    }
    let mut fault = Ok(());
    visit_tensors(graph, &mut |tensor| {
        if fault.is_ok()
            && let Err(reason) = check_tensor(tensor, folder)
        {
            fault = Err(format!("tensor `{}` {reason}", tensor.name));
        }
    });
    fault
}

/// The depth is bounded by the decoder's limit on nested messages.
fn count_nodes(graph: &GraphProto) -> usize {
    let attributes = graph.node.iter().flat_map(|node| &node.attribute);
    let inner = attributes.flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs));
    graph.node.len() + inner.map(count_nodes).sum::<usize>()
}

fn check_tensor(tensor: &TensorProto, folder: Option<&Path>) -> Result<(), String> {
    let Ok(data_type) = DataType::try_from(tensor.data_type) else {
        return Err(format!("is of unknown type {}", tensor.data_type));
    };
    if tensor.dims.len() > MAX_RANK {
        return Err(format!(
            "has {} axes, at most {MAX_RANK} are computed with",
            tensor.dims.len()
        ));
    }
    let elements = tensor.dims.iter().try_fold(1usize, |product, &size| {
        product.checked_mul(usize::try_from(size).ok()?)
    });
    let Some(elements) = elements else {
        return Err(format!("cannot have the shape {:?}", tensor.dims));
    };
    let bytes = element_bytes(data_type).map(|size| elements.checked_mul(size));
    let external = tensor.data_location == Some(DataLocation::External as i32);
    let expected_bytes = match bytes {
        Some(Some(bytes)) => Some(bytes),
        Some(None) => return Err(format!("cannot have the shape {:?}", tensor.dims)),
        None if external || !tensor.raw_data.is_empty() => {
            return Err(format!(
                "is of {} and stored as bytes",
                data_type.as_str_name()
            ));
        }
        None => None,
    };
    let length = |actual: usize, expected: usize, unit: &str| match actual == expected {
        true => Ok(()),
        false => Err(format!(
            "holds {actual} {unit} instead of the {expected} of its shape {:?}",
            tensor.dims
        )),
    };
    match expected_bytes {
        Some(bytes) if !tensor.raw_data.is_empty() => length(tensor.raw_data.len(), bytes, "bytes"),
        Some(bytes) if external => {
            let (location, stored) = external_bytes(tensor, folder)?;
            length(stored, bytes, "bytes")
                .map_err(|reason| format!("in external data `{location}` {reason}"))
        }
        _ => match listed_elements(tensor, data_type) {
            Some(listed) => length(listed, elements, "elements"),
            None => Ok(()),
        },
    }
}

/// Bytes per element of the types that are stored as bytes one by one; `None` for others, strings among
/// them.
fn element_bytes(data_type: DataType) -> Option<usize> {
    match data_type {
        DataType::Bool | DataType::Uint8 | DataType::Int8 => Some(1),
        DataType::Uint16 | DataType::Int16 | DataType::Float16 | DataType::Bfloat16 => Some(2),
        DataType::Uint32 | DataType::Int32 | DataType::Float => Some(4),
        DataType::Uint64 | DataType::Int64 | DataType::Double => Some(8),
        _ => None,
    }
}

/// How many elements the list of the tensor's type has; `None` for types of which tract reads none.
fn listed_elements(tensor: &TensorProto, data_type: DataType) -> Option<usize> {
    match data_type {
        DataType::Float => Some(tensor.float_data.len()),
        DataType::Double => Some(tensor.double_data.len()),
        DataType::Int64 => Some(tensor.int64_data.len()),
        DataType::String => Some(tensor.string_data.len()),
        DataType::Bool
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Uint8
        | DataType::Uint16
        | DataType::Float16 => Some(tensor.int32_data.len()),
        _ => None,
    }
}

/// Where a tensor's external data is, as the model says, and how many bytes of it are the tensor's.
///
/// tract checks the place again when it reads; here the refusal names no path of this machine.
fn external_bytes<'a>(
    tensor: &'a TensorProto,
    folder: Option<&Path>,
) -> Result<(&'a str, usize), String> {
    let entry = |key: &str| {
        let mut entries = tensor.external_data.iter();
        entries
            .find(|entry| entry.key == key)
            .map(|entry| entry.value.as_str())
    };
    let location = entry("location").unwrap_or_default();
    let refused = |reason: String| format!("has external data `{location}`, which {reason}");
    let number = |key: &str| match entry(key).map(str::parse::<usize>) {
        Some(Ok(number)) => Ok(Some(number)),
        Some(Err(_)) => Err(refused(format!("has no number for `{key}`"))),
        None => Ok(None),
    };
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    let file = file_bytes(location, folder).map_err(refused)?;
    let rest = file.checked_sub(offset);
    match (rest, length) {
        (Some(rest), None) => Ok((location, rest)),
        (Some(rest), Some(length)) if length <= rest => Ok((location, length)),
        _ => Err(refused(format!("has {file} bytes and ends before"))),
    }
}
