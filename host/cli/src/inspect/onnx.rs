//! Outlines of ONNX models: inputs, outputs, operators and parameters.
//!
//! Reads the file's own declarations, including the names of variable axes, so that it also supports
//! models that no backend here can compute. `messages` contains the schema.

mod messages;

use crate::display;
use anyhow::{Context, bail, ensure};
use messages::{
    DimensionProto, DimensionValue, GraphProto, ModelCounts, ModelProto, OperatorSetIdProto,
    TensorProto, ValueInfoProto,
};
use prost::Message;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use wisp_tensor::ElementType;

/// The limit on the depth of nested graphs (branches, loop bodies), far above real models.
const MAX_DEPTH: u32 = 32;

/// The limit on the number of nodes, tensors, inputs and outputs of the main graph, far above that of
/// real models.
const MAX_PARTS: usize = 1_000_000;

/// The outline of an ONNX model.
#[derive(Debug, Default, Serialize)]
pub(super) struct ModelReport {
    ir_version: i64,
    producer: String,
    opsets: Vec<Opset>,
    inputs: Vec<ValueReport>,
    outputs: Vec<ValueReport>,
    /// The number of nodes per operator, including those of nested graphs.
    operators: BTreeMap<String, u64>,
    /// The total number of elements of all constant tensors.
    parameters: u64,
    parameter_tensors: u64,
}

#[derive(Debug, Serialize)]
struct Opset {
    domain: String,
    version: i64,
}

/// An input or output of the graph.
#[derive(Debug, Serialize)]
struct ValueReport {
    name: String,
    /// The V2 datatype, or `None` if V2 has no such type.
    datatype: Option<&'static str>,
    /// The sizes or names of the axes, or `None` if the file declares no shape.
    shape: Option<Vec<Axis>>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
enum Axis {
    Size(i64),
    /// The name of a variable axis; empty if it has none.
    Variable(String),
}

/// Reads a model file.
pub(super) fn report(file: &[u8]) -> anyhow::Result<ModelReport> {
    const DAMAGED: &str = "the file is damaged or not an ONNX model";
    let counts = ModelCounts::decode(file).context(DAMAGED)?;
    check_counts(&counts)?;
    let model = ModelProto::decode(file).context(DAMAGED)?;
    let graph = model.graph;
    let graph = graph.context("the file contains no graph: it is not an ONNX model")?;
    let mut report = ModelReport {
        ir_version: model.ir_version,
        producer: format!("{} {}", model.producer_name, model.producer_version)
            .trim()
            .to_owned(),
        opsets: model.opset_import.into_iter().map(Opset::from).collect(),
        ..ModelReport::default()
    };
    report.count_operators(&graph, 0)?;
    report.read_graph(graph);
    Ok(report)
}

/// Rejects a model with more parts than any real one has.
fn check_counts(counts: &ModelCounts) -> anyhow::Result<()> {
    let Some(graph) = &counts.graph else {
        return Ok(());
    };
    for (parts, count) in [
        ("nodes", graph.node.len()),
        ("constant tensors", graph.initializer.len()),
        ("inputs", graph.input.len()),
        ("outputs", graph.output.len()),
        ("opsets", counts.opset_import.len()),
    ] {
        ensure!(
            count <= MAX_PARTS,
            "the file has {count} {parts}; the limit is {MAX_PARTS}"
        );
    }
    Ok(())
}

impl From<OperatorSetIdProto> for Opset {
    fn from(OperatorSetIdProto { domain, version }: OperatorSetIdProto) -> Opset {
        // Both spellings name the same domain.
        let domain = match domain.as_str() {
            "" => "ai.onnx".to_owned(),
            _ => domain,
        };
        Opset { domain, version }
    }
}

// === impl ModelReport ===

impl ModelReport {
    pub(super) fn has_output(&self, name: &str) -> bool {
        self.outputs.iter().any(|output| output.name == name)
    }

    /// Reads the main graph. Old files also list constant tensors as inputs.
    fn read_graph(&mut self, graph: GraphProto) {
        let mut constants = BTreeSet::new();
        for tensor in graph.initializer {
            self.parameter_tensors += 1;
            self.parameters = self.parameters.saturating_add(elements(&tensor));
            constants.insert(tensor.name);
        }
        let inputs = graph.input.into_iter().map(ValueReport::from);
        self.inputs = inputs
            .filter(|input| !constants.contains(&input.name))
            .collect();
        self.outputs = graph.output.into_iter().map(ValueReport::from).collect();
    }

    fn count_operators(&mut self, graph: &GraphProto, depth: u32) -> anyhow::Result<()> {
        if depth > MAX_DEPTH {
            bail!("graphs are nested more than {MAX_DEPTH} deep");
        }
        for node in &graph.node {
            let operator = match node.domain.as_str() {
                "" | "ai.onnx" => node.op_type.clone(),
                domain => format!("{domain}.{}", node.op_type),
            };
            *self.operators.entry(operator).or_default() += 1;
            for attribute in &node.attribute {
                for graph in attribute.g.iter().chain(&attribute.graphs) {
                    self.count_operators(graph, depth + 1)?;
                }
            }
        }
        Ok(())
    }
}

/// Returns the number of elements of a constant tensor.
fn elements(tensor: &TensorProto) -> u64 {
    let sizes = tensor.dims.iter().map(|&size| size.try_into().unwrap_or(0));
    sizes.fold(1, u64::saturating_mul)
}

impl From<ValueInfoProto> for ValueReport {
    fn from(ValueInfoProto { name, r#type }: ValueInfoProto) -> ValueReport {
        let tensor = r#type.and_then(|r#type| r#type.tensor_type);
        let code = tensor.as_ref().map(|tensor| tensor.elem_type);
        let shape = tensor.and_then(|tensor| tensor.shape);
        ValueReport {
            name,
            datatype: code.and_then(element_type).map(ElementType::name),
            shape: shape.map(|shape| shape.dim.into_iter().map(Axis::from).collect()),
        }
    }
}

impl From<DimensionProto> for Axis {
    fn from(dimension: DimensionProto) -> Axis {
        match dimension.value {
            Some(DimensionValue::Size(size)) => Axis::Size(size),
            Some(DimensionValue::Name(name)) => Axis::Variable(name),
            None => Axis::Variable(String::new()),
        }
    }
}

/// Returns the element type for an ONNX type code.
fn element_type(code: i32) -> Option<ElementType> {
    Some(match code {
        1 => ElementType::Fp32,
        2 => ElementType::Uint8,
        3 => ElementType::Int8,
        4 => ElementType::Uint16,
        5 => ElementType::Int16,
        6 => ElementType::Int32,
        7 => ElementType::Int64,
        8 => ElementType::Bytes,
        9 => ElementType::Bool,
        10 => ElementType::Fp16,
        11 => ElementType::Fp64,
        12 => ElementType::Uint32,
        13 => ElementType::Uint64,
        16 => ElementType::Bf16,
        _ => return None,
    })
}

// === Display ===

impl fmt::Display for ModelReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for input in &self.inputs {
            writeln!(f, "  input        {input}")?;
        }
        for output in &self.outputs {
            writeln!(f, "  output       {output}")?;
        }
        let mut operators: Vec<_> = self.operators.iter().collect();
        operators.sort_by_key(|(_, nodes)| std::cmp::Reverse(**nodes));
        let operators: Vec<String> = operators
            .into_iter()
            .map(|(operator, nodes)| format!("{operator} x{nodes}"))
            .collect();
        writeln!(f, "  operators    {}", operators.join(", "))?;
        let parameters = display::count(self.parameters);
        writeln!(
            f,
            "  parameters   {parameters} in {} tensors",
            self.parameter_tensors
        )?;
        let opsets: Vec<String> = self
            .opsets
            .iter()
            .map(|opset| format!("{} {}", opset.domain, opset.version))
            .collect();
        let (opsets, ir) = (opsets.join(", "), self.ir_version);
        writeln!(f, "  opset        {opsets} (IR version {ir})")?;
        if !self.producer.is_empty() {
            writeln!(f, "  producer     {}", self.producer)?;
        }
        Ok(())
    }
}

impl fmt::Display for ValueReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}  {}",
            self.name,
            self.datatype.unwrap_or("of a type that V2 does not have")
        )?;
        let Some(shape) = &self.shape else {
            return write!(f, "  of any shape");
        };
        let axes: Vec<String> = shape.iter().map(ToString::to_string).collect();
        write!(f, "  [{}]", axes.join(", "))
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Axis::Size(size) => size.fmt(f),
            Axis::Variable(name) if name.is_empty() => f.write_str("-1"),
            Axis::Variable(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a field with a string, bytes or a message.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        assert!(length < 128);
        [&[number << 3 | 2, length], content].concat()
    }

    fn input(number: u8, name: &str, element_type: u8, axes: &[&[u8]]) -> Vec<u8> {
        let shape: Vec<u8> = axes.iter().flat_map(|axis| field(1, axis)).collect();
        let tensor = [&[1 << 3, element_type][..], &field(2, &shape)].concat();
        let content = [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat();
        field(number, &content)
    }

    fn model() -> Vec<u8> {
        let inner = field(6, &field(1, &field(4, b"Relu")));
        let graph = [
            field(1, &field(4, b"Relu")),
            field(1, &[field(4, b"If"), field(5, &inner)].concat()),
            field(1, &[field(4, b"Gelu"), field(7, b"com.microsoft")].concat()),
            field(5, &[vec![1 << 3 | 2, 2, 3, 4], field(8, b"w")].concat()),
            input(11, "x", 1, &[&field(2, b"batch"), &[1 << 3, 4]]),
            input(11, "w", 1, &[]),
            input(12, "y", 14, &[&[]]),
        ];
        [
            vec![1 << 3, 10],
            field(2, b"hand"),
            field(3, b"1.0"),
            field(8, &[2 << 3, 17]),
            field(7, &graph.concat()),
        ]
        .concat()
    }

    #[test]
    fn a_model_shows_what_it_takes_gives_and_is_made_of() -> anyhow::Result<()> {
        let text = report(&model())?.to_string();
        let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
        assert_eq!(
            lines,
            [
                "input        x  FP32  [batch, 4]",
                "output       y  of a type that V2 does not have  [-1]",
                "operators    Relu x2, If x1, com.microsoft.Gelu x1",
                "parameters   12 in 1 tensors",
                "opset        ai.onnx 17 (IR version 10)",
                "producer     hand 1.0",
            ]
        );
        Ok(())
    }

    #[test]
    fn damage_never_panics_and_no_graph_is_no_model() {
        let model = model();
        for length in 0..model.len() {
            let _ = report(&model[..length]);
            let mut damaged = model.clone();
            damaged[length] ^= 0x55;
            let _ = report(&damaged);
        }
        let error = report(b"").err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("not an ONNX model")));
    }
}
