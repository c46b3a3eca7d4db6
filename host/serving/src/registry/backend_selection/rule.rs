//! The rules by which the default backend computes a graph without measurements, since these cannot pay.

use super::selection::SelectionRule;
use crate::registry::graph_file::GraphFile;
use wisp_backend::model_outline::ModelOutline;
use wisp_backend::{Device, Format, ModelSource};
use wisp_tensor::{Dimension, Signature};

/// The maximum number of elements in a row of a tiny graph's input.
const MAX_TINY_ELEMENTS: u64 = 4096;

/// Returns the rule by which the default backend computes the graph without measurements, if there is one.
pub(super) fn rule(file: &GraphFile<'_>, outline: Option<&ModelOutline>) -> Option<SelectionRule> {
    if file.options.device != Device::Cpu {
        return None;
    }
    if ModelSource::Path(file.path).format() == Format::Nnef {
        return Some(SelectionRule::Nnef);
    }
    let outline = outline?;
    match outline.is_tabular() {
        true => Some(SelectionRule::Tabular),
        false => outline.is_tiny().then_some(SelectionRule::Tiny),
    }
}

/// Returns whether a rule that its file suggests also holds for the loaded graph: few weights can still
/// compute large inputs.
pub(super) fn holds(rule: SelectionRule, signature: &Signature) -> bool {
    match rule {
        SelectionRule::Tabular | SelectionRule::Nnef => true,
        SelectionRule::Tiny => (signature.inputs.iter()).all(|spec| has_small_rows(&spec.shape)),
    }
}

/// Returns whether an input has few elements in a row, and no variable axis besides the batch.
fn has_small_rows(shape: &[Dimension]) -> bool {
    let mut elements = 1_u64;
    for (axis, size) in shape.iter().enumerate() {
        match size {
            Dimension::Variable if axis == 0 => {}
            Dimension::Variable => return false,
            Dimension::Fixed(size) => elements = elements.saturating_mul(u64::from(*size)),
        }
    }
    elements <= MAX_TINY_ELEMENTS
}
