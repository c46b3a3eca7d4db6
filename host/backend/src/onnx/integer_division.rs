//! Rewrites integer divisions so that they do not trap.
//!
//! The smallest integer divided by -1 does not fit its type. On x86 such a division or remainder raises a
//! signal that ends the process, and ONNX Runtime checks only for zero. If a divisor may be -1, it is
//! therefore replaced by 1 and the sign of the quotient is changed. The smallest integer then stays
//! unchanged, as in numpy and two's complement, and all other results are the same.

use super::value_types::{ValueTypes, add_node_types, add_types};
use std::collections::HashSet;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto,
};

/// The first opset of ONNX with `Where`.
const WHERE_OPSET: i64 = 9;

/// The first opset of ONNX with `CastLike`.
const CAST_LIKE_OPSET: i64 = 15;

/// Rewrites the divisions of `model` whose divisor may be -1. Returns whether there was any; without
/// one, the model stays unchanged.
///
/// # Errors
/// Returns a message that names a division which cannot be rewritten.
pub(crate) fn guard_integer_divisions(model: &mut ModelProto) -> Result<bool, String> {
    let mut rewriter = Rewriter::of(&model.opset_import);
    if let Some(graph) = &mut model.graph {
        rewriter.rewrite_graph(graph, &Scope::default())?;
    }
    for function in &mut model.functions {
        rewriter.opset = opset(&function.opset_import);
        rewriter.rewrite_function(function)?;
    }
    Ok(rewriter.rewritten > 0)
}

struct Rewriter {
    opset: i64,
    rewritten: usize,
}

/// The values of the outer graphs that an inner graph can use.
#[derive(Default, Clone)]
struct Scope {
    types: ValueTypes,
    /// Constants that do not contain -1.
    safe: HashSet<String>,
}

impl Rewriter {
    fn of(imports: &[OperatorSetIdProto]) -> Rewriter {
        Rewriter {
            opset: opset(imports),
            rewritten: 0,
        }
    }

    fn rewrite_graph(&mut self, graph: &mut GraphProto, outer: &Scope) -> Result<(), String> {
        // Most graphs contain no division, and then the types of their values are not needed.
        if !graph.node.iter().any(divides_somewhere) {
            return Ok(());
        }
        let mut scope = outer.clone();
        // A value hides an outer one of the same name.
        for value in graph.input.iter().chain(&graph.output) {
            scope.types.remove(&value.name);
            scope.safe.remove(&value.name);
        }
        for output in graph.node.iter().flat_map(|node| &node.output) {
            scope.types.remove(output);
            scope.safe.remove(output);
        }
        add_types(graph, &mut scope.types);
        for tensor in &graph.initializer {
            match has_minus_one(tensor) {
                true => scope.safe.remove(&tensor.name),
                false => scope.safe.insert(tensor.name.clone()),
            };
        }
        self.rewrite_nodes(&mut graph.node, scope)
    }

    fn rewrite_function(&mut self, function: &mut FunctionProto) -> Result<(), String> {
        if !function.node.iter().any(divides_somewhere) {
            return Ok(());
        }
        // The types of a function's inputs depend on each call.
        let mut scope = Scope::default();
        for node in &function.node {
            add_node_types(node, &mut scope.types);
        }
        self.rewrite_nodes(&mut function.node, scope)
    }

    fn rewrite_nodes(
        &mut self,
        nodes: &mut Vec<NodeProto>,
        mut scope: Scope,
    ) -> Result<(), String> {
        for node in nodes.iter() {
            let constant = |attribute: &AttributeProto| is_safe_constant(attribute);
            if is_onnx(node, &["Constant"]) && node.attribute.iter().all(constant) {
                scope.safe.extend(node.output.first().cloned());
            }
        }
        let mut rewritten = Vec::with_capacity(nodes.len());
        for mut node in std::mem::take(nodes) {
            for attribute in &mut node.attribute {
                for inner in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                    self.rewrite_graph(inner, &scope)?;
                }
            }
            match self.guarded(&node, &scope)? {
                Some(guarded) => rewritten.extend(guarded),
                None => rewritten.push(node),
            }
        }
        *nodes = rewritten;
        Ok(())
    }

    /// Returns the replacement of `node`, if it must be replaced.
    fn guarded(
        &mut self,
        node: &NodeProto,
        scope: &Scope,
    ) -> Result<Option<Vec<NodeProto>>, String> {
        let ([dividend, divisor], [output]) = (node.input.as_slice(), node.output.as_slice())
        else {
            return Ok(None);
        };
        if !is_onnx(node, &["Div", "Mod"]) || scope.safe.contains(divisor) {
            return Ok(None);
        }
        let names = [dividend, divisor, output];
        let element_type = names.into_iter().find_map(|name| scope.types.get(name));
        // Smaller integers are divided as larger ones, which have enough range.
        let needed = match element_type {
            None => true,
            Some(&found) => found == DataType::Int64 as i32 || found == DataType::Int32 as i32,
        };
        if !needed {
            return Ok(None);
        }
        let lacks = |version: i64, why: &str| {
            format!(
                "`{output}`: integers can be divided safely from version {version} of ONNX's operators on{why}, \
                 and the model has version {}",
                self.opset
            )
        };
        if self.opset < WHERE_OPSET {
            return Err(lacks(WHERE_OPSET, ""));
        }
        if element_type.is_none() && self.opset < CAST_LIKE_OPSET {
            let why = " if the type of the operands is unknown";
            return Err(lacks(CAST_LIKE_OPSET, why));
        }
        self.rewritten += 1;
        let name = |part: &str| format!("{output}.wisp_{part}_{}", self.rewritten);
        let (minus_one, one) = (name("minus_one"), name("one"));
        let (is_minus_one, safe) = (name("is_minus_one"), name("divisor"));
        let mut nodes = Vec::new();
        for (name, number) in [(&minus_one, -1), (&one, 1)] {
            match element_type {
                Some(&element_type) => nodes.push(constant(name, number, element_type)),
                None => {
                    let plain = format!("{name}_int64");
                    nodes.push(constant(&plain, number, DataType::Int64 as i32));
                    nodes.push(operator("CastLike", &[&plain, divisor], name));
                }
            }
        }
        nodes.push(operator("Equal", &[divisor, &minus_one], &is_minus_one));
        nodes.push(operator("Where", &[&is_minus_one, &one, divisor], &safe));
        let mut division = node.clone();
        division.input[1].clone_from(&safe);
        if node.op_type == "Mod" {
            // The remainder is 0 for a divisor of 1 as for -1.
            nodes.push(division);
            return Ok(Some(nodes));
        }
        let (quotient, sign) = (name("quotient"), name("sign"));
        division.output = vec![quotient.clone()];
        nodes.push(division);
        nodes.push(operator("Where", &[&is_minus_one, &minus_one, &one], &sign));
        nodes.push(operator("Mul", &[&quotient, &sign], output));
        Ok(Some(nodes))
    }
}

fn opset(imports: &[OperatorSetIdProto]) -> i64 {
    let own = |import: &&OperatorSetIdProto| ["", "ai.onnx"].contains(&import.domain.as_str());
    imports.iter().find(own).map_or(0, |import| import.version)
}

fn is_onnx(node: &NodeProto, operators: &[&str]) -> bool {
    ["", "ai.onnx"].contains(&node.domain.as_str()) && operators.contains(&node.op_type.as_str())
}

/// Returns whether the node or a node of its inner graphs divides.
fn divides_somewhere(node: &NodeProto) -> bool {
    let attributes = node.attribute.iter();
    let mut inner = attributes.flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs));
    is_onnx(node, &["Div", "Mod"]) || inner.any(|graph| graph.node.iter().any(divides_somewhere))
}

fn is_safe_constant(attribute: &AttributeProto) -> bool {
    match attribute.name.as_str() {
        "value" => attribute
            .t
            .as_ref()
            .is_some_and(|tensor| !has_minus_one(tensor)),
        "value_int" => attribute.i != -1,
        "value_ints" => !attribute.ints.contains(&-1),
        "value_float" | "value_floats" => true,
        _ => false,
    }
}

/// Returns whether a tensor of integers contains -1, or may contain it because its data is in another file.
fn has_minus_one(tensor: &TensorProto) -> bool {
    let is_outside = tensor.data_location == Some(DataLocation::External as i32);
    let width = match DataType::try_from(tensor.data_type) {
        Ok(DataType::Int64) => 8,
        Ok(DataType::Int32) => 4,
        _ => return false,
    };
    is_outside
        || tensor.int64_data.contains(&-1)
        || tensor.int32_data.contains(&-1)
        || (tensor.raw_data.chunks(width)).any(|bytes| bytes.iter().all(|&byte| byte == 0xff))
}

fn constant(name: &str, number: i64, element_type: i32) -> NodeProto {
    let bytes = match element_type == DataType::Int32 as i32 {
        true => number.to_le_bytes()[..4].to_vec(),
        false => number.to_le_bytes().to_vec(),
    };
    let mut node = operator("Constant", &[], name);
    node.attribute.push(AttributeProto {
        name: "value".to_owned(),
        r#type: AttributeType::Tensor as i32,
        t: Some(TensorProto {
            data_type: element_type,
            raw_data: bytes,
            ..Default::default()
        }),
        ..Default::default()
    });
    node
}

fn operator(op_type: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: op_type.to_owned(),
        name: output.to_owned(),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..Default::default()
    }
}

#[cfg(test)]
mod tests;
