//! LSTM, GRU and RNN that tract does not compute, as a Scan over the steps of their sequences.
//!
//! tract has these operators with their default activations, without limits for the inputs of the gates, and for
//! sequences that all have the full length. It fails where both states of an LSTM are equal at first and read at last,
//! and in a GRU that reads one number in each step.
//!
//! The nodes here compute what ONNX Runtime does: behind the end of a sequence the outputs are zero, and its last states
//! are those of its own last step, or zero if it has none. A negative length, and one beyond the sequence, is an index
//! out of range.
//!
//! Values that do not depend on the state before a step are computed for all steps at once, outside the loop.

mod activation;
mod cell;
mod lengths;
mod origin;
mod writer;

use self::activation::Activation;
use self::cell::{Cell, Kind, Product};
use self::lengths::Lengths;
use self::origin::{Origin, are_same, origin};
use self::writer::Writer;
use crate::onnx::node_builder::{operator, with_graph, with_integer, with_integers};
use crate::onnx::node_parts::attribute;
use crate::onnx::rewriter::NewNames;
use crate::onnx::values::Site;
use crate::pb::NodeProto;
use crate::pb::tensor_proto::DataType;

/// The first version that has all operators of the replacement.
const MIN_OPSET: i64 = 10;

/// The positions of the inputs.
const X: usize = 0;
const WEIGHTS: usize = 1;
const RECURRENT: usize = 2;
const BIAS: usize = 3;
const LENGTHS: usize = 4;
const FIRST_STATE: usize = 5;
const PEEPHOLES: usize = 7;

/// A recurrent operator whose attributes have been read.
struct Layer<'a> {
    site: &'a Site<'a>,
    kind: Kind,
    hidden: i64,
    /// For each direction, whether it reads the sequences backwards.
    backwards: &'static [bool],
    activations: Vec<Activation>,
    /// The largest magnitude of an input of a gate.
    clip: Option<f32>,
}

/// The names of values that both directions use.
struct Shared {
    /// The shape of a state of one direction.
    state: String,
    /// Zero, or an index out of range if there is no step: tract would have no last state.
    nothing: String,
    lengths: Option<Lengths>,
}

/// Replaces an operator that tract does not compute by a Scan for each direction.
pub(super) fn scan(site: &Site<'_>, names: &mut NewNames) -> Option<Vec<NodeProto>> {
    let layer = Layer::of(site)?;
    if !layer.is_beyond_tract() {
        return None;
    }
    let first = site.node.output.iter().find(|name| !name.is_empty())?;
    let mut writer = Writer::new(first, names);
    let shared = layer.shared(&mut writer);
    let directions: Vec<Vec<String>> = (0..layer.backwards.len())
        .map(|direction| layer.direction(direction, &shared, &mut writer))
        .collect();
    for (position, output) in site.node.output.iter().enumerate() {
        if output.is_empty() {
            continue;
        }
        // The directions lie along the second axis of all outputs and along the first one of the last states.
        let axis = i64::from(position == 0);
        let mut parts = Vec::new();
        for values in &directions {
            parts.push(writer.unsqueeze(values.get(position)?, axis, site.opset));
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let joined = operator("Concat", &parts, output);
        writer.nodes.push(with_integer(joined, "axis", axis));
    }
    Some(writer.nodes)
}

impl<'a> Layer<'a> {
    /// Reads the attributes of a recurrent operator. Returns none for those whose meaning is not known here.
    fn of(site: &'a Site<'a>) -> Option<Layer<'a>> {
        let kind = Kind::of(site.node)?;
        let is_float = site.input_type(WEIGHTS) == Some(DataType::Float);
        if !is_float || site.opset < MIN_OPSET || site.integer("layout", 0) != 0 {
            return None;
        }
        let backwards: &[bool] = match site.text("direction") {
            b"" | b"forward" => &[false],
            b"reverse" => &[true],
            b"bidirectional" => &[false, true],
            _ => return None,
        };
        let weights = site.values.shape(site.input(RECURRENT));
        let stored = weights.and_then(|sizes| i64::try_from(sizes.get(2).copied()??).ok());
        let hidden = match (site.integer("hidden_size", 0), stored) {
            (0, Some(stored)) => stored,
            (hidden, None) => hidden,
            (hidden, Some(stored)) if hidden == stored => hidden,
            _ => return None,
        };
        // The longest vector is that of the biases.
        if hidden < 1 || hidden.checked_mul(kind.gates())?.checked_mul(2).is_none() {
            return None;
        }
        let clip = match attribute(site.node, "clip") {
            Some(clip) if clip.f > 0.0 => Some(clip.f),
            Some(_) => return None,
            None => None,
        };
        Some(Layer {
            site,
            kind,
            hidden,
            backwards,
            activations: activation::parse(site, kind.activations(), backwards.len())?,
            clip,
        })
    }

    fn is_beyond_tract(&self) -> bool {
        let usual = self.kind.activations().iter().cycle();
        let has_others = (self.activations.iter().zip(usual))
            .any(|(activation, usual)| activation.operator != *usual);
        has_others
            || self.clip.is_some()
            || self.is_coupled()
            || self.has_other_lengths()
            || self.has_equal_states()
            || self.has_single_numbers()
    }

    /// Returns whether sequences may end before the last step. tract checks lengths that are sizes, and reverses all
    /// steps of a sequence.
    fn has_other_lengths(&self) -> bool {
        let lengths = self.site.input(LENGTHS);
        let is_full = || origin(self.site.values, lengths) == Origin::Sizes;
        !lengths.is_empty() && (self.backwards == [true] || !is_full())
    }

    /// Returns whether the first states of an LSTM may be equal, and the last ones are both read. tract then confuses their
    /// axes, and fails if the batch has several sequences.
    fn has_equal_states(&self) -> bool {
        let is_read = |output| {
            let name = self.site.output(output);
            !name.is_empty() && self.site.values.is_read(name)
        };
        let [h, c] = [FIRST_STATE, FIRST_STATE + 1].map(|input| self.site.input(input));
        let is_constant = |state| origin(self.site.values, state) != Origin::Contents;
        self.kind == Kind::Lstm
            && self.backwards.len() == 1
            && is_read(2)
            && (is_read(0) || is_read(1))
            && (are_same(self.site.values, h, c) || (is_constant(h) && is_constant(c)))
    }

    /// Returns whether each step of a GRU reads one number, and the reset gate multiplies a product. tract fails if there
    /// are four steps or more, since the product of all steps is then stored column by column.
    fn has_single_numbers(&self) -> bool {
        let weights = self.site.values.shape(self.site.input(WEIGHTS));
        let size = weights.and_then(|sizes| sizes.get(2).copied().flatten());
        self.kind == Kind::Gru && self.resets_product() && size == Some(1)
    }

    fn resets_product(&self) -> bool {
        self.site.integer("linear_before_reset", 0) != 0
    }

    fn is_coupled(&self) -> bool {
        self.kind == Kind::Lstm && self.site.integer("input_forget", 0) != 0
    }

    fn shared(&self, writer: &mut Writer<'_>) -> Shared {
        let shape = writer.add("Shape", &[self.site.input(X)]);
        let (zero, one) = (writer.integers(&[0]), writer.integers(&[1]));
        let batch = writer.add("Gather", &[&shape, &one]);
        let steps = writer.add("Gather", &[&shape, &zero]);
        let each = writer.zeros(&steps, DataType::Float);
        let nothing = writer.add("Gather", &[&each, &zero]);
        let hidden = writer.integers(&[self.hidden]);
        let state = writer.add_with("Concat", &[&batch, &hidden], |node| {
            with_integer(node, "axis", 0)
        });
        let lengths = match self.site.input(LENGTHS) {
            "" => None,
            lengths => Some(Lengths::of(lengths, &shape, writer)),
        };
        Shared {
            state,
            nothing,
            lengths,
        }
    }

    /// Adds the nodes of a direction, and returns the names of its outputs.
    fn direction(&self, direction: usize, shared: &Shared, writer: &mut Writer<'_>) -> Vec<String> {
        let is_backward = self.backwards.get(direction).copied().unwrap_or_default();
        let index = writer.integer(i64::try_from(direction).unwrap_or(i64::MAX));
        let width = self.kind.gates() * self.hidden;
        let (mut gates_bias, mut state_bias) = (None, None);
        if let Some(bias) = self.part(BIAS, &index, writer) {
            gates_bias = Some(writer.slice(&bias, 0, 0..width));
            state_bias = Some(writer.slice(&bias, 0, width..2 * width));
        }
        let mut gates = self.gates(&index, writer);
        if let Some(bias) = gates_bias {
            gates = writer.add("Add", &[&gates, &bias]);
        }
        let cell = self.cell((direction, &index), state_bias, writer);
        let mut inputs = self.first_states(&index, shared, writer);
        let states = inputs.len();
        inputs.push(gates);
        inputs.extend(shared.lengths.iter().map(|lengths| lengths.steps.clone()));
        let body = cell.body(writer, shared.lengths.is_some());

        let mut outputs: Vec<String> = (0..=states).map(|_| writer.name("scan")).collect();
        let names: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let mut node = with_graph(operator("Scan", &names, ""), "body", body);
        node.name = outputs.first().cloned().unwrap_or_default();
        node.output.clone_from(&outputs);
        let scanned = inputs.len().saturating_sub(states);
        let count = i64::try_from(scanned).unwrap_or(i64::MAX);
        node = with_integer(node, "num_scan_inputs", count);
        if is_backward {
            node = with_integers(node, "scan_input_directions", vec![1; scanned]);
            node = with_integers(node, "scan_output_directions", vec![1]);
        }
        writer.nodes.push(node);
        // The states come first in a Scan, and last in the operator.
        outputs.rotate_right(1);
        if let Some(lengths) = &shared.lengths {
            let zero = writer.float(0.0);
            for state in outputs.iter_mut().skip(1) {
                *state = writer.add("Where", &[&lengths.any, state, &zero]);
            }
        }
        outputs
    }

    /// Adds a node with the part of an input that is for a direction, and returns its name.
    fn part(&self, input: usize, index: &str, writer: &mut Writer<'_>) -> Option<String> {
        let input = self.site.input(input);
        (!input.is_empty()).then(|| writer.add("Gather", &[input, index]))
    }

    /// Adds the nodes that transpose the matrix of a direction, and returns the name of the result.
    fn matrix(&self, input: usize, index: &str, writer: &mut Writer<'_>) -> String {
        let matrix = writer.add("Gather", &[self.site.input(input), index]);
        writer.add_with("Transpose", &[&matrix], |node| {
            with_integers(node, "perm", vec![1, 0])
        })
    }

    /// Adds the product of all steps with the weights of a direction, and returns its name.
    fn gates(&self, index: &str, writer: &mut Writer<'_>) -> String {
        let weights = self.matrix(WEIGHTS, index, writer);
        writer.add("MatMul", &[self.site.input(X), &weights])
    }

    /// Returns the names of the states before the first step.
    fn first_states(&self, index: &str, shared: &Shared, writer: &mut Writer<'_>) -> Vec<String> {
        let inputs = FIRST_STATE..FIRST_STATE + self.kind.states();
        let given: Vec<Option<String>> = inputs
            .map(|input| self.part(input, index, writer))
            .collect();
        let mut states = Vec::new();
        for given in given {
            let first = match given {
                // A state for another number of sequences would be broadcast.
                Some(given) => writer.add("Reshape", &[&given, &shared.state]),
                None => writer.zeros(&shared.state, DataType::Float),
            };
            states.push(writer.add("Add", &[&first, &shared.nothing]));
        }
        states
    }

    /// Returns the cell of a direction, and adds the nodes of its parameters.
    fn cell(
        &self,
        (direction, index): (usize, &str),
        bias: Option<String>,
        writer: &mut Writer<'_>,
    ) -> Cell {
        let recurrent = self.matrix(RECURRENT, index, writer);
        let hidden = self.hidden;
        let mut products = Vec::new();
        // The last gate of a GRU multiplies another state than the two others.
        let all = self.kind.gates() * hidden;
        let split = match self.kind {
            Kind::Gru => 2 * hidden,
            Kind::Lstm | Kind::Rnn => all,
        };
        for part in [0..split, split..all] {
            if part.is_empty() {
                continue;
            }
            let bias = bias.as_ref();
            products.push(Product {
                matrix: writer.slice(&recurrent, 1, part.clone()),
                bias: bias.map(|bias| writer.slice(bias, 0, part)),
            });
        }
        let peepholes = match self.kind {
            Kind::Lstm => self.part(PEEPHOLES, index, writer),
            _ => None,
        };
        let peepholes = peepholes.map(|all| {
            [0, 1, 2].map(|gate| writer.slice(&all, 0, gate * hidden..(gate + 1) * hidden))
        });
        let limits = self
            .clip
            .map(|clip| [writer.float(-clip), writer.float(clip)]);
        let each = self.kind.activations().len();
        let activations = self.activations.iter().skip(direction * each).take(each);
        Cell {
            kind: self.kind,
            hidden,
            activations: activations.copied().collect(),
            limits,
            products,
            peepholes,
            is_coupled: self.is_coupled(),
            resets_product: self.resets_product(),
            zero: writer.float(0.0),
            one: writer.float(1.0),
        }
    }
}

#[cfg(test)]
mod tests;
