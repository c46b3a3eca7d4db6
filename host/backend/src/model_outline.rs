//! The outline of an ONNX file: its operators, the files of its external data, and the names of its classes.
//!
//! It is read before any backend loads the file, in one pass that skips weights and holds only short names
//! in memory. It decides nothing about validity: the backends check the file.

mod class_names;
mod known_operators;

use self::class_names::{ClassNames, Node};
#[cfg(feature = "onnx")]
pub(crate) use self::known_operators::MICROSOFT;
use self::known_operators::{ML_DOMAIN, has_domain, has_operator};
use crate::bounded_file::open_regular;
use crate::wire_reader::{WireReader, invalid};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek};
use std::path::Path;

/// The maximum number of nodes of a tiny graph.
const MAX_TINY_NODES: usize = 16;

/// The maximum size in bytes of the file of a tiny graph.
const MAX_TINY_BYTES: u64 = 64 << 10;

/// The maximum depth of inner graphs.
const MAX_DEPTH: usize = 32;

/// The maximum number of different domains, of different files of external data, and of outputs.
const MAX_NAMES: usize = 1000;

/// The operators and the external data of an ONNX file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelOutline {
    /// The size of the file in bytes.
    pub bytes: u64,
    /// The number of nodes, including those of inner graphs and functions.
    pub nodes: usize,
    /// The domains of the operators, as the file writes them.
    pub domains: BTreeSet<String>,
    /// The domains of the functions that the file defines itself.
    pub own_domains: BTreeSet<String>,
    /// The operators of ONNX Runtime's domains that it does not have, with their domains; not all if there are many.
    pub unknown_operators: BTreeSet<(String, String)>,
    /// Set if an input or output is a sequence, an optional value, or a map that `ZipMap` has not made. No backend
    /// serves these.
    pub has_other_values: bool,
    /// The locations of external data, as the file writes them.
    pub external_files: BTreeSet<String>,
    /// Set if an operator computes with quantized numbers or converts to or from them.
    pub is_quantized: bool,
    /// Set if a node has an inner graph: a branch or the body of a loop.
    pub has_inner_graphs: bool,
    /// The names of the classes of outputs with a column for each class, in order, by output.
    pub class_names: BTreeMap<String, Vec<String>>,
}

impl ModelOutline {
    /// Reads the outline of the file at `path`.
    ///
    /// # Errors
    /// Returns [`io::ErrorKind::InvalidData`] for a file that is not a protobuf message, or that has too many
    /// parts for an outline.
    pub fn read(path: &Path) -> io::Result<ModelOutline> {
        let (file, bytes) = open_regular(path)?;
        ModelOutline::of(file, bytes)
    }

    fn of(source: impl Read + Seek, bytes: u64) -> io::Result<ModelOutline> {
        let mut reader = Reader {
            file: WireReader::new(source),
            outline: ModelOutline {
                bytes,
                ..ModelOutline::default()
            },
            class_names: ClassNames::default(),
            outputs: Vec::new(),
            other_values: BTreeSet::new(),
            zipped: BTreeSet::new(),
        };
        reader.read_model(bytes)?;
        reader.outline.has_other_values = !reader.other_values.is_subset(&reader.zipped);
        reader.outline.class_names = reader.class_names.of_outputs(&reader.outputs);
        Ok(reader.outline)
    }

    /// Returns whether the graph has operators for tables.
    pub fn is_tabular(&self) -> bool {
        self.domains.contains(ML_DOMAIN)
    }

    /// Returns whether the graph has few nodes and few weights, all in this file.
    pub fn is_tiny(&self) -> bool {
        self.nodes <= MAX_TINY_NODES
            && self.bytes <= MAX_TINY_BYTES
            && self.external_files.is_empty()
            && !self.is_quantized
            && !self.has_inner_graphs
    }

    /// Returns a domain whose operators neither ONNX Runtime nor the file defines, if the file uses one.
    pub fn foreign_domain(&self) -> Option<&str> {
        let mut domains = self.domains.difference(&self.own_domains);
        let foreign = domains.find(|domain| !has_domain(domain));
        foreign.map(String::as_str)
    }

    /// Returns the name of an operator in ONNX Runtime's domains that it does not have, if the file uses one.
    pub fn unknown_operator(&self) -> Option<&str> {
        let mut operators = self.unknown_operators.iter();
        let unknown = operators.find(|(domain, _)| !self.own_domains.contains(domain))?;
        Some(&unknown.1)
    }
}

/// Returns whether an operator computes with quantized numbers or converts to or from them.
fn is_quantizing(operator: &str) -> bool {
    operator.contains("Quantize")
        || operator.starts_with("Dequantize")
        || operator.starts_with("QLinear")
        || operator.ends_with("Integer")
        || ["QAttention", "QGemm", "MatMulNBits"].contains(&operator)
}

/// A reader of an ONNX file, and the outline as far as it is read.
struct Reader<R> {
    file: WireReader<R>,
    outline: ModelOutline,
    class_names: ClassNames,
    /// The names of the main graph's outputs.
    outputs: Vec<String>,
    /// The names of the main graph's inputs and outputs that are no tensors.
    other_values: BTreeSet<String>,
    /// The names of the maps that `ZipMap` makes.
    zipped: BTreeSet<String>,
}

impl<R: Read + Seek> Reader<R> {
    fn read_model(&mut self, end: u64) -> io::Result<()> {
        while let Some(field) = self.file.next_field(end)? {
            match field.number {
                7 => self.read_graph(field.end, 0)?,
                25 => self.read_function(field.end)?,
                _ => {}
            }
            self.file.skip_to(field.end)?;
        }
        Ok(())
    }

    fn read_function(&mut self, end: u64) -> io::Result<()> {
        while let Some(field) = self.file.next_field(end)? {
            match field.number {
                // The values of a function do not belong to the main graph.
                7 => self.read_node(field.end, 1)?,
                10 => {
                    let domain = self.file.read_name(&field)?;
                    insert(&mut self.outline.own_domains, domain)?;
                }
                _ => {}
            }
            self.file.skip_to(field.end)?;
        }
        Ok(())
    }

    fn read_graph(&mut self, end: u64, depth: usize) -> io::Result<()> {
        if depth > MAX_DEPTH {
            return Err(invalid("inner graphs are nested too deep"));
        }
        while let Some(field) = self.file.next_field(end)? {
            match field.number {
                1 => self.read_node(field.end, depth)?,
                5 => self.read_tensor(field.end)?,
                11 if depth == 0 => {
                    self.read_value(field.end)?;
                }
                12 if depth == 0 => {
                    let name = self.read_value(field.end)?;
                    if self.outputs.len() < MAX_NAMES {
                        self.outputs.push(name);
                    }
                }
                15 => self.read_sparse_tensor(field.end)?,
                _ => {}
            }
            self.file.skip_to(field.end)?;
        }
        Ok(())
    }

    /// Reads an input or output of the main graph, and returns its name.
    fn read_value(&mut self, end: u64) -> io::Result<String> {
        let (mut name, mut is_tensor) = (String::new(), true);
        while let Some(field) = self.file.next_field(end)? {
            match field.number {
                1 => name = self.file.read_short_name(&field)?,
                2 => is_tensor = self.read_type(field.end)?,
                _ => {}
            }
            self.file.skip_to(field.end)?;
        }
        if !is_tensor && self.other_values.len() < MAX_NAMES {
            self.other_values.insert(name.clone());
        }
        Ok(name)
    }

    /// Reads the type of a value, and returns whether it is a tensor.
    fn read_type(&mut self, end: u64) -> io::Result<bool> {
        let mut is_tensor = true;
        while let Some(field) = self.file.next_field(end)? {
            // A tensor or a denotation; others are sequences, maps and optional values.
            is_tensor &= matches!(field.number, 1 | 6);
            self.file.skip_to(field.end)?;
        }
        Ok(is_tensor)
    }

    fn read_node(&mut self, end: u64, depth: usize) -> io::Result<()> {
        self.outline.nodes += 1;
        let mut domain = String::new();
        let mut node = Node::default();
        while let Some(field) = self.file.next_field(end)? {
            match field.number {
                1 if node.inputs.is_empty() => node.inputs.push(self.file.read_short_name(&field)?),
                // A classifier has two outputs.
                2 if node.outputs.len() < 2 => {
                    node.outputs.push(self.file.read_short_name(&field)?)
                }
                4 => {
                    node.operator = self.file.read_name(&field)?;
                    self.outline.is_quantized |= is_quantizing(&node.operator);
                }
                5 => self.read_attribute(field.end, depth, &mut node)?,
                7 => domain = self.file.read_name(&field)?,
                _ => {}
            }
            self.file.skip_to(field.end)?;
        }
        let is_unknown = has_domain(&domain) && !has_operator(&domain, &node.operator);
        if is_unknown && self.outline.unknown_operators.len() < MAX_NAMES {
            let unknown = (domain.clone(), node.operator.clone());
            self.outline.unknown_operators.insert(unknown);
        }
        if depth == 0 {
            if node.operator == "ZipMap" && self.zipped.len() < MAX_NAMES {
                self.zipped.extend(node.outputs.iter().cloned());
            }
            self.class_names.add(node);
        }
        insert(&mut self.outline.domains, domain)
    }

    /// Reads an attribute of `node`, which receives the names of classes in it.
    fn read_attribute(&mut self, end: u64, depth: usize, node: &mut Node) -> io::Result<()> {
        let mut has_names = false;
        while let Some(field) = self.file.next_field(end)? {
            match field.number {
                1 => {
                    let name = self.file.read_short_name(&field)?;
                    has_names = node.begin_attribute(&name);
                }
                5 | 10 => self.read_tensor(field.end)?,
                6 | 11 => {
                    self.outline.has_inner_graphs = true;
                    self.read_graph(field.end, depth + 1)?;
                }
                8 if has_names => {
                    self.file.each_integer(&field, |integer| {
                        node.push_name(integer.cast_signed().to_string());
                        node.has_room()
                    })?;
                }
                9 if has_names => node.push_name(self.file.read_short_name(&field)?),
                22 | 23 => self.read_sparse_tensor(field.end)?,
                // A list of numbers or strings, such as the nodes of a forest, has nothing of interest in it.
                7..=9 => return self.file.skip_to(end),
                _ => {}
            }
            self.file.skip_to(field.end)?;
        }
        Ok(())
    }

    fn read_sparse_tensor(&mut self, end: u64) -> io::Result<()> {
        while let Some(field) = self.file.next_field(end)? {
            if let 1 | 2 = field.number {
                self.read_tensor(field.end)?;
            }
            self.file.skip_to(field.end)?;
        }
        Ok(())
    }

    fn read_tensor(&mut self, end: u64) -> io::Result<()> {
        while let Some(field) = self.file.next_field(end)? {
            if field.number == 13 {
                self.read_external_entry(field.end)?;
            }
            self.file.skip_to(field.end)?;
        }
        Ok(())
    }

    /// Reads a pair of strings, of which that with the key `location` names a file.
    fn read_external_entry(&mut self, end: u64) -> io::Result<()> {
        let (mut key, mut value) = (String::new(), String::new());
        while let Some(field) = self.file.next_field(end)? {
            match field.number {
                1 => key = self.file.read_name(&field)?,
                2 => value = self.file.read_name(&field)?,
                _ => {}
            }
            self.file.skip_to(field.end)?;
        }
        match key == "location" {
            true => insert(&mut self.outline.external_files, value),
            false => Ok(()),
        }
    }
}

fn insert(names: &mut BTreeSet<String>, name: String) -> io::Result<()> {
    names.insert(name);
    match names.len() <= MAX_NAMES {
        true => Ok(()),
        false => Err(invalid("the file has too many names")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire_reader::MAX_FIELDS;
    use std::io::Cursor;

    /// Returns a field with a string, bytes or a message of less than 128 bytes.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        assert!(length < 128);
        [&[number << 3 | 2, length], content].concat()
    }

    fn node(operator: &str, domain: &str, attribute: &[u8]) -> Vec<u8> {
        let domain = field(7, domain.as_bytes());
        field(
            1,
            &[&field(4, operator.as_bytes()), attribute, &domain].concat(),
        )
    }

    fn external(location: &str) -> Vec<u8> {
        let entry = [field(1, b"location"), field(2, location.as_bytes())].concat();
        field(5, &field(13, &entry))
    }

    fn outline(graph: &[Vec<u8>]) -> io::Result<ModelOutline> {
        // A version of the format comes first.
        let file = [vec![1 << 3, 10], field(7, &graph.concat())].concat();
        let bytes = u64::try_from(file.len()).unwrap();
        ModelOutline::of(Cursor::new(file), bytes)
    }

    #[test]
    fn operators_and_external_data_are_found_in_inner_graphs_too() -> io::Result<()> {
        let inner = [node("Relu", "own.domain", b""), external("inner.bin")].concat();
        let branch = field(5, &field(6, &inner));
        let found = outline(&[
            node("MatMul", "", b""),
            node("Scaler", "ai.onnx.ml", b""),
            external("weights/a.bin"),
            node("If", "", &branch),
        ])?;
        assert_eq!(found.nodes, 4);
        let files: Vec<&str> = found.external_files.iter().map(String::as_str).collect();
        assert_eq!(files, ["inner.bin", "weights/a.bin"]);
        assert_eq!(found.foreign_domain(), Some("own.domain"));
        assert!(found.is_tabular() && found.has_inner_graphs && !found.is_tiny());
        Ok(())
    }

    #[test]
    fn a_graph_is_tiny_if_it_is_small_plain_and_in_one_file() -> io::Result<()> {
        let plain = node("MatMul", "", b"");
        assert!(outline(std::slice::from_ref(&plain))?.is_tiny());
        assert_eq!(
            outline(std::slice::from_ref(&plain))?.foreign_domain(),
            None
        );
        for operator in ["QLinearConv", "DequantizeLinear", "ConvInteger"] {
            assert!(
                !outline(&[node(operator, "", b"")])?.is_tiny(),
                "{operator}"
            );
        }
        assert!(!outline(&[plain, external("w")])?.is_tiny());
        let many = ModelOutline {
            nodes: MAX_TINY_NODES + 1,
            ..ModelOutline::default()
        };
        assert!(!many.is_tiny());
        Ok(())
    }

    #[test]
    fn operators_that_no_release_has_and_values_that_are_no_tensors_are_found() -> io::Result<()> {
        let unknown = |graph: &[Vec<u8>]| {
            let found = outline(graph)?;
            Ok::<_, io::Error>(found.unknown_operator().map(str::to_owned))
        };
        let own = [node("NoSuchOp", "", b""), node("Celu", "", b"")];
        assert_eq!(unknown(&own)?.as_deref(), Some("NoSuchOp"));
        assert_eq!(unknown(&own[1..])?, None);
        assert_eq!(unknown(&[node("NoSuchOp", "own.domain", b"")])?, None);

        let sequence = field(2, &field(4, b""));
        let value = |number, name: &[u8], of_type: &[u8]| {
            field(number, &[&field(1, name), of_type].concat())
        };
        let tensor = field(2, &field(1, b""));
        let zip = [
            field(2, b"maps"),
            field(4, b"ZipMap"),
            field(7, b"ai.onnx.ml"),
        ];
        let zip = field(1, &zip.concat());
        for (graph, expected) in [
            (vec![value(12, b"y", &tensor)], false),
            (vec![value(12, b"y", &sequence)], true),
            (vec![value(11, b"x", &sequence)], true),
            (vec![value(12, b"maps", &sequence), zip.clone()], false),
            (vec![value(12, b"y", &sequence), zip], true),
        ] {
            assert_eq!(outline(&graph)?.has_other_values, expected, "{graph:?}");
        }
        Ok(())
    }

    /// Returns the classes of a `ZipMap` with this list of keys.
    fn keys(name: &str, list: &[u8]) -> io::Result<Vec<String>> {
        let attribute = [&field(1, name.as_bytes()), list].concat();
        let zip = [
            field(1, b"scores"),
            field(2, b"maps"),
            field(4, b"ZipMap"),
            field(5, &attribute),
            field(7, b"ai.onnx.ml"),
        ];
        let outputs = [
            field(12, &field(1, b"label")),
            field(12, &field(1, b"maps")),
        ];
        let found = outline(&[field(1, &zip.concat()), outputs.concat()])?;
        Ok(found.class_names.get("maps").cloned().unwrap_or_default())
    }

    #[test]
    fn the_keys_of_maps_name_the_classes_of_an_output() -> io::Result<()> {
        let strings = [field(9, b"no"), field(9, "ja \u{2713}".as_bytes())].concat();
        assert_eq!(
            keys("classlabels_strings", &strings)?,
            ["no", "ja \u{2713}"]
        );
        let minus_one = [[0xff; 9].as_slice(), &[1]].concat();
        let separate = [&[8 << 3, 7, 8 << 3], minus_one.as_slice()].concat();
        assert_eq!(keys("classlabels_int64s", &separate)?, ["7", "-1"]);
        let packed = field(8, &[&[7], minus_one.as_slice()].concat());
        assert_eq!(keys("classlabels_int64s", &packed)?, ["7", "-1"]);
        assert!(keys("classlabels_int64s", &field(8, &[0, 1]))?.is_empty());
        assert!(keys("other", &strings)?.is_empty());
        // The last integer of a packed list is cut off.
        assert!(keys("classlabels_int64s", &field(8, &[0xff])).is_err());
        Ok(())
    }

    #[test]
    fn damage_never_panics() {
        let graph = [node("MatMul", "", b""), external("weights")].concat();
        let file = field(7, &graph);
        for length in 0..file.len() {
            let cut = file[..length].to_vec();
            let bytes = u64::try_from(length).unwrap();
            assert!(length == 0 || ModelOutline::of(Cursor::new(cut), bytes).is_err());
            let mut damaged = file.clone();
            damaged[length] ^= 0x55;
            let bytes = u64::try_from(damaged.len()).unwrap();
            let _ = ModelOutline::of(Cursor::new(damaged), bytes);
        }
    }

    #[test]
    fn a_file_with_endless_parts_or_depth_has_no_outline() {
        let parts = vec![0_u8; 2 * MAX_FIELDS + 2];
        let bytes = u64::try_from(parts.len()).unwrap();
        assert!(ModelOutline::of(Cursor::new(parts), bytes).is_err());
        assert!(ModelOutline::read(Path::new("/dev/zero")).is_err());
    }
}
