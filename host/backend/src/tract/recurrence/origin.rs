//! The parts of a graph that a value depends on.

use crate::onnx::node_parts::{inner_graphs, is_onnx};
use crate::onnx::values::Values;
use crate::pb::NodeProto;
use std::collections::HashSet;

/// The number of nodes before a value that are compared with those before another one.
const MAX_COMPARED: usize = 32;

/// The operators whose results consist of the numbers of their inputs.
const COPIES: &[&str] = &[
    "Cast",
    "Concat",
    "Expand",
    "Gather",
    "Identity",
    "Reshape",
    "Slice",
    "Squeeze",
    "Tile",
    "Unsqueeze",
];

/// The source of a value. For tract, all but those that depend on contents are constant before a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Constants,
    /// The sizes of other values, and constants.
    Sizes,
    /// Numbers that are computed from sizes.
    ComputedSizes,
    Contents,
}

/// Returns what a value is computed from. A missing one is a constant.
pub(super) fn origin(values: &Values<'_>, name: &str) -> Origin {
    let mut open = vec![name.to_owned()];
    let mut seen = HashSet::new();
    let (mut has_sizes, mut is_computed) = (false, false);
    while let Some(name) = open.pop() {
        if name.is_empty() || !seen.insert(name.clone()) || values.tensor(&name).is_some() {
            continue;
        }
        match values.producer(&name) {
            Some(node) if is_onnx(node, &["Shape", "Size"]) => has_sizes = true,
            Some(node) if inner_graphs(node).next().is_none() => {
                is_computed |= !node.input.is_empty() && !is_onnx(node, COPIES);
                open.extend(node.input.iter().cloned());
            }
            _ => return Origin::Contents,
        }
    }
    match (has_sizes, is_computed) {
        (false, _) => Origin::Constants,
        (true, false) => Origin::Sizes,
        (true, true) => Origin::ComputedSizes,
    }
}

/// Returns whether two values follow from the same one through equal nodes. tract takes them for one value.
pub(super) fn are_same<'a>(values: &'a Values<'_>, left: &'a str, right: &'a str) -> bool {
    let (mut left, mut right) = (left, right);
    for _ in 0..MAX_COMPARED {
        (left, right) = (before_copies(values, left), before_copies(values, right));
        if left == right {
            return true;
        }
        let (Some(one), Some(other)) = (values.producer(left), values.producer(right)) else {
            return false;
        };
        let (Some((first, others)), Some((other_first, other_others))) =
            (one.input.split_first(), other.input.split_first())
        else {
            return false;
        };
        let are_equal = one.op_type == other.op_type
            && one.domain == other.domain
            && one.attribute == other.attribute
            && position(one, left) == position(other, right)
            && others == other_others;
        if !are_equal {
            return false;
        }
        (left, right) = (first.as_str(), other_first.as_str());
    }
    false
}

/// Returns the value that Identity copies.
fn before_copies<'a>(values: &'a Values<'_>, name: &'a str) -> &'a str {
    let mut name = name;
    for _ in 0..MAX_COMPARED {
        let copy = values
            .producer(name)
            .filter(|node| is_onnx(node, &["Identity"]));
        match copy.and_then(|node| node.input.first()) {
            Some(copied) => name = copied.as_str(),
            None => break,
        }
    }
    name
}

fn position(node: &NodeProto, output: &str) -> Option<usize> {
    node.output.iter().position(|name| name == output)
}
