//! Outlines of ONNX models: inputs, outputs, operators and parameters.
//!
//! Reads the file's own declarations, including the names of variable axes, so that it also supports
//! models that no backend here can compute. Field numbers are those of onnx.proto3.

use super::protobuf::Fields;
use crate::display;
use anyhow::{Context, bail};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use wisp_tensor::ElementType;

/// The limit on the depth of nested graphs (branches, loop bodies), far above that of real models.
const MAX_DEPTH: u32 = 32;

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
    let mut report = ModelReport::default();
    let mut producer_version = String::new();
    let mut graph = None;
    for field in Fields::of(file) {
        let field = field.context("the file is damaged or no ONNX model")?;
        match field.number {
            1 => report.ir_version = field.value.integer()?,
            2 => report.producer = field.value.text()?,
            3 => producer_version = field.value.text()?,
            7 => graph = Some(field.value.message()?),
            8 => report.opsets.push(opset(field.value.message()?)?),
            _ => {}
        }
    }
    if !producer_version.is_empty() {
        report.producer = format!("{} {producer_version}", report.producer);
    }
    let graph = graph.context("there is no graph in it: the file is no ONNX model")?;
    report.read_graph(graph)?;
    Ok(report)
}

fn opset(message: &[u8]) -> anyhow::Result<Opset> {
    let mut opset = Opset {
        domain: String::new(),
        version: 0,
    };
    for field in Fields::of(message) {
        let field = field?;
        match field.number {
            1 => opset.domain = field.value.text()?,
            2 => opset.version = field.value.integer()?,
            _ => {}
        }
    }
    // Both spellings name the same domain.
    if opset.domain.is_empty() {
        opset.domain = "ai.onnx".to_owned();
    }
    Ok(opset)
}

// === impl ModelReport ===

impl ModelReport {
    /// Reads the main graph. Old files also list constant tensors as inputs.
    fn read_graph(&mut self, graph: &[u8]) -> anyhow::Result<()> {
        let mut constants = BTreeSet::new();
        for field in Fields::of(graph) {
            let field = field?;
            match field.number {
                5 => {
                    let (name, elements) = constant(field.value.message()?)?;
                    constants.insert(name);
                    self.parameter_tensors += 1;
                    self.parameters = self.parameters.saturating_add(elements);
                }
                11 => self.inputs.push(value(field.value.message()?)?),
                12 => self.outputs.push(value(field.value.message()?)?),
                _ => {}
            }
        }
        self.inputs.retain(|input| !constants.contains(&input.name));
        self.count_operators(graph, 0)
    }

    fn count_operators(&mut self, graph: &[u8], depth: u32) -> anyhow::Result<()> {
        if depth > MAX_DEPTH {
            bail!("graphs are nested more than {MAX_DEPTH} deep");
        }
        for field in Fields::of(graph) {
            let field = field?;
            if field.number == 1 {
                self.count_node(field.value.message()?, depth)?;
            }
        }
        Ok(())
    }

    fn count_node(&mut self, node: &[u8], depth: u32) -> anyhow::Result<()> {
        let mut operator = String::new();
        let mut domain = String::new();
        for field in Fields::of(node) {
            let field = field?;
            match field.number {
                4 => operator = field.value.text()?,
                7 => domain = field.value.text()?,
                5 => {
                    for field in Fields::of(field.value.message()?) {
                        let field = field?;
                        // The fields `g` and `graphs` of an attribute.
                        if field.number == 6 || field.number == 11 {
                            self.count_operators(field.value.message()?, depth + 1)?;
                        }
                    }
                }
                _ => {}
            }
        }
        if !domain.is_empty() && domain != "ai.onnx" {
            operator = format!("{domain}.{operator}");
        }
        *self.operators.entry(operator).or_default() += 1;
        Ok(())
    }
}

/// Returns the name and the number of elements of a constant tensor.
fn constant(message: &[u8]) -> anyhow::Result<(String, u64)> {
    let mut name = String::new();
    let mut elements: u64 = 1;
    for field in Fields::of(message) {
        let field = field?;
        match field.number {
            1 => {
                for size in field.value.integers()? {
                    elements = elements.saturating_mul(size.try_into().unwrap_or(0));
                }
            }
            8 => name = field.value.text()?,
            _ => {}
        }
    }
    Ok((name, elements))
}

/// Reads an input or output of a graph.
fn value(message: &[u8]) -> anyhow::Result<ValueReport> {
    let mut report = ValueReport {
        name: String::new(),
        datatype: None,
        shape: None,
    };
    for field in Fields::of(message) {
        let field = field?;
        match field.number {
            1 => report.name = field.value.text()?,
            2 => {
                for field in Fields::of(field.value.message()?) {
                    let field = field?;
                    // Sequences, maps and optionals have other field numbers; they are not tensors and
                    // are skipped.
                    if field.number == 1 {
                        report.read_tensor_type(field.value.message()?)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(report)
}

// === impl ValueReport ===

impl ValueReport {
    fn read_tensor_type(&mut self, message: &[u8]) -> anyhow::Result<()> {
        for field in Fields::of(message) {
            let field = field?;
            match field.number {
                1 => self.datatype = element_type(field.value.integer()?).map(ElementType::name),
                2 => {
                    let axes = Fields::of(field.value.message()?);
                    let axes = axes.map(|field| axis(field?.value.message()?));
                    self.shape = Some(axes.collect::<anyhow::Result<_>>()?);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn axis(message: &[u8]) -> anyhow::Result<Axis> {
    let mut axis = Axis::Variable(String::new());
    for field in Fields::of(message) {
        let field = field?;
        match field.number {
            1 => axis = Axis::Size(field.value.integer()?),
            2 => axis = Axis::Variable(field.value.text()?),
            _ => {}
        }
    }
    Ok(axis)
}

/// Returns the element type for an ONNX type code.
fn element_type(code: i64) -> Option<ElementType> {
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
        assert!(error.is_some_and(|error| error.contains("no ONNX model")));
    }
}
