//! The parts of a graph that a value depends on.

use crate::onnx::node_parts::{inner_graphs, is_onnx};
use crate::onnx::values::Values;
use std::collections::HashSet;

/// What determines a value. tract knows all but those that depend on contents before it computes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Constants,
    /// The sizes of other values, and constants.
    Sizes,
    Contents,
}

/// Returns what a value is computed from. A missing one is a constant.
pub(super) fn origin(values: &Values<'_>, name: &str) -> Origin {
    let mut open = vec![name.to_owned()];
    let mut seen = HashSet::new();
    let mut origin = Origin::Constants;
    while let Some(name) = open.pop() {
        if name.is_empty() || !seen.insert(name.clone()) || values.tensor(&name).is_some() {
            continue;
        }
        match values.producer(&name) {
            Some(node) if is_onnx(node, &["Shape", "Size"]) => origin = Origin::Sizes,
            Some(node) if inner_graphs(node).next().is_none() => {
                open.extend(node.input.iter().cloned());
            }
            _ => return Origin::Contents,
        }
    }
    origin
}
