//! The cell of a recurrent operator: the inner graph that computes the states after a step from those before it.

use super::activation::Activation;
use super::writer::Writer;
use crate::onnx::node_parts::is_onnx;
use crate::pb::tensor_proto::DataType;
use crate::pb::{GraphProto, NodeProto, TypeProto, ValueInfoProto, type_proto};

/// The operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Rnn,
    Gru,
    Lstm,
}

/// The parameters of a cell, most of which are names of values around the inner graph.
pub(super) struct Cell {
    pub(super) kind: Kind,
    pub(super) hidden: i64,
    pub(super) activations: Vec<Activation>,
    /// The least and the greatest input of a gate.
    pub(super) limits: Option<[String; 2]>,
    /// The products with a state: one for all gates, or one for the first two gates of a GRU and one for the last.
    pub(super) products: Vec<Product>,
    /// The weights of the cell's state for the input, output and forget gates.
    pub(super) peepholes: Option<[String; 3]>,
    /// Set if the forget gate is 1 less the input gate.
    pub(super) is_coupled: bool,
    /// Set if the reset gate multiplies the product with the state, and not the state.
    pub(super) resets_product: bool,
    pub(super) zero: String,
    pub(super) one: String,
}

/// A product with a state.
pub(super) struct Product {
    pub(super) matrix: String,
    pub(super) bias: Option<String>,
}

/// The names of the inputs of a step.
struct Step {
    gates: String,
    h: String,
    c: String,
}

impl Kind {
    pub(super) fn of(node: &NodeProto) -> Option<Kind> {
        if !is_onnx(node, &["GRU", "LSTM", "RNN"]) {
            return None;
        }
        Some(match node.op_type.as_str() {
            "GRU" => Kind::Gru,
            "LSTM" => Kind::Lstm,
            _ => Kind::Rnn,
        })
    }

    pub(super) fn gates(self) -> i64 {
        match self {
            Kind::Rnn => 1,
            Kind::Gru => 3,
            Kind::Lstm => 4,
        }
    }

    /// Returns the number of states.
    pub(super) fn states(self) -> usize {
        match self {
            Kind::Rnn | Kind::Gru => 1,
            Kind::Lstm => 2,
        }
    }

    /// Returns the default activations.
    pub(super) fn activations(self) -> &'static [&'static str] {
        match self {
            Kind::Rnn => &["Tanh"],
            Kind::Gru => &["Sigmoid", "Tanh"],
            Kind::Lstm => &["Sigmoid", "Tanh", "Tanh"],
        }
    }
}

impl Cell {
    /// Returns the inner graph. Its inputs are the states, the gates and, if sequences end at different steps, whether
    /// each still has this one; its outputs are the states and the output.
    pub(super) fn body(&self, writer: &mut Writer<'_>, has_ends: bool) -> GraphProto {
        let around = std::mem::take(&mut writer.nodes);
        let step = Step {
            gates: writer.name("gates"),
            h: writer.name("h"),
            c: writer.name("c"),
        };
        let mut states = vec![step.h.clone()];
        if self.kind == Kind::Lstm {
            states.push(step.c.clone());
        }
        let next = match self.kind {
            Kind::Rnn => vec![self.rnn(&step, writer)],
            Kind::Gru => vec![self.gru(&step, writer)],
            Kind::Lstm => self.lstm(&step, writer),
        };
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        inputs.extend(states.iter().map(|state| value(state, DataType::Float)));
        inputs.push(value(&step.gates, DataType::Float));
        let output = next.first().cloned().unwrap_or_default();
        match has_ends {
            true => {
                let goes_on = writer.name("goes_on");
                inputs.push(value(&goes_on, DataType::Bool));
                for (next, state) in next.iter().zip(&states) {
                    let kept = writer.add("Where", &[&goes_on, next, state]);
                    outputs.push(kept);
                }
                outputs.push(writer.add("Where", &[&goes_on, &output, &self.zero]));
            }
            // The output is a value of its own.
            false => {
                outputs.extend(next);
                outputs.push(writer.add("Identity", &[&output]));
            }
        }
        let nodes = std::mem::replace(&mut writer.nodes, around);
        GraphProto {
            name: "step".to_owned(),
            node: nodes,
            input: inputs,
            output: (outputs.iter())
                .map(|output| value(output, DataType::Float))
                .collect(),
            ..Default::default()
        }
    }

    fn rnn(&self, step: &Step, writer: &mut Writer<'_>) -> String {
        let product = self.product(0, &step.h, writer);
        let sum = writer.add("Add", &[&step.gates, &product]);
        self.gate(&sum, 0, writer)
    }

    fn gru(&self, step: &Step, writer: &mut Writer<'_>) -> String {
        let hidden = self.hidden;
        let product = self.product(0, &step.h, writer);
        let gates = writer.slice(&step.gates, 1, 0..2 * hidden);
        let sum = writer.add("Add", &[&gates, &product]);
        let both = self.gate(&sum, 0, writer);
        let update = writer.slice(&both, 1, 0..hidden);
        let reset = writer.slice(&both, 1, hidden..2 * hidden);
        let product = match self.resets_product {
            true => {
                let product = self.product(1, &step.h, writer);
                writer.add("Mul", &[&reset, &product])
            }
            false => {
                let state = writer.add("Mul", &[&reset, &step.h]);
                self.product(1, &state, writer)
            }
        };
        let gate = writer.slice(&step.gates, 1, 2 * hidden..3 * hidden);
        let sum = writer.add("Add", &[&gate, &product]);
        let candidate = self.gate(&sum, 1, writer);
        let rest = writer.add("Sub", &[&self.one, &update]);
        let new = writer.add("Mul", &[&rest, &candidate]);
        let old = writer.add("Mul", &[&update, &step.h]);
        writer.add("Add", &[&new, &old])
    }

    fn lstm(&self, step: &Step, writer: &mut Writer<'_>) -> Vec<String> {
        let product = self.product(0, &step.h, writer);
        let sums = writer.add("Add", &[&step.gates, &product]);
        let [input, output, forget, candidate] = [0, 1, 2, 3].map(|gate| {
            let start = gate * self.hidden;
            writer.slice(&sums, 1, start..start + self.hidden)
        });
        let input = self.with_peephole(&input, (0, &step.c), writer);
        let input = self.gate(&input, 0, writer);
        let forget = match self.is_coupled {
            true => writer.add("Sub", &[&self.one, &input]),
            false => {
                let forget = self.with_peephole(&forget, (2, &step.c), writer);
                self.gate(&forget, 0, writer)
            }
        };
        let candidate = self.gate(&candidate, 1, writer);
        let old = writer.add("Mul", &[&forget, &step.c]);
        let new = writer.add("Mul", &[&input, &candidate]);
        let c = writer.add("Add", &[&old, &new]);
        let output = self.with_peephole(&output, (1, &c), writer);
        let output = self.gate(&output, 0, writer);
        let shown = self.activate(&c, 2, writer);
        vec![writer.add("Mul", &[&output, &shown]), c]
    }

    /// Adds the product of a state, and returns its name.
    fn product(&self, position: usize, state: &str, writer: &mut Writer<'_>) -> String {
        let Some(Product { matrix, bias }) = self.products.get(position) else {
            return String::new();
        };
        let product = writer.add("MatMul", &[state, matrix]);
        match bias {
            Some(bias) => writer.add("Add", &[&product, bias]),
            None => product,
        }
    }

    /// Adds the weighted state of the cell to the input of a gate, and returns the name of the sum.
    fn with_peephole(
        &self,
        sum: &str,
        (gate, state): (usize, &str),
        writer: &mut Writer<'_>,
    ) -> String {
        let weights = self.peepholes.as_ref().and_then(|all| all.get(gate));
        let Some(weights) = weights else {
            return sum.to_owned();
        };
        let weighted = writer.add("Mul", &[weights, state]);
        writer.add("Add", &[sum, &weighted])
    }

    /// Adds the activation of the limited input of a gate, and returns its name.
    fn gate(&self, sum: &str, activation: usize, writer: &mut Writer<'_>) -> String {
        let Some([least, greatest]) = &self.limits else {
            return self.activate(sum, activation, writer);
        };
        let limited = writer.add("Min", &[sum, greatest]);
        let limited = writer.add("Max", &[&limited, least]);
        self.activate(&limited, activation, writer)
    }

    fn activate(&self, input: &str, activation: usize, writer: &mut Writer<'_>) -> String {
        match self.activations.get(activation) {
            Some(activation) => writer.add_with(activation.operator, &[input], |node| {
                activation.with_parameters(node)
            }),
            None => String::new(),
        }
    }
}

/// Returns the declaration of a value of any shape.
fn value(name: &str, data_type: DataType) -> ValueInfoProto {
    let tensor = type_proto::Tensor {
        elem_type: data_type as i32,
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
