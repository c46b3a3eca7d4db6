//! Selection of the outputs for `:classify` and `:regress`, over HTTP and gRPC alike.
//!
//! TF Serving has signatures for them; here, types and shapes decide (see `output_semantics`).
//!
//! Scores are the float output with one value for each class, or with a single value; of several such
//! outputs, the one named `scores`. Labels are the string output with as many values, or with one for
//! each row; of several, the one named `classes`. A single label for many scores belongs to the highest
//! one, and the other scores are left out. If the classes of the scores have names, in a label file or in
//! the graph, these are the labels of all classes instead. A class without a label has its index as its label:
//! TF Serving returns empty strings, which do not distinguish the classes.

use crate::call::ModelDescription;
use crate::class_names::{label_or_index, name_bytes};
use crate::output_semantics::{RowCardinality, RowView, is_float, is_string, row_cardinality};
use crate::relaxed_json::EncodeError;
use std::borrow::Cow;
use wisp_tensor::{NamedTensor, TensorSpec};

/// The reason that a model cannot classify or regress. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RoleError {
    #[error(
        "the model cannot classify: this needs one output of floats, a score for each class, or \
         an output named `scores`"
    )]
    NoScores,
    #[error(
        "the model cannot classify: several outputs may contain labels, and none is named `classes`"
    )]
    ManyLabels,
    #[error(
        "the model cannot regress: this needs one output that is a single float for each row, or \
         an output named `outputs`"
    )]
    NoNumber,
}

/// The outputs with the labels and scores of the classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Classes {
    labels: Option<String>,
    scores: String,
    /// The maximum number of bytes of the names of all classes in one row.
    name_bytes: usize,
}

/// The output with a number for each row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Number(String);

/// The classes of every row. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct Classified<'a> {
    labels: Option<RowView<'a>>,
    /// The names of the first classes, if there is no output with labels.
    names: &'a [String],
    pub(crate) scores: RowView<'a>,
}

// === impl Classes ===

impl Classes {
    /// Returns the outputs of a model for `:classify`.
    pub(crate) fn new(model: &ModelDescription) -> Result<Classes, RoleError> {
        let outputs = model.signature.outputs.iter();
        let listed =
            outputs.filter(|output| row_cardinality(output, model) != RowCardinality::Other);
        let scores = listed.clone().filter(|output| is_float(output));
        let labels: Vec<&TensorSpec> = listed.filter(|output| is_string(output)).collect();
        let scores = choose(&scores.collect::<Vec<_>>(), "scores").ok_or(RoleError::NoScores)?;
        let labels = match labels.as_slice() {
            [] => None,
            _ if model.class_labels.contains_key(&scores) => None,
            several => Some(choose(several, "classes").ok_or(RoleError::ManyLabels)?),
        };
        Ok(Classes {
            labels,
            name_bytes: name_bytes(model, std::iter::once(&scores)),
            scores,
        })
    }

    /// Returns the maximum number of bytes that names take in a response of this many rows.
    pub(crate) fn name_bytes(&self, rows: u32) -> usize {
        self.name_bytes.saturating_mul(rows as usize)
    }

    /// Returns the outputs that the response is built from.
    pub(crate) fn outputs(&self) -> Vec<String> {
        self.labels.iter().chain([&self.scores]).cloned().collect()
    }

    /// Returns the classes in these outputs of a model, which have `rows` rows.
    pub(crate) fn find<'a>(
        &self,
        outputs: &'a [NamedTensor],
        model: &'a ModelDescription,
        rows: u32,
    ) -> Result<Classified<'a>, EncodeError> {
        let scores = RowView::new(outputs, &self.scores, Some(rows))?;
        let labels = self.labels.as_ref();
        let labels = labels.map(|name| RowView::new(outputs, name, Some(rows)));
        let labels = labels.transpose()?;
        if let Some(labels) = &labels {
            labels.check_labels(scores.width)?;
        }
        let names = model.class_labels.get(&self.scores);
        Ok(Classified {
            labels,
            names: names.map_or(&[], Vec::as_slice),
            scores,
        })
    }
}

// === impl Number ===

impl Number {
    /// Returns the output of a model for `:regress`.
    pub(crate) fn new(model: &ModelDescription) -> Result<Number, RoleError> {
        let outputs = model.signature.outputs.iter();
        // A variable axis may have size 1 in the response.
        let numbers = outputs.filter(|output| is_float(output) && may_be_one(output, model));
        let chosen = choose(&numbers.collect::<Vec<_>>(), "outputs");
        chosen.map(Number).ok_or(RoleError::NoNumber)
    }

    /// Returns the output that the response is built from.
    pub(crate) fn outputs(&self) -> Vec<String> {
        vec![self.0.clone()]
    }

    /// Returns the numbers in these outputs, one in each of `rows` rows.
    pub(crate) fn find<'a>(
        &self,
        outputs: &'a [NamedTensor],
        rows: u32,
    ) -> Result<RowView<'a>, EncodeError> {
        let numbers = RowView::new(outputs, &self.0, Some(rows))?;
        numbers.check_width(1)?;
        Ok(numbers)
    }
}

fn may_be_one(output: &TensorSpec, model: &ModelDescription) -> bool {
    let row = output.shape.iter().skip(1);
    let fits = |size: &wisp_tensor::Dimension| matches!(size.to_wire(), -1 | 1);
    row_cardinality(output, model) != RowCardinality::Other && row.clone().all(fits)
}

fn choose(candidates: &[&TensorSpec], name: &str) -> Option<String> {
    let chosen = match candidates {
        [only] => only,
        several => several.iter().find(|output| output.name == name)?,
    };
    Some(chosen.name.clone())
}

// === impl Classified ===

impl<'a> Classified<'a> {
    /// Returns the output with the labels, or the one with the scores if there are no labels.
    pub(crate) fn labels(&self) -> &'a NamedTensor {
        self.labels.as_ref().unwrap_or(&self.scores).output
    }

    /// Returns the label and the score of each class of a row.
    pub(crate) fn row(&self, row: usize) -> impl Iterator<Item = (Cow<'a, [u8]>, &'a [u8])> {
        let scores = self.scores.row(row);
        let labels = self.labels.as_ref().map(|labels| labels.row(row));
        let names = self.names;
        let classes = match labels {
            Some(labels) if labels.len() != scores.len() => {
                let best = self.scores.greatest(row).unwrap_or(0);
                best..scores.len().min(best + 1)
            }
            _ => 0..scores.len(),
        };
        classes.map(move |class| {
            let label = match labels {
                Some([only]) => Cow::Borrowed(*only),
                Some(labels) => Cow::Borrowed(labels[class]),
                None => label_or_index(names, class),
            };
            (label, scores[class])
        })
    }
}
