//! Compares the graphs that a handler expects with the graphs that its version has.
//!
//! The comparison is made when a version is loaded, so that a handler built for another model fails
//! before its first request. All signature_mismatches are reported, for `wisp check`.

use std::fmt;
use wisp_sandbox::compute::Graphs;
use wisp_sandbox::handler::HandlerSignature;
use wisp_sandbox::nn::is_representable;
use wisp_tensor::signature::DimensionList;
use wisp_tensor::{Dimension, Signature, TensorSpec};

/// One point in which a handler and a graph disagree, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureMismatch(String);

impl fmt::Display for SignatureMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns every disagreement between the signatures that the handler expects and the graphs'.
pub fn signature_mismatches(handler: &HandlerSignature, graphs: &Graphs) -> Vec<SignatureMismatch> {
    let mut found = Vec::new();
    for (name, expected) in &handler.graphs {
        match graphs.find(name) {
            Some(graph) => compare(name, expected, graph.signature(), &mut found),
            None => {
                let known: Vec<_> = graphs.names().collect();
                found.push(SignatureMismatch(format!(
                    "the handler uses the graph `{name}`, the version has: {}",
                    known.join(", ")
                )));
            }
        }
    }
    found
}

fn compare(
    graph: &str,
    expected: &Signature,
    actual: &Signature,
    found: &mut Vec<SignatureMismatch>,
) {
    let sides = [
        (Side::Input, &expected.inputs, &actual.inputs),
        (Side::Output, &expected.outputs, &actual.outputs),
    ];
    for (side, expected, actual) in sides {
        for spec in expected {
            let subject = format!("{side} `{}` of graph `{graph}`", spec.name);
            match actual.iter().find(|other| other.name == spec.name) {
                None => found.push(SignatureMismatch(format!(
                    "the handler expects {subject}, the graph has: {}",
                    actual
                        .iter()
                        .map(|other| other.name.as_str())
                        .collect::<Vec<_>>()
                        .join(", ")
                ))),
                Some(other) => found.extend(
                    differences(side, spec, other)
                        .into_iter()
                        .map(|difference| SignatureMismatch(format!("{subject} {difference}"))),
                ),
            }
        }
    }
    for spec in actual.inputs.iter().filter(|spec| !spec.optional) {
        if !expected.inputs.iter().any(|other| other.name == spec.name) {
            found.push(SignatureMismatch(format!(
                "graph `{graph}` needs input `{}`, which the handler does not provide",
                spec.name
            )));
        }
    }
    for spec in actual.inputs.iter().chain(&actual.outputs) {
        if !is_representable(spec.element_type) {
            found.push(SignatureMismatch(format!(
                "`{}` of graph `{graph}` is {}, which wasi:nn does not support; serve the model \
                 without a handler",
                spec.name, spec.element_type
            )));
        }
    }
}

/// Returns the differences between two declarations of one tensor.
fn differences(side: Side, expected: &TensorSpec, actual: &TensorSpec) -> Vec<String> {
    let mut differences = Vec::new();
    if expected.element_type != actual.element_type {
        differences.push(format!(
            "is {}, the handler expects {}",
            actual.element_type, expected.element_type
        ));
    }
    let fits = expected.shape.len() == actual.shape.len()
        && expected
            .shape
            .iter()
            .zip(&actual.shape)
            .all(|pair| match pair {
                (Dimension::Fixed(expected), Dimension::Fixed(actual)) => expected == actual,
                // A handler that sends any size needs a graph that accepts any size; a handler that reads
                // any size also accepts a fixed one.
                (Dimension::Variable, Dimension::Fixed(_)) => side == Side::Output,
                (_, Dimension::Variable) => true,
            });
    if !fits {
        differences.push(format!(
            "has shape {}, the handler expects {}",
            DimensionList(&actual.shape),
            DimensionList(&expected.shape)
        ));
    }
    differences
}

/// The side of a graph that a tensor is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Input,
    Output,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Input => "input",
            Side::Output => "output",
        })
    }
}
