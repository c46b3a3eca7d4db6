//! The names that a file gives to variable axes. Axes of the same name have the same size.

use crate::pb::GraphProto;
use crate::pb::tensor_shape_proto::dimension;
use crate::pb::type_proto;
use std::collections::HashMap;

/// The symbol of each axis of the inputs, if it has one. An axis may also have an expression in symbols of
/// other axes, such as `past + 1`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AxisSymbols {
    inputs: HashMap<String, Vec<Option<String>>>,
}

impl AxisSymbols {
    /// Returns the symbols that the inputs of `graph` declare.
    pub(crate) fn of(graph: &GraphProto) -> AxisSymbols {
        let mut symbols = AxisSymbols::default();
        for value in &graph.input {
            let declared = value.r#type.as_ref().and_then(|found| found.value.as_ref());
            let Some(type_proto::Value::TensorType(tensor)) = declared else {
                continue;
            };
            let axes = tensor.shape.iter().flat_map(|shape| &shape.dim);
            let axes = axes.map(|axis| match &axis.value {
                Some(dimension::Value::DimParam(symbol)) if is_symbol(symbol) => {
                    Some(symbol.clone())
                }
                _ => None,
            });
            symbols.insert(&value.name, axes.collect());
        }
        symbols
    }

    /// Sets the symbols of the axes of an input.
    pub(crate) fn insert(&mut self, input: &str, axes: Vec<Option<String>>) {
        self.inputs.insert(input.to_owned(), axes);
    }

    /// Returns the symbol of an axis of an input.
    pub(crate) fn get(&self, input: &str, axis: usize) -> Option<&str> {
        self.inputs.get(input)?.get(axis)?.as_deref()
    }
}

/// Returns whether a name identifies a size. Some exporters write a question mark for any size.
pub(super) fn is_symbol(name: &str) -> bool {
    !name.is_empty() && name != "?"
}
