//! The classes of a classifier: their labels, and the tensor of the predicted labels.

use super::attribute;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{DatumType, Tensor, TractResult, tensor1};

/// The labels of the classes, in the order of their scores.
#[derive(Debug)]
pub(super) enum Labels {
    Ints(Vec<i64>),
    Strings(Vec<String>),
}

/// The result for a row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Winner {
    /// The class at this position.
    Class(usize),
    /// True or false, for which onnxruntime returns 1 and 0 instead of the integer labels.
    Truth(bool),
}

impl Labels {
    /// Reads the labels of a node. The attribute with integer labels has one of two names.
    pub(super) fn parse(node: &NodeProto, ints_name: &str) -> TractResult<Labels> {
        let ints = attribute::ints(node, ints_name)?;
        let strings = attribute::strings(node, "classlabels_strings")?;
        match (ints.is_empty(), strings.is_empty()) {
            (_, false) => Ok(Labels::Strings(strings)),
            (false, true) => Ok(Labels::Ints(ints)),
            (true, true) => node.bail_attr(
                ints_name,
                "expected the labels of the classes here or in classlabels_strings",
            ),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Labels::Ints(labels) => labels.len(),
            Labels::Strings(labels) => labels.len(),
        }
    }

    pub(super) fn datum_type(&self) -> DatumType {
        match self {
            Labels::Ints(_) => DatumType::I64,
            Labels::Strings(_) => DatumType::String,
        }
    }

    /// Returns the labels of the winners, row by row.
    pub(super) fn tensor(&self, winners: impl Iterator<Item = Winner>) -> Tensor {
        match self {
            Labels::Ints(labels) => {
                let label = |winner| match winner {
                    Winner::Class(class) => labels.get(class).copied().unwrap_or_default(),
                    Winner::Truth(truth) => i64::from(truth),
                };
                tensor1(&winners.map(label).collect::<Vec<i64>>())
            }
            Labels::Strings(labels) => {
                let label = |winner| match winner {
                    Winner::Class(class) => labels.get(class),
                    Winner::Truth(truth) => labels.get(usize::from(truth)),
                };
                let labels = winners.map(|winner| label(winner).cloned().unwrap_or_default());
                tensor1(&labels.collect::<Vec<String>>())
            }
        }
    }
}

/// Returns the position of the greatest score, the first of equal ones.
pub(super) fn greatest(scores: &[f32]) -> usize {
    let mut winner = 0;
    for (position, score) in scores.iter().enumerate() {
        if *score > scores[winner] {
            winner = position;
        }
    }
    winner
}
