//! Decides from a graph whether the rows of its inputs and outputs are independent.
//!
//! A row is an index of axis 0, the batch. The function [`rows`] follows each value from the inputs to the outputs
//! with the axis along which its rows lie. Operators that are not known to keep rows apart, and those whose
//! parameters make them mix rows, end the search. Sizes are followed as well: a graph that reads the number of
//! rows to reshape a value keeps them apart, and one that divides by it does not.
//!
//! Invariant: when in doubt, rows are dependent. Results then are right, and only slower.

mod content;
mod elementwise;
mod layout;
mod matrix;
mod network;
mod operator;
mod operator_table;
mod product;
mod reduction;
mod selection;
mod size_arithmetic;
mod table_model;
mod value;

use self::operator::Operator;
use self::operator_table::{infer, is_deterministic};
use self::product::{Product, Symbols};
use self::value::{Tensor, Value};
use super::node_parts::{inner_graphs, opset};
use crate::pb::tensor_shape_proto::{Dimension, dimension};
use crate::pb::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, type_proto};
use crate::rows::Rows;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// Parts of the names that exporters generate for axes. They differ from input to input without a meaning.
const GENERATED_NAMES: [&str; 3] = ["unk__", "_dynamic_axes_", "DynamicDimension"];

/// Returns the relation between the rows of this model.
pub(crate) fn rows(model: &ModelProto) -> Rows {
    let Some(graph) = &model.graph else {
        let reason = "the file contains no graph".to_owned();
        return Rows::Dependent { reason };
    };
    let inputs = required_inputs(graph);
    if let Some(reason) = different_batches(&inputs) {
        return Rows::Unrelated { reason };
    }
    match check_rows(model, graph, &inputs) {
        Ok(()) => Rows::Independent,
        Err(reason) => Rows::Dependent { reason },
    }
}

/// Returns the inputs without an initializer.
fn required_inputs(graph: &GraphProto) -> Vec<&ValueInfoProto> {
    let stored: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let inputs = graph.input.iter();
    inputs
        .filter(|input| !stored.contains(input.name.as_str()))
        .collect()
}

/// Returns the reason that the first axes of these inputs are not one batch: two of them have different names.
fn different_batches(inputs: &[&ValueInfoProto]) -> Option<String> {
    let named = |input: &&ValueInfoProto| {
        let axis = axes(input)?.first()?;
        Some((input.name.clone(), given_name(axis)?.to_owned()))
    };
    let mut named = inputs.iter().filter_map(named);
    let (first, batch) = named.next()?;
    let (other, axis) = named.find(|(_, axis)| *axis != batch)?;
    Some(format!(
        "the first axis of input `{first}` is `{batch}`, and the one of `{other}` is `{axis}`"
    ))
}

/// Returns the reason that rows may depend on each other, if there is one.
fn check_rows(
    model: &ModelProto,
    graph: &GraphProto,
    inputs: &[&ValueInfoProto],
) -> Result<(), String> {
    let mut values = GraphValues::new(model, graph);
    for tensor in &graph.initializer {
        values.add(&tensor.name, content::of_tensor(tensor))?;
        values.contents.insert(&tensor.name, tensor);
    }
    for tensor in &graph.sparse_initializer {
        if let Some(elements) = &tensor.values {
            values.add(&elements.name, Value::Constant)?;
        }
    }
    if inputs.is_empty() {
        return Err("the graph has no inputs".to_owned());
    }
    let batch = inputs
        .iter()
        .find_map(|input| given_name(axes(input)?.first()?));
    for input in inputs {
        let tensor = values.input(input, batch)?;
        values.add(&input.name, Value::Tensor(tensor))?;
    }
    for node in &graph.node {
        values.add_node(node)?;
    }
    graph
        .output
        .iter()
        .try_for_each(|output| values.check_output(&output.name))
}

/// The values of a graph up to one of its nodes.
struct GraphValues<'g> {
    values: HashMap<&'g str, Value>,
    /// The tensors in the file, by name.
    contents: HashMap<&'g str, &'g TensorProto>,
    symbols: Symbols,
    opset: i64,
    /// The domains and names of the operators that the file defines itself.
    functions: HashSet<(&'g str, &'g str)>,
    /// The names of the values that nodes compute, at any place of the graph.
    computed: HashSet<&'g str>,
}

impl<'g> GraphValues<'g> {
    fn new(model: &'g ModelProto, graph: &'g GraphProto) -> GraphValues<'g> {
        let functions = model.functions.iter().map(|function| {
            let (domain, name) = (function.domain.as_deref(), function.name.as_deref());
            (domain.unwrap_or_default(), name.unwrap_or_default())
        });
        let computed = graph.node.iter().flat_map(|node| &node.output);
        GraphValues {
            values: HashMap::new(),
            contents: HashMap::new(),
            symbols: Symbols::default(),
            opset: opset(&model.opset_import).unwrap_or(1),
            functions: functions.collect(),
            computed: computed.map(String::as_str).collect(),
        }
    }

    fn add(&mut self, name: &'g str, value: Value) -> Result<(), String> {
        match self.values.insert(name, value) {
            None => Ok(()),
            Some(_) => Err(format!("two values have the name `{name}`")),
        }
    }

    /// Returns the value of an input, whose first axis must be the batch, which has this name.
    fn input(&mut self, input: &ValueInfoProto, batch: Option<&str>) -> Result<Tensor, String> {
        let name = &input.name;
        let axes = axes(input).ok_or_else(|| format!("input `{name}` has no declared shape"))?;
        let Some((first, others)) = axes.split_first() else {
            return Err(format!("input `{name}` has no axes"));
        };
        if fixed_size(first).is_some() {
            return Err(format!("the first axis of input `{name}` has a fixed size"));
        }
        let mut sizes = vec![Product::rows()];
        for axis in others {
            if batch.is_some() && given_name(axis) == batch {
                return Err(format!("another axis of input `{name}` is the batch too"));
            }
            sizes.push(match fixed_size(axis) {
                // Exporters write 0 for sizes that they do not know.
                Some(size @ 1..) => Product::of(size),
                _ => self.symbols.size(),
            });
        }
        Tensor::new(sizes).ok_or_else(|| format!("input `{name}` has too many axes"))
    }

    fn add_node(&mut self, node: &'g NodeProto) -> Result<(), String> {
        let mut outputs = self.outputs(node).into_iter();
        for name in &node.output {
            let value = outputs.next().unwrap_or_else(|| mixed_by(node));
            if !name.is_empty() {
                self.add(name, value)?;
            }
        }
        if let ("Constant", [name], [attribute]) = (
            node.op_type.as_str(),
            node.output.as_slice(),
            node.attribute.as_slice(),
        ) && let Some(tensor) = &attribute.t
        {
            self.contents.insert(name, tensor);
        }
        Ok(())
    }

    /// Returns the values of the first outputs of a node. The others may depend on several rows.
    fn outputs(&mut self, node: &NodeProto) -> Vec<Value> {
        let mut inputs = Vec::with_capacity(node.input.len());
        for name in &node.input {
            inputs.push(match self.values.get(name.as_str()) {
                _ if name.is_empty() => None,
                Some(Value::Mixed(reason)) => {
                    return vec![Value::Mixed(Rc::clone(reason)); node.output.len()];
                }
                Some(value) => Some(value),
                None => return Vec::new(),
            });
        }
        let inferred = infer(&mut Operator {
            node,
            inputs,
            opset: self.opset,
            contents: &self.contents,
            symbols: &mut self.symbols,
        });
        match inferred {
            Some(outputs) if !self.defines(node) => outputs,
            _ if self.is_constant(node) => vec![Value::Constant; node.output.len()],
            _ => Vec::new(),
        }
    }

    /// Returns whether the file itself defines the operator of this node.
    fn defines(&self, node: &NodeProto) -> bool {
        let name = (node.domain.as_str(), node.op_type.as_str());
        self.functions.contains(&name)
    }

    /// Returns whether a node, with the graphs in it, computes the same for every row and number of rows.
    fn is_constant(&self, node: &NodeProto) -> bool {
        let is_constant = |name: &String| match self.values.get(name.as_str()) {
            Some(value) => value.is_constant(),
            // Other names belong to values within the node.
            None => !self.computed.contains(name.as_str()),
        };
        let mut inner = inner_graphs(node);
        is_deterministic(&node.domain, &node.op_type)
            && !self.defines(node)
            && node.input.iter().all(is_constant)
            && inner.all(|graph| {
                let mut outputs = graph.output.iter();
                graph.node.iter().all(|node| self.is_constant(node))
                    && outputs.all(|output| is_constant(&output.name))
            })
    }

    /// Returns an error unless this output has the rows of the inputs.
    fn check_output(&self, name: &str) -> Result<(), String> {
        match self.values.get(name) {
            Some(Value::Tensor(tensor)) if tensor.sizes().first() == Some(&Product::rows()) => {
                Ok(())
            }
            Some(Value::Mixed(reason)) => Err(reason.to_string()),
            _ => Err(format!(
                "the first axis of output `{name}` is not the batch"
            )),
        }
    }
}

/// Returns the value of an output of a node that is not known to keep rows apart.
fn mixed_by(node: &NodeProto) -> Value {
    let name = match (node.name.as_str(), node.output.first()) {
        ("", Some(output)) => output.as_str(),
        (name, _) => name,
    };
    let operator = &node.op_type;
    Value::Mixed(format!("operator {operator} (`{name}`) may mix the rows of a batch").into())
}

/// Returns the declared axes of a tensor.
fn axes(value: &ValueInfoProto) -> Option<&[Dimension]> {
    let type_proto::Value::TensorType(tensor) = value.r#type.as_ref()?.value.as_ref()?;
    Some(tensor.shape.as_ref()?.dim.as_slice())
}

fn fixed_size(axis: &Dimension) -> Option<i64> {
    match axis.value {
        Some(dimension::Value::DimValue(size @ 0..)) => Some(size),
        _ => None,
    }
}

/// Returns the name of an axis, unless it is missing or generated.
fn given_name(axis: &Dimension) -> Option<&str> {
    match &axis.value {
        Some(dimension::Value::DimParam(name)) => {
            let is_generated = GENERATED_NAMES.iter().any(|part| name.contains(part));
            let is_placeholder = ["", "?", "None", "-1"].contains(&name.as_str());
            (!is_generated && !is_placeholder).then_some(name.as_str())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
