//! Nodes that are written one after the other, each of which has an output with a new name.

use crate::onnx::node_builder::{
    floats_constant, integers_constant, operator, with_integer, with_tensor,
};
use crate::onnx::rewriter::{NewNames, along_axis};
use crate::pb::tensor_proto::DataType;
use crate::pb::{NodeProto, TensorProto};
use std::ops::Range;

/// The nodes of a replacement so far. Lifetime: the rewrite of one node.
pub(super) struct Writer<'n> {
    pub(super) nodes: Vec<NodeProto>,
    names: &'n mut NewNames,
    /// The value that all names begin with.
    value: String,
    count: u32,
}

impl Writer<'_> {
    pub(super) fn new<'n>(value: &str, names: &'n mut NewNames) -> Writer<'n> {
        Writer {
            nodes: Vec::new(),
            names,
            value: value.to_owned(),
            count: 0,
        }
    }

    /// Returns a new name.
    pub(super) fn name(&mut self, part: &str) -> String {
        self.count = self.count.saturating_add(1);
        let part = format!("{part}_{}", self.count);
        self.names.name(&self.value, &part)
    }

    /// Adds a node and returns the name of its output.
    pub(super) fn add(&mut self, op_type: &str, inputs: &[&str]) -> String {
        self.add_with(op_type, inputs, |node| node)
    }

    /// Adds a node with attributes and returns the name of its output.
    pub(super) fn add_with(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        attributes: impl FnOnce(NodeProto) -> NodeProto,
    ) -> String {
        let output = self.name(&op_type.to_lowercase());
        let node = operator(op_type, inputs, &output);
        self.nodes.push(attributes(node));
        output
    }

    /// Adds a vector of INT64 and returns its name.
    pub(super) fn integers(&mut self, numbers: &[i64]) -> String {
        let output = self.name("integers");
        let node = integers_constant(&output, numbers.to_vec());
        self.nodes.push(node);
        output
    }

    /// Adds an INT64 and returns its name.
    pub(super) fn integer(&mut self, number: i64) -> String {
        self.add_with("Constant", &[], |node| {
            with_integer(node, "value_int", number)
        })
    }

    /// Adds a FLOAT and returns its name.
    pub(super) fn float(&mut self, number: f32) -> String {
        let output = self.name("float");
        let node = floats_constant(&output, Vec::new(), vec![number]);
        self.nodes.push(node);
        output
    }

    /// Adds a tensor of zeros of this shape, of FLOAT or INT64, and returns its name.
    pub(super) fn zeros(&mut self, shape: &str, data_type: DataType) -> String {
        let zero = TensorProto {
            dims: vec![1],
            data_type: data_type as i32,
            raw_data: match data_type {
                DataType::Float => 0_f32.to_le_bytes().to_vec(),
                _ => 0_i64.to_le_bytes().to_vec(),
            },
            ..Default::default()
        };
        self.add_with("ConstantOfShape", &[shape], |node| {
            with_tensor(node, "value", zero)
        })
    }

    /// Adds a part of a value along an axis and returns its name.
    pub(super) fn slice(&mut self, value: &str, axis: i64, range: Range<i64>) -> String {
        let (start, end) = (self.integers(&[range.start]), self.integers(&[range.end]));
        let axis = self.integers(&[axis]);
        self.add("Slice", &[value, &start, &end, &axis])
    }

    /// Adds an axis of size 1 to a value and returns the name of the result.
    pub(super) fn unsqueeze(&mut self, value: &str, axis: i64, opset: i64) -> String {
        let output = self.name("unsqueeze");
        let node = operator("Unsqueeze", &[value], &output);
        let nodes = along_axis(node, axis, opset, self.names);
        self.nodes.extend(nodes);
        output
    }
}
