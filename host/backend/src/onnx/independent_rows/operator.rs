//! An operator of a graph, with the knowledge of its inputs.

use super::product::{Product, Symbols};
use super::value::{Sizes, Tensor, Value};
use crate::onnx::node_parts::attribute;
use crate::pb::tensor_proto::{DataLocation, DataType};
use crate::pb::{AttributeProto, NodeProto, TensorProto};
use std::collections::HashMap;

/// The values of a node's outputs, in order. `None` means that the node is not known to keep rows apart. The
/// same holds for outputs beyond the last value.
pub(super) type Outputs = Option<Vec<Value>>;

/// An operator whose inputs are known.
#[derive(Debug)]
pub(super) struct Operator<'a> {
    pub(super) node: &'a NodeProto,
    /// The inputs; `None` for one that is left out.
    pub(super) inputs: Vec<Option<&'a Value>>,
    /// The version of ONNX's own operators.
    pub(super) opset: i64,
    /// The tensors in the file, by name.
    pub(super) contents: &'a HashMap<&'a str, &'a TensorProto>,
    pub(super) symbols: &'a mut Symbols,
}

/// Returns the only output, if it is known.
pub(super) fn alone(tensor: Option<Tensor>) -> Outputs {
    Some(vec![Value::Tensor(tensor?)])
}

/// Returns the axis with this number in a tensor of this rank. Negative numbers count from the end.
pub(super) fn axis_of(number: i64, rank: usize) -> Option<usize> {
    let size = i64::try_from(rank).ok()?;
    let axis = if number < 0 { number + size } else { number };
    usize::try_from(axis).ok().filter(|axis| *axis < rank)
}

impl<'a> Operator<'a> {
    /// Returns the input at this position, if it is given.
    pub(super) fn input(&self, position: usize) -> Option<&'a Value> {
        self.inputs.get(position).copied().flatten()
    }

    /// Returns the input at this position as a tensor of known rank.
    pub(super) fn tensor(&self, position: usize) -> Option<Tensor> {
        self.input(position)?.to_tensor()
    }

    /// Returns all inputs, which must be given, as tensors of known rank.
    pub(super) fn tensors(&self) -> Option<Vec<Tensor>> {
        let tensors = self.inputs.iter().map(|input| (*input)?.to_tensor());
        tensors.collect()
    }

    /// Returns `None` if an input from this position on depends on the rows.
    pub(super) fn constant_from(&self, position: usize) -> Option<()> {
        let mut inputs = self.inputs.iter().skip(position).flatten();
        inputs.all(|input| input.is_constant()).then_some(())
    }

    /// Returns the integers at this position, if their number is known and they do not depend on data.
    pub(super) fn sizes(&self, position: usize) -> Option<&'a Sizes> {
        match self.input(position)? {
            Value::Sizes(sizes) => Some(sizes),
            Value::Tensor(_) | Value::Constant | Value::Mixed(_) => None,
        }
    }

    /// Returns the integers at this position, if they are known numbers.
    pub(super) fn integers(&self, position: usize) -> Option<Vec<i64>> {
        self.sizes(position)?.numbers()
    }

    /// Returns the floats at this position, if they are in the file.
    pub(super) fn floats(&self, position: usize) -> Option<Vec<f32>> {
        let name = self.node.input.get(position)?;
        let tensor = self.contents.get(name.as_str())?;
        let is_stored = tensor.data_location != Some(DataLocation::External as i32);
        if tensor.data_type != DataType::Float as i32 || !is_stored {
            return None;
        }
        if tensor.raw_data.is_empty() {
            return Some(tensor.float_data.clone());
        }
        let (floats, _) = tensor.raw_data.as_chunks();
        Some(
            floats
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect(),
        )
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&'a AttributeProto> {
        attribute(self.node, name)
    }

    /// Returns the integer attribute, or `default` without one.
    pub(super) fn integer(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |found| found.i)
    }

    /// Returns the attribute of several integers.
    pub(super) fn list(&self, name: &str) -> Option<&'a [i64]> {
        self.attribute(name).map(|found| found.ints.as_slice())
    }

    /// Returns the attribute as text, which is empty without one.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        match self.attribute(name) {
            None => Some(""),
            Some(found) => std::str::from_utf8(&found.s).ok(),
        }
    }

    /// Returns the axis that the attribute `name` numbers.
    pub(super) fn axis(&self, name: &str, default: i64, rank: usize) -> Option<usize> {
        axis_of(self.integer(name, default), rank)
    }

    /// Returns whether there are axes, as an attribute or as the input at this position.
    pub(super) fn has_axes(&self, position: usize) -> bool {
        self.attribute("axes").is_some() || self.input(position).is_some()
    }

    /// Returns the numbers of axes, which are an attribute or the input at this position.
    pub(super) fn axis_numbers(&self, position: usize) -> Option<Vec<i64>> {
        match self.list("axes") {
            Some(axes) => Some(axes.to_vec()),
            None => self.integers(position),
        }
    }

    /// Returns the axes, which are an attribute or the input at this position.
    pub(super) fn axes(&self, position: usize, rank: usize) -> Option<Vec<usize>> {
        let numbers = self.axis_numbers(position)?;
        let axes = numbers.into_iter().map(|number| axis_of(number, rank));
        axes.collect()
    }

    /// Returns an unknown size that is the same for every row.
    pub(super) fn new_size(&mut self) -> Product {
        self.symbols.size()
    }
}
