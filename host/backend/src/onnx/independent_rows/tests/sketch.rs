//! Graphs in short notation.

use super::super::rows;
use crate::pb::tensor_proto::DataType;
use crate::pb::tensor_shape_proto::{Dimension, dimension};
use crate::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};
use crate::rows::Rows;

/// A graph under construction, with version 17 of the operators.
#[derive(Clone)]
pub(super) struct Sketch {
    graph: GraphProto,
    opset: i64,
}

impl Default for Sketch {
    fn default() -> Sketch {
        Sketch {
            graph: GraphProto::default(),
            opset: 17,
        }
    }
}

impl Sketch {
    /// Returns a graph with the input `x` of these axes and the output `y`.
    pub(super) fn of(axes: &str) -> Sketch {
        Sketch::default().input("x", axes).output("y")
    }

    /// Adds an input. Its axes are numbers, names, or `?`.
    pub(super) fn input(mut self, name: &str, axes: &str) -> Sketch {
        let dim = axes.split_whitespace().map(|axis| Dimension {
            value: match (axis, axis.parse()) {
                ("?", _) => None,
                (_, Ok(size)) => Some(dimension::Value::DimValue(size)),
                (name, Err(_)) => Some(dimension::Value::DimParam(name.to_owned())),
            },
            ..Default::default()
        });
        let tensor = type_proto::Tensor {
            elem_type: DataType::Float as i32,
            shape: Some(TensorShapeProto { dim: dim.collect() }),
        };
        self.graph.input.push(ValueInfoProto {
            name: name.to_owned(),
            r#type: Some(TypeProto {
                value: Some(type_proto::Value::TensorType(tensor)),
                ..Default::default()
            }),
            ..Default::default()
        });
        self
    }

    pub(super) fn output(mut self, name: &str) -> Sketch {
        self.graph.output.push(ValueInfoProto {
            name: name.to_owned(),
            ..Default::default()
        });
        self
    }

    /// Adds a node. A domain stands before a colon, and `-` for an input that is left out.
    pub(super) fn node(mut self, operator: &str, inputs: &str, outputs: &str) -> Sketch {
        let names = |names: &str| {
            let names = names.split_whitespace();
            names
                .map(|name| name.trim_matches('-').to_owned())
                .collect()
        };
        let (domain, op_type) = operator.split_once(':').unwrap_or(("", operator));
        self.graph.node.push(NodeProto {
            input: names(inputs),
            output: names(outputs),
            op_type: op_type.to_owned(),
            domain: domain.to_owned(),
            ..Default::default()
        });
        self
    }

    /// Adds an attribute to the last node.
    fn attribute(mut self, attribute: AttributeProto) -> Sketch {
        let node = self.graph.node.last_mut().expect("there is a node");
        node.attribute.push(attribute);
        self
    }

    pub(super) fn int(self, name: &str, i: i64) -> Sketch {
        self.attribute(AttributeProto {
            name: name.to_owned(),
            i,
            ..Default::default()
        })
    }

    pub(super) fn ints(self, name: &str, ints: &[i64]) -> Sketch {
        self.attribute(AttributeProto {
            name: name.to_owned(),
            ints: ints.to_vec(),
            ..Default::default()
        })
    }

    pub(super) fn text(self, name: &str, text: &str) -> Sketch {
        self.attribute(AttributeProto {
            name: name.to_owned(),
            s: text.as_bytes().to_vec(),
            ..Default::default()
        })
    }

    pub(super) fn inner(self, name: &str, graph: GraphProto) -> Sketch {
        self.attribute(AttributeProto {
            name: name.to_owned(),
            g: Some(graph),
            ..Default::default()
        })
    }

    /// Adds a tensor attribute of one integer.
    pub(super) fn value(self, value: i64) -> Sketch {
        self.attribute(AttributeProto {
            name: "value".to_owned(),
            t: Some(integers("", &[1], &[value])),
            ..Default::default()
        })
    }

    /// Adds floats without content.
    pub(super) fn weights(mut self, name: &str, dims: &[i64]) -> Sketch {
        self.graph.initializer.push(TensorProto {
            name: name.to_owned(),
            dims: dims.to_vec(),
            data_type: DataType::Float as i32,
            ..Default::default()
        });
        self
    }

    /// Adds a vector of floats.
    pub(super) fn floats(mut self, name: &str, floats: &[f32]) -> Sketch {
        self.graph.initializer.push(TensorProto {
            name: name.to_owned(),
            dims: vec![i64::try_from(floats.len()).expect("they are few")],
            data_type: DataType::Float as i32,
            float_data: floats.to_vec(),
            ..Default::default()
        });
        self
    }

    /// Adds a vector of integers.
    pub(super) fn integers(mut self, name: &str, numbers: &[i64]) -> Sketch {
        let length = i64::try_from(numbers.len()).expect("they are few");
        self.graph
            .initializer
            .push(integers(name, &[length], numbers));
        self
    }

    /// Adds an integer without axes.
    pub(super) fn integer(mut self, name: &str, number: i64) -> Sketch {
        self.graph.initializer.push(integers(name, &[], &[number]));
        self
    }

    pub(super) fn opset(mut self, opset: i64) -> Sketch {
        self.opset = opset;
        self
    }

    pub(super) fn graph(self) -> GraphProto {
        self.graph
    }

    pub(super) fn model(self) -> ModelProto {
        ModelProto {
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: self.opset,
            }],
            graph: Some(self.graph),
            ..Default::default()
        }
    }

    pub(super) fn rows(self) -> Rows {
        rows(&self.model())
    }
}

fn integers(name: &str, dims: &[i64], numbers: &[i64]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: DataType::Int64 as i32,
        int64_data: numbers.to_vec(),
        ..Default::default()
    }
}

/// Checks that the rows of a graph are independent.
#[track_caller]
pub(super) fn keeps(sketch: Sketch) {
    assert_eq!(sketch.rows(), Rows::Independent);
}

/// Checks that the rows of a graph may depend on each other, for a reason that contains this text.
#[track_caller]
pub(super) fn mixes(sketch: Sketch, text: &str) {
    match sketch.rows() {
        Rows::Dependent { reason } => assert!(reason.contains(text), "{reason}"),
        other => panic!("{other:?}"),
    }
}
