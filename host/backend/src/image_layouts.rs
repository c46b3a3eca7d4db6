//! The inputs of an ONNX file that are images, and the order of their axes.
//!
//! An input is an image if its operators show it beyond doubt: it has four axes, of which the one of the channels has
//! size 1, 3 or 4, and reaches a convolution or a pooling (NCHW) or a transposition to NCHW (NHWC), directly or
//! through operators that keep the axes. In all other cases nothing is derived. The file is read in one pass that
//! skips weights; whether it is valid is for the backends to decide.

use crate::bounded_file::open_regular;
use crate::wire_reader::WireReader;
use std::collections::BTreeMap;
use std::io::{self, Read, Seek};
use std::path::Path;
use wisp_tensor::{Dimension, ElementType, ImageLayout, TensorSpec};

/// The permutation of the axes from NHWC to NCHW.
const TO_NCHW: [u64; 4] = [0, 3, 1, 2];

/// The sizes of the axis of channels: grey, colour, and colour with transparency.
const CHANNELS: [u32; 3] = [1, 3, 4];

/// Operators whose first input is NCHW, if it has four axes.
const NCHW_OPERATORS: [&str; 10] = [
    "AveragePool",
    "BatchNormalization",
    "Conv",
    "ConvInteger",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "InstanceNormalization",
    "LpPool",
    "MaxPool",
    "QLinearConv",
];

/// Operators whose output has the axes of their first input.
const AXIS_PRESERVING_OPERATORS: [&str; 8] = [
    "Cast",
    "Clip",
    "DequantizeLinear",
    "Identity",
    "Pad",
    "QuantizeLinear",
    "Relu",
    "Resize",
];

/// Operators whose output has the axes of either input, the other of which is usually a constant.
const ARITHMETIC_OPERATORS: [&str; 4] = ["Add", "Div", "Mul", "Sub"];

/// The maximum number of intermediate values that are followed.
const MAX_VALUES: usize = 1000;

/// Returns the layouts of the graph's `inputs` that are images, by name.
///
/// # Errors
/// Returns [`io::ErrorKind::InvalidData`] for a file that is not a protobuf message.
pub fn image_layouts(
    path: &Path,
    inputs: &[TensorSpec],
) -> io::Result<BTreeMap<String, ImageLayout>> {
    let candidates: Vec<&TensorSpec> = inputs.iter().filter(|spec| may_be_image(spec)).collect();
    if candidates.is_empty() {
        return Ok(BTreeMap::new());
    }
    let (file, bytes) = open_regular(path)?;
    find(file, bytes, &candidates)
}

/// Returns whether an input has the type and the axes of images.
fn may_be_image(spec: &TensorSpec) -> bool {
    spec.shape.len() == TO_NCHW.len() && spec.element_type != ElementType::Bytes
}

fn find(
    source: impl Read + Seek,
    bytes: u64,
    candidates: &[&TensorSpec],
) -> io::Result<BTreeMap<String, ImageLayout>> {
    let values = candidates.iter().map(|spec| spec.name.clone()).enumerate();
    let mut reader = Reader {
        file: WireReader::new(source),
        values: values.map(|(at, name)| (name, at)).collect(),
        uses: vec![Uses::default(); candidates.len()],
    };
    reader.read_model(bytes)?;
    let found = candidates.iter().zip(&reader.uses);
    let found = found.filter_map(|(spec, uses)| Some((spec.name.clone(), uses.layout(spec)?)));
    Ok(found.collect())
}

/// The layouts in which the operators use an input.
#[derive(Debug, Clone, Default)]
struct Uses {
    as_nchw: bool,
    as_nhwc: bool,
}

/// The parts of a node that show the layout of its inputs.
#[derive(Default)]
struct Node {
    /// Its first two inputs.
    inputs: Vec<String>,
    /// Its first output.
    output: Option<String>,
    operator: String,
    domain: String,
    permutation: Vec<u64>,
}

/// A reader of an ONNX file, and the layouts as far as they are found.
struct Reader<R> {
    file: WireReader<R>,
    /// The position of the input whose axes a value has, by the name of the value.
    values: BTreeMap<String, usize>,
    uses: Vec<Uses>,
}

// === impl Uses ===

impl Uses {
    /// Returns the layout of the input, if its uses agree on one and its size fits.
    fn layout(&self, spec: &TensorSpec) -> Option<ImageLayout> {
        let (layout, channels) = match (self.as_nchw, self.as_nhwc) {
            (true, false) => (ImageLayout::Nchw, spec.shape.get(1)),
            (false, true) => (ImageLayout::Nhwc, spec.shape.get(3)),
            (true, true) | (false, false) => return None,
        };
        match channels {
            Some(Dimension::Fixed(size)) if CHANNELS.contains(size) => Some(layout),
            _ => None,
        }
    }
}

// === impl Reader ===

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
            if field.number == 1 {
                // The nodes of a valid graph come after those whose values they take.
                let node = self.read_node(field.end)?;
                self.follow(node);
            }
            self.file.skip_to(field.end)?;
        }
        Ok(())
    }

    fn read_node(&mut self, end: u64) -> io::Result<Node> {
        let mut node = Node::default();
        while let Some(field) = self.file.next_field(end)? {
            match field.number {
                1 if node.inputs.len() < 2 => node.inputs.push(self.file.read_name(&field)?),
                2 if node.output.is_none() => node.output = Some(self.file.read_name(&field)?),
                4 => node.operator = self.file.read_name(&field)?,
                5 => self.read_attribute(field.end, &mut node)?,
                7 => node.domain = self.file.read_name(&field)?,
                _ => {}
            }
            self.file.skip_to(field.end)?;
        }
        Ok(node)
    }

    /// Reads the permutation of a transposition, and no other attribute.
    fn read_attribute(&mut self, end: u64, node: &mut Node) -> io::Result<()> {
        let mut is_permutation = false;
        while let Some(field) = self.file.next_field(end)? {
            match field.number {
                1 => is_permutation = self.file.read_name(&field)? == "perm",
                8 if is_permutation && node.operator == "Transpose" => {
                    let limit = 2 * TO_NCHW.len();
                    let permutation = &mut node.permutation;
                    self.file.read_integers(&field, permutation, limit)?;
                }
                _ => {}
            }
            if !is_permutation {
                // Such as the nodes of a forest, in lists of any length.
                return self.file.skip_to(end);
            }
            self.file.skip_to(field.end)?;
        }
        Ok(())
    }

    /// Records the facts that a node implies about its inputs.
    fn follow(&mut self, node: Node) {
        if !matches!(node.domain.as_str(), "" | "ai.onnx") {
            return;
        }
        let operator = node.operator.as_str();
        let first = self.origin(node.inputs.first());
        let output_origin = if ARITHMETIC_OPERATORS.contains(&operator) {
            first.or_else(|| self.origin(node.inputs.get(1)))
        } else if AXIS_PRESERVING_OPERATORS.contains(&operator) {
            first
        } else {
            None
        };
        if let (Some(origin), Some(output)) = (output_origin, node.output)
            && self.values.len() < MAX_VALUES
        {
            self.values.insert(output, origin);
        }
        let Some(uses) = first.and_then(|origin| self.uses.get_mut(origin)) else {
            return;
        };
        uses.as_nchw |= NCHW_OPERATORS.contains(&operator);
        uses.as_nhwc |= operator == "Transpose" && node.permutation == TO_NCHW;
    }

    fn origin(&self, value: Option<&String>) -> Option<usize> {
        self.values.get(value?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// Returns a field with a string, bytes or a message of less than 128 bytes.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        assert!(length < 128);
        [&[number << 3 | 2, length], content].concat()
    }

    fn node(operator: &str, inputs: &[&str], output: &str) -> Vec<u8> {
        let inputs: Vec<u8> = (inputs.iter())
            .flat_map(|input| field(1, input.as_bytes()))
            .collect();
        let output = field(2, output.as_bytes());
        [inputs, output, field(4, operator.as_bytes())].concat()
    }

    fn transposition(permutation: &[u8; 4], input: &str, output: &str) -> Vec<u8> {
        let attribute = [field(1, b"perm"), field(8, permutation)].concat();
        [node("Transpose", &[input], output), field(5, &attribute)].concat()
    }

    fn file(nodes: &[Vec<u8>]) -> Vec<u8> {
        let nodes: Vec<u8> = nodes.iter().flat_map(|node| field(1, node)).collect();
        let length = nodes.len();
        assert!(length < 1 << 14);
        let low = u8::try_from(length % 128).unwrap() | 0x80;
        let high = u8::try_from(length / 128).unwrap();
        [vec![7 << 3 | 2, low, high], nodes].concat()
    }

    fn x(shape: &[i64]) -> TensorSpec {
        let shape = shape.iter().map(|&size| Dimension::from_wire(size));
        TensorSpec {
            name: "x".to_owned(),
            element_type: ElementType::Fp32,
            shape: shape.collect::<Option<_>>().unwrap(),
            optional: false,
        }
    }

    /// Returns the layout of `x` with this shape in the graph of these nodes.
    fn layout(shape: &[i64], nodes: &[Vec<u8>]) -> Option<ImageLayout> {
        let spec = x(shape);
        let file = file(nodes);
        let bytes = u64::try_from(file.len()).unwrap();
        let found = find(Cursor::new(file), bytes, &[&spec]).unwrap();
        found.get("x").copied()
    }

    const IMAGE: [i64; 4] = [-1, 3, 224, 224];
    const IMAGE_WITH_CHANNELS_LAST: [i64; 4] = [-1, 224, 224, 3];

    #[test]
    fn an_input_of_a_convolution_or_pooling_is_nchw() {
        for operator in ["Conv", "MaxPool", "BatchNormalization"] {
            let nodes = [node(operator, &["x", "w"], "y")];
            assert_eq!(
                layout(&IMAGE, &nodes),
                Some(ImageLayout::Nchw),
                "{operator}"
            );
        }
        let scaled = [
            node("Cast", &["x"], "a"),
            node("Sub", &["mean", "a"], "b"),
            node("Div", &["b", "deviation"], "c"),
            node("Conv", &["c", "w"], "y"),
        ];
        assert_eq!(layout(&IMAGE, &scaled), Some(ImageLayout::Nchw));
    }

    #[test]
    fn an_input_that_is_transposed_to_nchw_is_nhwc() {
        let nodes = [
            node("Cast", &["x"], "a"),
            transposition(&[0, 3, 1, 2], "a", "b"),
            node("Conv", &["b", "w"], "y"),
        ];
        let found = layout(&IMAGE_WITH_CHANNELS_LAST, &nodes);
        assert_eq!(found, Some(ImageLayout::Nhwc));
    }

    #[test]
    fn nothing_is_derived_where_the_graph_leaves_a_doubt() {
        let conv = || node("Conv", &["x", "w"], "y");
        // The number of channels is variable, unusual for an image, or in another place.
        for shape in [[-1, -1, 8, 8], [-1, 64, 8, 8], IMAGE_WITH_CHANNELS_LAST] {
            assert_eq!(layout(&shape, &[conv()]), None, "{shape:?}");
        }
        // The weights of a convolution, other permutations, other operators and other domains.
        let foreign = [conv(), field(7, b"com.example")].concat();
        for nodes in [
            vec![node("Conv", &["image", "x"], "y")],
            vec![transposition(&[0, 2, 3, 1], "x", "y")],
            vec![node("MatMul", &["x", "w"], "a"), node("Conv", &["a"], "y")],
            vec![foreign],
        ] {
            assert_eq!(layout(&IMAGE, &nodes), None);
        }
        // Two uses that contradict each other.
        let both = [conv(), transposition(&[0, 3, 1, 2], "x", "z")];
        assert_eq!(layout(&[-1, 3, 224, 3], &both), None);
    }

    #[test]
    fn texts_and_tensors_of_other_ranks_are_no_images() {
        let text = TensorSpec {
            element_type: ElementType::Bytes,
            ..x(&IMAGE)
        };
        for spec in [x(&[-1, 3, 224]), x(&[-1, 3]), text] {
            assert!(!may_be_image(&spec), "{spec:?}");
        }
        assert!(may_be_image(&x(&IMAGE)));
    }

    #[test]
    fn damage_never_panics() {
        let graph = file(&[
            node("Cast", &["x"], "a"),
            transposition(&[0, 3, 1, 2], "a", "b"),
        ]);
        let spec = x(&[3; 4]);
        for position in 0..graph.len() {
            let cut = graph[..position].to_vec();
            let bytes = u64::try_from(position).unwrap();
            assert!(position == 0 || find(Cursor::new(cut), bytes, &[&spec]).is_err());
            let mut damaged = graph.clone();
            damaged[position] ^= 0x55;
            let bytes = u64::try_from(damaged.len()).unwrap();
            let _ = find(Cursor::new(damaged), bytes, &[&spec]);
        }
    }
}
