//! Which outputs of a model are its prediction and its probabilities.
//!
//! Read off types and shapes (see `role`), the first that fits in the signature's order:
//! - the probabilities are the floats with one value for each class;
//! - the prediction is the label: a single string, or beside probabilities a single integer or truth
//!   value, or strings with one for each class, of which that of the greatest probability;
//! - without a label, it is the index of the greatest probability; without probabilities either, the
//!   first single value of any type, or else all of the first output.

use crate::call::ModelDescription;
use crate::role::{Extent, extent, is_float, is_text};
use wisp_tensor::TensorSpec;

/// Where the members of an answer come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) probabilities: Option<String>,
    pub(crate) label: Option<String>,
    /// What is shown as it is, where there are neither probabilities nor a label.
    pub(crate) value: Option<String>,
}

impl Outcome {
    pub(crate) fn new(model: &ModelDescription) -> Outcome {
        let first = |fits: &dyn Fn(&TensorSpec) -> bool| {
            let mut outputs = model.signature.outputs.iter();
            outputs
                .find(|output| fits(output))
                .map(|output| output.name.clone())
        };
        let is = |output: &TensorSpec, expected| extent(output, model) == expected;
        let probabilities = first(&|output| is_float(output) && is(output, Extent::Classes));
        let label = first(&|output| is_text(output) && is(output, Extent::One)).or_else(|| {
            // Elsewhere it may be a remark on the prediction, which stands before it.
            probabilities.as_ref()?;
            first(&|output| !is_float(output) && is(output, Extent::One))
                .or_else(|| first(&|output| is_text(output) && is(output, Extent::Classes)))
        });
        let value = match (&probabilities, &label) {
            (None, None) => first(&|output| is(output, Extent::One)).or_else(|| first(&|_| true)),
            _ => None,
        };
        Outcome {
            probabilities,
            label,
            value,
        }
    }

    /// The outputs that the answer is made of; empty means all.
    pub(super) fn outputs(&self) -> Vec<String> {
        let Outcome {
            probabilities,
            label,
            value,
        } = self;
        [probabilities, label, value]
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }
}
