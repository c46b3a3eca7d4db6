//! ONNX files generated in tests, so that no binary fixture needs to be trusted.

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto, type_proto,
};

/// The size of an axis in an ONNX file.
#[derive(Clone, Copy)]
pub(crate) enum Axis {
    Size(i64),
    Named(&'static str),
    /// An axis without a size or a name, as skl2onnx exports the batch.
    Unnamed,
}

/// A graph under construction.
#[derive(Default)]
pub(crate) struct OnnxFile {
    pub(crate) graph: GraphProto,
}

impl OnnxFile {
    pub(crate) fn input(mut self, name: &str, data_type: DataType, axes: &[Axis]) -> OnnxFile {
        self.graph.input.push(value_info(name, data_type, axes));
        self
    }

    pub(crate) fn output(mut self, name: &str) -> OnnxFile {
        self.graph
            .output
            .push(value_info(name, DataType::Float, &[]));
        self
    }

    pub(crate) fn node(mut self, op_type: &str, inputs: &[&str], outputs: &[&str]) -> OnnxFile {
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(ToString::to_string).collect(),
            output: outputs.iter().map(ToString::to_string).collect(),
            op_type: op_type.to_owned(),
            ..Default::default()
        });
        self
    }

    /// Sets the attributes of the last node.
    pub(crate) fn attributes(mut self, attributes: Vec<AttributeProto>) -> OnnxFile {
        self.graph.node.last_mut().unwrap().attribute = attributes;
        self
    }

    pub(crate) fn weights(mut self, name: &str, dims: &[i64], values: &[f32]) -> OnnxFile {
        self.graph.initializer.push(TensorProto {
            name: name.to_owned(),
            dims: dims.to_vec(),
            data_type: DataType::Float as i32,
            raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ..Default::default()
        });
        self
    }

    pub(crate) fn model(self) -> ModelProto {
        ModelProto {
            ir_version: 8,
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: 17,
            }],
            graph: Some(self.graph),
            ..Default::default()
        }
    }
}

pub(crate) fn value_info(name: &str, data_type: DataType, axes: &[Axis]) -> ValueInfoProto {
    let dim = axes
        .iter()
        .map(|axis| Dimension {
            value: match axis {
                Axis::Size(size) => Some(dimension::Value::DimValue(*size)),
                Axis::Named(name) => Some(dimension::Value::DimParam((*name).to_owned())),
                Axis::Unnamed => None,
            },
            ..Default::default()
        })
        .collect();
    let tensor = type_proto::Tensor {
        elem_type: data_type as i32,
        shape: Some(TensorShapeProto { dim }),
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

pub(crate) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: attribute_proto::AttributeType::Int as i32,
        i: value,
        ..Default::default()
    }
}

pub(crate) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: attribute_proto::AttributeType::Ints as i32,
        ints: values.to_vec(),
        ..Default::default()
    }
}

/// Returns layers of matrix product, addition and (between layers) Relu over `x`, with the output `y`.
///
/// The weights are small integers of both signs, so that a sum in any order is exact.
pub(crate) fn perceptron(batch: Axis, sizes: &[i64]) -> OnnxFile {
    let mut file = OnnxFile::default().input("x", DataType::Float, &[batch, Axis::Size(sizes[0])]);
    let mut value = "x".to_owned();
    for (layer, pair) in sizes.windows(2).enumerate() {
        let (weights, bias) = perceptron_layer(layer, pair);
        let (w, b) = (format!("w{layer}"), format!("b{layer}"));
        let (product, sum) = (format!("product{layer}"), format!("sum{layer}"));
        file = file
            .weights(&w, pair, &weights)
            .weights(&b, &pair[1..], &bias)
            .node("MatMul", &[&value, &w], &[&product])
            .node("Add", &[&product, &b], &[&sum]);
        value = sum;
        if layer + 2 < sizes.len() {
            let relu = format!("relu{layer}");
            file = file.node("Relu", &[&value], &[&relu]);
            value = relu;
        }
    }
    file.node("Identity", &[&value], &["y"]).output("y")
}

fn perceptron_layer(layer: usize, pair: &[i64]) -> (Vec<f32>, Vec<f32>) {
    let value = |index: i64| ((index * 7 + i64::try_from(layer).unwrap()) % 5 - 2) as f32;
    let weights = (0..pair[0] * pair[1]).map(value).collect();
    (weights, (0..pair[1]).map(value).collect())
}

/// Returns the output of [`perceptron`] for one row.
pub(crate) fn perceptron_row(sizes: &[i64], row: &[f32]) -> Vec<f32> {
    let mut values = row.to_vec();
    for (layer, pair) in sizes.windows(2).enumerate() {
        let (weights, bias) = perceptron_layer(layer, pair);
        values = bias
            .iter()
            .enumerate()
            .map(|(column, bias)| {
                let products = values.iter().enumerate();
                let sum: f32 = products
                    .map(|(i, v)| v * weights[i * bias_count(pair) + column])
                    .sum();
                match layer + 2 < sizes.len() {
                    true => (sum + bias).max(0.0),
                    false => sum + bias,
                }
            })
            .collect();
    }
    values
}

fn bias_count(pair: &[i64]) -> usize {
    usize::try_from(pair[1]).unwrap()
}
