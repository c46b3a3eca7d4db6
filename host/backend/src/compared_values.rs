//! The numbers that an ONNX file compares its inputs with, such as the sample rates between which a model of
//! sound distinguishes.
//!
//! A comparison usually decides between branches of `If`, so that a model which computes for one number may not for
//! another. Only comparisons of the main graph with a constant are found. The file is read in one pass that skips
//! weights; whether it is valid is for the backends to decide.

use crate::bounded_file::open_regular;
use crate::wire_reader::{Field, WireReader};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek};
use std::path::Path;

/// The operators that compare their two inputs.
const COMPARISONS: [&str; 5] = ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"];

/// Operators whose output is the number in their first input.
const NUMBER_PRESERVING_OPERATORS: [&str; 6] = [
    "Cast",
    "Gather",
    "Identity",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
];

/// The maximum number of values that are followed, of constants, and of comparisons.
const MAX_VALUES: usize = 1000;

/// The types of tensors of 32 and of 64 bits, in the numbers of the format.
const INT32: u64 = 6;
const INT64: u64 = 7;

/// Returns the numbers that inputs are compared with, by the name of the input, in ascending order.
///
/// # Errors
/// Returns [`io::ErrorKind::InvalidData`] for a file that is not a protobuf message.
pub fn compared_values(path: &Path) -> io::Result<BTreeMap<String, Vec<i64>>> {
    let (file, bytes) = open_regular(path)?;
    find(file, bytes)
}

fn find(source: impl Read + Seek, bytes: u64) -> io::Result<BTreeMap<String, Vec<i64>>> {
    let mut reader = Reader {
        file: WireReader::new(source),
        graph_inputs: BTreeSet::new(),
        constants: BTreeMap::new(),
        comparisons: Vec::new(),
        outputs: BTreeMap::new(),
    };
    reader.read_model(bytes)?;
    Ok(reader.compared())
}

/// The parts of a node that matter here.
#[derive(Default)]
struct Node {
    /// Its first two inputs.
    inputs: Vec<String>,
    /// Its first output.
    output: Option<String>,
    operator: String,
    /// The number in its attribute, if it is a constant.
    constant: Option<i64>,
}

/// A tensor as far as it is read.
#[derive(Default)]
struct Number {
    name: String,
    /// Its type, in the numbers of the format.
    datatype: u64,
    /// Set if it has more than one element.
    is_list: bool,
    value: Option<i64>,
}

/// A reader of an ONNX file, and its findings.
struct Reader<R> {
    file: WireReader<R>,
    /// The inputs of the graph, which may follow the nodes in the file.
    graph_inputs: BTreeSet<String>,
    constants: BTreeMap<String, i64>,
    comparisons: Vec<[String; 2]>,
    /// The value whose number another value has, by the name of the latter.
    outputs: BTreeMap<String, String>,
}

impl<R: Read + Seek> Reader<R> {
    fn read_model(&mut self, end: u64) -> io::Result<()> {
        while let Some(graph) = self.file.next_numbered(7, end)? {
            self.read_graph(graph.end)?;
            self.file.skip_to(graph.end)?;
        }
        Ok(())
    }

    fn read_graph(&mut self, end: u64) -> io::Result<()> {
        while let Some(field) = self.file.next_field(end)? {
            match field.number {
                1 => {
                    let node = self.read_node(field.end)?;
                    self.add(node);
                }
                5 => {
                    let Number { name, value, .. } = self.read_tensor(field.end)?;
                    self.add_constant(name, value);
                }
                11 => self.read_input(field.end)?,
                _ => {}
            }
            self.file.skip_to(field.end)?;
        }
        Ok(())
    }

    fn read_input(&mut self, end: u64) -> io::Result<()> {
        while let Some(field) = self.file.next_field(end)? {
            if field.number == 1 && self.graph_inputs.len() < MAX_VALUES {
                let name = self.file.read_short_name(&field)?;
                self.graph_inputs.insert(name);
            }
            self.file.skip_to(field.end)?;
        }
        Ok(())
    }

    fn read_node(&mut self, end: u64) -> io::Result<Node> {
        let mut node = Node::default();
        while let Some(field) = self.file.next_field(end)? {
            match field.number {
                1 if node.inputs.len() < 2 => {
                    node.inputs.push(self.file.read_short_name(&field)?);
                }
                2 if node.output.is_none() => {
                    node.output = Some(self.file.read_short_name(&field)?);
                }
                4 => node.operator = self.file.read_short_name(&field)?,
                5 if node.inputs.is_empty() => self.read_attribute(field.end, &mut node)?,
                _ => {}
            }
            self.file.skip_to(field.end)?;
        }
        Ok(node)
    }

    /// Reads the number of a constant, and no other attribute.
    fn read_attribute(&mut self, end: u64, node: &mut Node) -> io::Result<()> {
        while let Some(field) = self.file.next_field(end)? {
            match field.number {
                1 => {
                    let name = self.file.read_short_name(&field)?;
                    if !["value", "value_int"].contains(&name.as_str()) {
                        return self.file.skip_to(end);
                    }
                }
                3 => node.constant = field.integer.map(u64::cast_signed),
                5 => node.constant = self.read_tensor(field.end)?.value,
                _ => {}
            }
            self.file.skip_to(field.end)?;
        }
        Ok(())
    }

    /// Reads the number in a tensor of one integer.
    fn read_tensor(&mut self, end: u64) -> io::Result<Number> {
        let mut number = Number::default();
        while let Some(field) = self.file.next_field(end)? {
            match field.number {
                1 => {
                    let is_list = &mut number.is_list;
                    self.file.each_integer(&field, |size| {
                        *is_list |= size != 1;
                        !*is_list
                    })?;
                }
                2 => number.datatype = field.integer.unwrap_or(0),
                8 => number.name = self.file.read_short_name(&field)?,
                5 | 7 if !number.is_list => {
                    let value = &mut number.value;
                    let first = |integer: u64| {
                        value.get_or_insert(integer.cast_signed());
                        false
                    };
                    self.file.each_integer(&field, first)?;
                }
                9 => number.value = self.read_raw(&field, number.datatype)?,
                _ => {}
            }
            self.file.skip_to(field.end)?;
        }
        if number.is_list || ![INT32, INT64].contains(&number.datatype) {
            number.value = None;
        }
        Ok(number)
    }

    /// Reads the bytes of one integer of this type.
    fn read_raw(&mut self, field: &Field, datatype: u64) -> io::Result<Option<i64>> {
        let bytes = match datatype {
            INT32 => 4,
            INT64 => 8,
            _ => return Ok(None),
        };
        let Some(raw) = self.file.read_exactly(field, bytes)? else {
            return Ok(None);
        };
        let mut extended = [0; 8];
        extended[..raw.len()].copy_from_slice(&raw);
        let value = i64::from_le_bytes(extended);
        Ok(Some(match datatype {
            // The upper half repeats the sign.
            INT32 => (value << 32) >> 32,
            _ => value,
        }))
    }

    fn add_constant(&mut self, name: String, value: Option<i64>) {
        if let Some(value) = value
            && self.constants.len() < MAX_VALUES
        {
            self.constants.insert(name, value);
        }
    }

    fn add(&mut self, node: Node) {
        let operator = node.operator.as_str();
        let mut inputs = node.inputs.into_iter();
        match (inputs.next(), inputs.next(), node.output) {
            (None, _, Some(output)) if operator == "Constant" => {
                self.add_constant(output, node.constant);
            }
            (Some(first), Some(second), _)
                if COMPARISONS.contains(&operator) && self.comparisons.len() < MAX_VALUES =>
            {
                self.comparisons.push([first, second]);
            }
            (Some(first), _, Some(output))
                if NUMBER_PRESERVING_OPERATORS.contains(&operator)
                    && self.outputs.len() < MAX_VALUES =>
            {
                self.outputs.insert(output, first);
            }
            _ => {}
        }
    }

    /// Returns the value from which another has its number.
    fn origin<'a>(&'a self, value: &'a str) -> &'a str {
        let mut value = value;
        // A valid graph has no circles.
        for _ in 0..self.outputs.len() {
            match self.outputs.get(value) {
                Some(before) => value = before,
                None => break,
            }
        }
        value
    }

    fn compared(&self) -> BTreeMap<String, Vec<i64>> {
        let mut compared: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for [first, second] in &self.comparisons {
            let sides = [self.origin(first), self.origin(second)];
            for [input, other] in [sides, [sides[1], sides[0]]] {
                if let Some(constant) = self.constants.get(other)
                    && self.graph_inputs.contains(input)
                {
                    compared
                        .entry(input.to_owned())
                        .or_default()
                        .push(*constant);
                }
            }
        }
        for values in compared.values_mut() {
            values.sort_unstable();
            values.dedup();
        }
        compared
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{
        AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
    };
    use prost::Message;
    use std::io::Cursor;

    fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
        NodeProto {
            op_type: operator.to_owned(),
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![output.to_owned()],
            ..NodeProto::default()
        }
    }

    fn tensor(name: &str, dims: &[i64], raw_data: &[u8]) -> TensorProto {
        TensorProto {
            name: name.to_owned(),
            dims: dims.to_vec(),
            data_type: if raw_data.len() == 4 { 6 } else { 7 },
            raw_data: raw_data.to_vec(),
            ..TensorProto::default()
        }
    }

    fn compared(nodes: Vec<NodeProto>, initializers: Vec<TensorProto>) -> Vec<(String, Vec<i64>)> {
        let input = ValueInfoProto {
            name: "rate".to_owned(),
            ..ValueInfoProto::default()
        };
        let model = ModelProto {
            graph: Some(GraphProto {
                node: nodes,
                initializer: initializers,
                input: vec![input],
                ..GraphProto::default()
            }),
            ..ModelProto::default()
        };
        let bytes = model.encode_to_vec();
        let length = u64::try_from(bytes.len()).unwrap();
        find(Cursor::new(bytes), length)
            .unwrap()
            .into_iter()
            .collect()
    }

    #[test]
    fn an_input_is_compared_with_constants_and_initializers() {
        let constant = NodeProto {
            attribute: vec![AttributeProto {
                name: "value".to_owned(),
                t: Some(tensor("", &[], &16_000_i64.to_le_bytes())),
                ..AttributeProto::default()
            }],
            ..node("Constant", &[], "a")
        };
        let nodes = vec![
            constant,
            node("Equal", &["rate", "a"], "is_wide"),
            node("Reshape", &["rate", "shape"], "one"),
            node("Less", &["b", "one"], "is_low"),
            node("Add", &["rate", "c"], "sum"),
            node("Equal", &["sum", "c"], "other"),
            node("Equal", &["rate", "many"], "several"),
        ];
        let initializers = vec![
            tensor("b", &[1], &(-8_i32).to_le_bytes()),
            tensor("c", &[], &3_i64.to_le_bytes()),
            tensor("many", &[2], &[0; 16]),
        ];
        let found = compared(nodes, initializers);
        assert_eq!(found, [("rate".to_owned(), vec![-8, 16_000])]);
    }

    #[test]
    fn a_circle_of_values_ends() {
        let nodes = vec![
            node("Cast", &["x"], "y"),
            node("Cast", &["y"], "x"),
            node("Equal", &["x", "a"], "z"),
        ];
        assert!(compared(nodes, vec![tensor("a", &[], &[0; 8])]).is_empty());
    }
}
