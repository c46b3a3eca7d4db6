//! Rewrites graphs of FP16 as graphs of FP32 whose inputs and outputs are FP16.
//!
//! tract computes FP16 one number at a time, several hundred times slower than FP32, adds in half precision, and
//! refuses some operators. Stored tensors become FP32, a `Cast` follows each FP16 input and precedes each FP16
//! output, and a `Cast` to FP16 in the graph still rounds. onnxruntime computes most operators of FP16 in the same
//! way, without rounding between them.

use super::change_tensors::change_tensors;
use super::external_tensor::{ExternalBytes, is_external};
use super::node_builder;
use super::node_parts::{inner_graphs, inner_graphs_mut};
use crate::model_folder::ModelFolder;
use crate::pb::tensor_proto::{DataLocation, DataType};
use crate::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, type_proto,
};
use half::f16;
use std::collections::{HashMap, HashSet};

const HALF: i32 = DataType::Float16 as i32;
const SINGLE: i32 = DataType::Float as i32;

/// The maximum size of all external tensors together, the same as for a file.
const MAX_EXTERNAL_BYTES: u64 = i32::MAX as u64;

/// The end of the names of FP32 values whose FP16 forms are inputs or outputs.
const SUFFIX: &str = "/fp32";

/// The new names of values by their old ones.
type Renamed = HashMap<String, String>;

/// Rewrites a model with FP16. Its external data is in `folder`.
pub(crate) fn widen(model: &mut ModelProto, folder: Option<&ModelFolder>) -> Result<(), String> {
    let Some(graph) = &model.graph else {
        return Ok(());
    };
    let inputs: HashSet<String> = graph.input.iter().map(|input| input.name.clone()).collect();
    let mut left = MAX_EXTERNAL_BYTES;
    let mut found = graph.input.iter().chain(&graph.output).any(is_half);
    change_tensors(model, &mut |tensor| {
        // An initial value of an input has the type of the input.
        if tensor.data_type != HALF || inputs.contains(&tensor.name) {
            return Ok(());
        }
        found = true;
        let widened = widen_tensor(tensor, folder, &mut left);
        widened.map_err(|reason| format!("tensor `{}` {reason}", tensor.name))
    })?;
    let Some(graph) = &mut model.graph else {
        return Ok(());
    };
    if found || casts_to_half(graph) {
        widen_graph(graph);
    }
    Ok(())
}

/// Converts a tensor to FP32. One whose data does not fit its shape is left for the backend to refuse.
fn widen_tensor(
    tensor: &mut TensorProto,
    folder: Option<&ModelFolder>,
    left: &mut u64,
) -> Result<(), String> {
    let elements = tensor.dims.iter().try_fold(1usize, |product, &size| {
        product.checked_mul(usize::try_from(size).ok()?)
    });
    let Some(bytes) = elements.and_then(|elements| elements.checked_mul(2)) else {
        return Ok(());
    };
    let halves = if is_external(tensor) {
        let stored = ExternalBytes::of(tensor, folder)?;
        if stored.length != bytes {
            return Ok(());
        }
        let length = u64::try_from(bytes).unwrap_or(u64::MAX);
        *left = left.checked_sub(length).ok_or_else(|| {
            "and those before it have more than 2 GiB of external data".to_owned()
        })?;
        let mut content = vec![0; bytes];
        stored.read(&mut content)?;
        content
    } else if tensor.raw_data.is_empty() {
        let listed = tensor.int32_data.iter();
        listed
            .flat_map(|bits| {
                let [low, high, ..] = bits.to_le_bytes();
                [low, high]
            })
            .collect()
    } else {
        std::mem::take(&mut tensor.raw_data)
    };
    let halves = halves.as_chunks::<2>().0.iter();
    tensor.raw_data = halves
        .flat_map(|half| f16::from_le_bytes(*half).to_f32().to_le_bytes())
        .collect();
    tensor.int32_data.clear();
    tensor.external_data.clear();
    tensor.data_location = Some(DataLocation::Default as i32);
    tensor.data_type = SINGLE;
    Ok(())
}

fn is_half(value: &ValueInfoProto) -> bool {
    let declared = value
        .r#type
        .as_ref()
        .and_then(|r#type| r#type.value.as_ref());
    matches!(declared, Some(type_proto::Value::TensorType(tensor)) if tensor.elem_type == HALF)
}

/// Returns whether a node makes FP16 of another type.
fn casts_to_half(graph: &GraphProto) -> bool {
    graph
        .node
        .iter()
        .any(|node| node.attribute.iter().any(names_half) || inner_graphs(node).any(casts_to_half))
}

/// Returns whether the attribute selects FP16 as the type of an output.
fn names_half(attribute: &AttributeProto) -> bool {
    ["to", "dtype", "output_dtype"].contains(&attribute.name.as_str())
        && attribute.i == i64::from(HALF)
}

/// Rewrites the graph of a model, whose tensors are already FP32.
fn widen_graph(graph: &mut GraphProto) {
    let mut renamed = Renamed::new();
    let mut first = Vec::new();
    for input in graph.input.iter().filter(|input| is_half(input)) {
        let widened = format!("{}{SUFFIX}", input.name);
        first.push(cast(&input.name, &widened, SINGLE));
        renamed.insert(input.name.clone(), widened);
    }
    let mut last = Vec::new();
    for output in graph.output.iter().filter(|output| is_half(output)) {
        // An input that is also an output does not change.
        if renamed.contains_key(&output.name) {
            continue;
        }
        let widened = format!("{}{SUFFIX}", output.name);
        last.push(cast(&widened, &output.name, HALF));
        renamed.insert(output.name.clone(), widened);
    }
    let inputs: HashSet<&str> = graph
        .input
        .iter()
        .map(|input| input.name.as_str())
        .collect();
    for tensor in &mut graph.initializer {
        if !inputs.contains(tensor.name.as_str()) {
            rename(&mut tensor.name, &renamed);
        }
    }
    graph.value_info.iter_mut().for_each(declare_single);
    widen_nodes(&mut graph.node, &renamed);
    let nodes = std::mem::take(&mut graph.node);
    graph.node = first.into_iter().chain(nodes).chain(last).collect();
}

/// Rewrites nodes: the names of values, the types that attributes select, and inner graphs.
fn widen_nodes(nodes: &mut Vec<NodeProto>, renamed: &Renamed) {
    let mut widened = Vec::with_capacity(nodes.len());
    for mut node in std::mem::take(nodes) {
        for name in node.input.iter_mut().chain(&mut node.output) {
            rename(name, renamed);
        }
        for graph in inner_graphs_mut(&mut node) {
            let declared = graph.input.iter_mut().chain(&mut graph.output);
            let declared = declared.chain(&mut graph.value_info);
            declared.for_each(declare_single);
            for output in &mut graph.output {
                rename(&mut output.name, renamed);
            }
            widen_nodes(&mut graph.node, renamed);
        }
        let is_cast = node.op_type == "Cast" && node.attribute.iter().any(names_half);
        match node.output.first_mut().filter(|_| is_cast) {
            Some(output) => {
                // The numbers are rounded to FP16 and computed as FP32.
                let single = std::mem::take(output);
                let half = format!("{single}/fp16");
                output.clone_from(&half);
                widened.push(node);
                widened.push(cast(&half, &single, SINGLE));
            }
            None => {
                let attributes = node.attribute.iter_mut();
                for attribute in attributes.filter(|attribute| names_half(attribute)) {
                    attribute.i = i64::from(SINGLE);
                }
                widened.push(node);
            }
        }
    }
    *nodes = widened;
}

fn declare_single(value: &mut ValueInfoProto) {
    let declared = value
        .r#type
        .as_mut()
        .and_then(|r#type| r#type.value.as_mut());
    if let Some(type_proto::Value::TensorType(tensor)) = declared
        && tensor.elem_type == HALF
    {
        tensor.elem_type = SINGLE;
    }
}

fn rename(name: &mut String, renamed: &Renamed) {
    if let Some(new) = renamed.get(name) {
        name.clone_from(new);
    }
}

fn cast(input: &str, output: &str, to: i32) -> NodeProto {
    let mut node = node_builder::cast(input, output, to);
    // Another node may have the name of its output.
    node.name = format!("{output}/cast");
    node
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::test_graphs::node;
    use crate::pb::TypeProto;
    use anyhow::{Context, Result};

    fn half(name: &str) -> ValueInfoProto {
        let tensor = type_proto::Tensor {
            elem_type: HALF,
            shape: None,
        };
        ValueInfoProto {
            name: name.to_owned(),
            r#type: Some(TypeProto {
                value: Some(type_proto::Value::TensorType(tensor)),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn weights(name: &str, raw: bool) -> TensorProto {
        let bits = [0x3c00u16, 0xc000];
        let mut tensor = TensorProto {
            name: name.to_owned(),
            dims: vec![2],
            data_type: HALF,
            ..Default::default()
        };
        match raw {
            true => tensor.raw_data = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect(),
            false => tensor.int32_data = bits.map(i32::from).to_vec(),
        }
        tensor
    }

    fn widened(graph: GraphProto) -> Result<GraphProto> {
        let mut model = ModelProto {
            graph: Some(graph),
            ..Default::default()
        };
        widen(&mut model, None).map_err(anyhow::Error::msg)?;
        model.graph.context("the graph is gone")
    }

    /// Returns each node as its operator, inputs and output.
    fn described(graph: &GraphProto) -> Vec<String> {
        let described = |node: &NodeProto| {
            let to = match node.attribute.iter().find(|found| found.name == "to") {
                Some(to) => format!(" to {}", to.i),
                None => String::new(),
            };
            let (inputs, outputs) = (node.input.join(","), node.output.join(","));
            format!("{}{to} {inputs} -> {outputs}", node.op_type)
        };
        graph.node.iter().map(described).collect()
    }

    #[test]
    fn stored_numbers_and_intermediate_values_become_single() -> Result<()> {
        for raw in [true, false] {
            let graph = widened(GraphProto {
                input: vec![half("x")],
                output: vec![half("y"), half("z")],
                initializer: vec![weights("w", raw)],
                value_info: vec![half("a")],
                node: vec![
                    node("Mul", &["x", "w"], "a"),
                    node("Add", &["a", "x"], "y"),
                    node("Neg", &["y"], "z"),
                ],
                ..Default::default()
            })?;
            assert_eq!(
                described(&graph),
                [
                    "Cast to 1 x -> x/fp32",
                    "Mul x/fp32,w -> a",
                    "Add a,x/fp32 -> y/fp32",
                    "Neg y/fp32 -> z/fp32",
                    "Cast to 10 y/fp32 -> y",
                    "Cast to 10 z/fp32 -> z",
                ]
            );
            let stored = &graph.initializer[0];
            assert_eq!(stored.data_type, SINGLE);
            let expected = [1f32, -2.0].map(f32::to_le_bytes).concat();
            assert_eq!(stored.raw_data, expected);
            assert!(!is_half(&graph.value_info[0]));
            assert!(is_half(&graph.input[0]) && is_half(&graph.output[0]));
        }
        Ok(())
    }

    #[test]
    fn a_cast_to_half_precision_still_rounds() -> Result<()> {
        let mut to_half = node("Cast", &["x"], "h");
        to_half.attribute = cast("", "", HALF).attribute;
        let graph = widened(GraphProto {
            node: vec![to_half, node("Neg", &["h"], "y")],
            ..Default::default()
        })?;
        assert_eq!(
            described(&graph),
            [
                "Cast to 10 x -> h/fp16",
                "Cast to 1 h/fp16 -> h",
                "Neg h -> y"
            ]
        );
        Ok(())
    }

    #[test]
    fn inner_graphs_use_the_values_around_them() -> Result<()> {
        let branch = GraphProto {
            output: vec![half("b")],
            node: vec![node("Neg", &["x"], "b")],
            ..Default::default()
        };
        let mut choice = node("If", &["c"], "y");
        choice.attribute = vec![AttributeProto {
            name: "then_branch".to_owned(),
            g: Some(branch),
            ..Default::default()
        }];
        let graph = widened(GraphProto {
            input: vec![half("x")],
            output: vec![half("y")],
            node: vec![choice],
            ..Default::default()
        })?;
        let inner = graph.node[1].attribute[0].g.as_ref();
        let inner = inner.context("the branch is gone")?;
        assert_eq!(described(inner), ["Neg x/fp32 -> b"]);
        assert!(!is_half(&inner.output[0]));
        Ok(())
    }

    #[test]
    fn a_model_without_half_precision_is_not_changed() -> Result<()> {
        let graph = GraphProto {
            node: vec![node("Neg", &["x"], "y")],
            ..Default::default()
        };
        assert_eq!(widened(graph.clone())?, graph);
        Ok(())
    }

    #[test]
    fn a_tensor_that_does_not_fit_its_shape_has_fewer_numbers_afterwards() -> Result<()> {
        let mut short = weights("w", true);
        short.raw_data.truncate(3);
        let graph = widened(GraphProto {
            initializer: vec![short],
            ..Default::default()
        })?;
        assert_eq!(graph.initializer[0].raw_data.len(), 4);
        Ok(())
    }
}
