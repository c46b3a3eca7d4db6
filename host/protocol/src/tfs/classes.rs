//! Which outputs `:classify` and `:regress` answer with.
//!
//! TF Serving has signatures for them; ours are read off types and shapes (see `role`).
//!
//! Scores: the output of floats with one value for each class, or a single one; of several, the one
//! named `scores`. Labels: the output of strings with as many, or with one for each row; of several,
//! the one named `classes`. Without labels, the label of a class is its index: TF Serving gives the
//! empty string for all of them, which tells nobody which is which.

use super::error::Reason;
use crate::call::ModelDescription;
use crate::role::{Extent, extent, is_float, is_text};
use wisp_tensor::TensorSpec;

/// The outputs that name and weigh the classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Classes {
    pub(super) labels: Option<String>,
    pub(super) scores: String,
}

/// The outputs of a model that classifies.
pub(super) fn classes(model: &ModelDescription) -> Result<Classes, Reason> {
    let outputs = model.signature.outputs.iter();
    let listed = outputs.filter(|output| extent(output, model) != Extent::Other);
    let scores = listed.clone().filter(|output| is_float(output));
    let labels: Vec<&TensorSpec> = listed.filter(|output| is_text(output)).collect();
    let scores = choose(&scores.collect::<Vec<_>>(), "scores").ok_or(Reason::NoScores)?;
    let labels = match labels.as_slice() {
        [] => None,
        several => Some(choose(several, "classes").ok_or(Reason::ManyLabels)?),
    };
    Ok(Classes { labels, scores })
}

/// The output of a model that gives a number for each row.
pub(super) fn number(model: &ModelDescription) -> Result<String, Reason> {
    let outputs = model.signature.outputs.iter();
    // A variable axis may turn out to have size 1.
    let numbers = outputs.filter(|output| is_float(output) && may_be_one(output, model));
    choose(&numbers.collect::<Vec<_>>(), "outputs").ok_or(Reason::NoNumber)
}

fn may_be_one(output: &TensorSpec, model: &ModelDescription) -> bool {
    let row = output.shape.iter().skip(1);
    let fits = |size: &wisp_tensor::Dimension| matches!(size.to_wire(), -1 | 1);
    extent(output, model) != Extent::Other && row.clone().all(fits)
}

fn choose(candidates: &[&TensorSpec], name: &str) -> Option<String> {
    let chosen = match candidates {
        [only] => only,
        several => several.iter().find(|output| output.name == name)?,
    };
    Some(chosen.name.clone())
}
