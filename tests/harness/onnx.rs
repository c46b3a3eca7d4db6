//! ONNX files written message by message, so that tests can write files that no exporter would.
//!
//! Contains only the parts of onnx.proto3 that the tests need, with its field numbers.

use prost::Message;

/// Element type codes of ONNX.
pub(crate) const FLOAT: i32 = 1;
pub(crate) const UINT8: i32 = 2;
pub(crate) const INT8: i32 = 3;
pub(crate) const UINT16: i32 = 4;
pub(crate) const INT16: i32 = 5;
pub(crate) const INT32: i32 = 6;
pub(crate) const INT64: i32 = 7;
pub(crate) const STRING: i32 = 8;
pub(crate) const BOOL: i32 = 9;
pub(crate) const FLOAT16: i32 = 10;
pub(crate) const UINT32: i32 = 12;
pub(crate) const UINT64: i32 = 13;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Model {
    #[prost(int64, tag = "1")]
    pub(crate) ir_version: i64,
    #[prost(message, optional, tag = "7")]
    pub(crate) graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) opset_import: Vec<Opset>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Opset {
    #[prost(string, tag = "1")]
    pub(crate) domain: String,
    #[prost(int64, tag = "2")]
    pub(crate) version: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub(crate) node: Vec<Node>,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) initializer: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    pub(crate) input: Vec<Value>,
    #[prost(message, repeated, tag = "12")]
    pub(crate) output: Vec<Value>,
    #[prost(message, repeated, tag = "13")]
    pub(crate) value_info: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub(crate) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) output: Vec<String>,
    #[prost(string, tag = "4")]
    pub(crate) op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) attribute: Vec<Attribute>,
    #[prost(string, tag = "7")]
    pub(crate) domain: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Attribute {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(int64, tag = "3")]
    pub(crate) i: i64,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) s: Vec<u8>,
    #[prost(message, optional, tag = "5")]
    pub(crate) t: Option<Tensor>,
    #[prost(message, optional, tag = "6")]
    pub(crate) g: Option<Graph>,
    #[prost(int64, repeated, tag = "8")]
    pub(crate) ints: Vec<i64>,
    #[prost(int32, tag = "20")]
    pub(crate) r#type: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    pub(crate) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(crate) data_type: i32,
    #[prost(float, repeated, tag = "4")]
    pub(crate) float_data: Vec<f32>,
    #[prost(int64, repeated, tag = "7")]
    pub(crate) int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    pub(crate) name: String,
    #[prost(bytes = "vec", tag = "9")]
    pub(crate) raw_data: Vec<u8>,
    #[prost(message, repeated, tag = "13")]
    pub(crate) external_data: Vec<Entry>,
    #[prost(int32, tag = "14")]
    pub(crate) data_location: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Entry {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Value {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) r#type: Option<Type>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Type {
    #[prost(message, optional, tag = "1")]
    pub(crate) tensor: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorType {
    #[prost(int32, tag = "1")]
    pub(crate) elem_type: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<Axes>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Axes {
    #[prost(message, repeated, tag = "1")]
    pub(crate) dim: Vec<Axis>,
}

/// An axis. Without a value, its size is variable, and may have a name.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Axis {
    #[prost(int64, optional, tag = "1")]
    pub(crate) value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub(crate) name: Option<String>,
}

// === impl Model ===

impl Model {
    /// Returns a model of this graph, with version 17 of the operators.
    pub(crate) fn of(graph: Graph) -> Model {
        Model {
            ir_version: 8,
            graph: Some(graph),
            opset_import: vec![Opset {
                domain: String::new(),
                version: 17,
            }],
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}

// === impl Graph ===

impl Graph {
    /// Returns a graph with an f32 input `x` and an output `y` of the same shape, and no nodes.
    pub(crate) fn from_x_to_y(x: &[Option<i64>]) -> Graph {
        Graph {
            name: "g".to_owned(),
            input: vec![Value::of("x", FLOAT, x)],
            output: vec![Value::of("y", FLOAT, x)],
            ..Graph::default()
        }
    }

    pub(crate) fn node(mut self, op_type: &str, inputs: &[&str], outputs: &[&str]) -> Graph {
        self.node.push(Node {
            input: inputs.iter().map(ToString::to_string).collect(),
            output: outputs.iter().map(ToString::to_string).collect(),
            op_type: op_type.to_owned(),
            ..Node::default()
        });
        self
    }

    /// Adds an attribute to the last node.
    pub(crate) fn with(mut self, attribute: Attribute) -> Graph {
        if let Some(node) = self.node.last_mut() {
            node.attribute.push(attribute);
        }
        self
    }

    pub(crate) fn initializer(mut self, tensor: Tensor) -> Graph {
        self.initializer.push(tensor);
        self
    }

    /// Adds an initializer of INT64.
    pub(crate) fn integers(self, name: &str, dims: &[i64], values: &[i64]) -> Graph {
        self.initializer(Tensor {
            int64_data: values.to_vec(),
            ..Tensor::of(name, INT64, dims)
        })
    }

    /// Adds an initializer of FLOAT.
    pub(crate) fn floats(self, name: &str, dims: &[i64], values: &[f32]) -> Graph {
        self.initializer(Tensor {
            float_data: values.to_vec(),
            ..Tensor::of(name, FLOAT, dims)
        })
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        Model::of(self).bytes()
    }
}

// === impl Tensor ===

impl Tensor {
    /// Returns a tensor without data.
    pub(crate) fn of(name: &str, data_type: i32, dims: &[i64]) -> Tensor {
        Tensor {
            name: name.to_owned(),
            data_type,
            dims: dims.to_vec(),
            ..Tensor::default()
        }
    }

    /// Stores the location of external data in the tensor.
    pub(crate) fn external(mut self, entries: &[(&str, &str)]) -> Tensor {
        self.data_location = 1;
        let entries = entries.iter().map(|(key, value)| Entry {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        });
        self.external_data = entries.collect();
        self
    }
}

// === impl Attribute ===

impl Attribute {
    pub(crate) fn int(name: &str, i: i64) -> Attribute {
        Attribute {
            name: name.to_owned(),
            i,
            r#type: 2,
            ..Attribute::default()
        }
    }

    pub(crate) fn string(name: &str, text: &str) -> Attribute {
        Attribute {
            name: name.to_owned(),
            s: text.as_bytes().to_vec(),
            r#type: 3,
            ..Attribute::default()
        }
    }

    pub(crate) fn ints(name: &str, ints: &[i64]) -> Attribute {
        Attribute {
            name: name.to_owned(),
            ints: ints.to_vec(),
            r#type: 7,
            ..Attribute::default()
        }
    }

    pub(crate) fn graph(name: &str, graph: Graph) -> Attribute {
        Attribute {
            name: name.to_owned(),
            g: Some(graph),
            r#type: 5,
            ..Attribute::default()
        }
    }
}

// === impl Value ===

impl Value {
    pub(crate) fn of(name: &str, elem_type: i32, axes: &[Option<i64>]) -> Value {
        let dim = axes.iter().map(|&value| Axis { value, name: None });
        Value {
            name: name.to_owned(),
            r#type: Some(Type {
                tensor: Some(TensorType {
                    elem_type,
                    shape: Some(Axes { dim: dim.collect() }),
                }),
            }),
        }
    }

    /// Returns a matrix of FLOAT with a variable number of rows, whose axis has this name.
    pub(crate) fn matrix(name: &str, rows: &str, columns: i64) -> Value {
        let mut value = Value::of(name, FLOAT, &[None, Some(columns)]);
        let declared = value.r#type.as_mut();
        let tensor = declared.and_then(|declared| declared.tensor.as_mut());
        if let Some(shape) = tensor.and_then(|tensor| tensor.shape.as_mut()) {
            shape.dim[0].name = Some(rows.to_owned());
        }
        value
    }
}
