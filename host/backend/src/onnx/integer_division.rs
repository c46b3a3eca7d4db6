//! Rewrites integer divisions so that they do not trap.
//!
//! The smallest integer divided by -1 does not fit its type. On x86 such a division or remainder raises a
//! signal that ends the process, and ONNX Runtime checks only for zero, which it reports as an error of the
//! run. If a divisor may be -1, it is therefore replaced by 1 and the sign of the quotient is changed. The
//! smallest integer then stays unchanged, as in numpy and two's complement, and all other results are the
//! same.
//!
//! The guards of integers need only operators of version 7, the first one that ONNX Runtime supports. If the
//! type of the operands does not follow from the file, they may be floats, whose results must not change
//! either; the guard then compares as FLOAT64, which has -1 and no other number that rounds to it.

use super::node_builder::{cast, operator, tensor_constant};
use super::node_parts::{inner_graphs, inner_graphs_mut, is_onnx, opset};
use super::value_types::{ValueTypes, add_node_types, add_types};
use crate::pb::tensor_proto::{DataLocation, DataType};
use crate::pb::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto,
};
use std::collections::HashSet;

/// The first version of ONNX's operators whose operands are broadcast as today.
const BROADCAST_OPSET: i64 = 7;

/// The first version in which `Equal` compares floats.
const EQUAL_FLOATS_OPSET: i64 = 11;

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
        rewriter.opset = opset(&function.opset_import).unwrap_or(0);
        rewriter.rewrite_function(function)?;
    }
    Ok(rewriter.rewritten > 0)
}

struct Rewriter {
    opset: i64,
    rewritten: usize,
}

/// The names of the values in the guard of one division.
struct Guard<'a> {
    node: &'a NodeProto,
    number: usize,
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
            opset: opset(imports).unwrap_or(0),
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
        // A request may replace the initializer of an input.
        let inputs: HashSet<&str> = graph
            .input
            .iter()
            .map(|input| input.name.as_str())
            .collect();
        for tensor in &graph.initializer {
            match has_minus_one(tensor) || inputs.contains(tensor.name.as_str()) {
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
            for inner in inner_graphs_mut(&mut node) {
                self.rewrite_graph(inner, &scope)?;
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
        let (least, condition) = match element_type {
            Some(_) => (BROADCAST_OPSET, ""),
            None => (
                EQUAL_FLOATS_OPSET,
                " if the type of the operands is unknown",
            ),
        };
        if self.opset < least {
            return Err(format!(
                "`{output}`: integers can be divided safely from version {least} of ONNX's operators \
                 on{condition}, and the model has version {}",
                self.opset
            ));
        }
        self.rewritten += 1;
        let guard = Guard {
            node,
            number: self.rewritten,
        };
        Ok(Some(match element_type {
            Some(&element_type) => guard.of_integers(element_type),
            None => guard.of_any_type(),
        }))
    }
}

// === impl Guard ===

impl Guard<'_> {
    fn name(&self, part: &str) -> String {
        let output = self.node.output.first().map_or("", String::as_str);
        format!("{output}.wisp_{part}_{}", self.number)
    }

    /// Returns the operation with another divisor and output.
    fn division(&self, divisor: &str, output: &str) -> NodeProto {
        let mut division = self.node.clone();
        division.input[1] = divisor.to_owned();
        division.output[0] = output.to_owned();
        division
    }

    fn is_modulo(&self) -> bool {
        self.node.op_type == "Mod"
    }

    /// Adds 2 to divisors of -1, and subtracts 2 from the sign of their quotients.
    fn of_integers(&self, element_type: i32) -> Vec<NodeProto> {
        let (divisor, output) = (&self.node.input[1], &self.node.output[0]);
        let [minus_one, is_minus_one, flag, two, safe] =
            ["minus_one", "is_minus_one", "flag", "two", "divisor"].map(|part| self.name(part));
        let mut nodes = vec![
            constant(&minus_one, -1, element_type),
            operator("Equal", &[divisor, &minus_one], &is_minus_one),
            cast(&is_minus_one, &flag, element_type),
            operator("Add", &[&flag, &flag], &two),
            operator("Add", &[divisor, &two], &safe),
        ];
        if self.is_modulo() {
            // The remainder is 0 for a divisor of 1 as for -1.
            nodes.push(self.division(&safe, output));
            return nodes;
        }
        let [quotient, one, sign] = ["quotient", "one", "sign"].map(|part| self.name(part));
        nodes.extend([
            self.division(&safe, &quotient),
            constant(&one, 1, element_type),
            operator("Sub", &[&one, &two], &sign),
            operator("Mul", &[&quotient, &sign], output),
        ]);
        nodes
    }

    /// Replaces divisors of -1 by their squares, and multiplies the dividend by them instead.
    fn of_any_type(&self) -> Vec<NodeProto> {
        let (dividend, divisor) = (&self.node.input[0], &self.node.input[1]);
        let output = &self.node.output[0];
        let [minus_one, number, is_minus_one] =
            ["minus_one", "number", "is_minus_one"].map(|part| self.name(part));
        let [square, safe] = ["square", "divisor"].map(|part| self.name(part));
        let mut nodes = vec![
            constant(&minus_one, -1, DataType::Double as i32),
            cast(divisor, &number, DataType::Double as i32),
            operator("Equal", &[&number, &minus_one], &is_minus_one),
            operator("Mul", &[divisor, divisor], &square),
            operator("Where", &[&is_minus_one, &square, divisor], &safe),
        ];
        if self.is_modulo() {
            nodes.push(self.division(&safe, output));
            return nodes;
        }
        let [quotient, product] = ["quotient", "product"].map(|part| self.name(part));
        nodes.extend([
            self.division(&safe, &quotient),
            operator("Mul", &[dividend, divisor], &product),
            operator("Where", &[&is_minus_one, &product, &quotient], output),
        ]);
        nodes
    }
}

/// Returns whether the node or a node of its inner graphs divides.
fn divides_somewhere(node: &NodeProto) -> bool {
    let mut inner = inner_graphs(node);
    is_onnx(node, &["Div", "Mod"]) || inner.any(|graph| graph.node.iter().any(divides_somewhere))
}

fn is_safe_constant(attribute: &AttributeProto) -> bool {
    // Each call of a function gives such an attribute its own value.
    if !attribute.ref_attr_name.is_empty() {
        return false;
    }
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
    let bytes = match DataType::try_from(element_type) {
        Ok(DataType::Int32) => number.to_le_bytes()[..4].to_vec(),
        Ok(DataType::Double) => (number as f64).to_le_bytes().to_vec(),
        _ => number.to_le_bytes().to_vec(),
    };
    let scalar = TensorProto {
        data_type: element_type,
        raw_data: bytes,
        ..Default::default()
    };
    tensor_constant(name, scalar)
}

#[cfg(test)]
mod tests;
