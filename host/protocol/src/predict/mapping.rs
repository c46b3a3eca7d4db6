//! Selection of the prediction and the probabilities among a model's outputs, over HTTP and gRPC alike.
//!
//! Types and shapes decide (see `output_semantics`). The first output in the signature's order that fits is taken:
//! - The probabilities are the float output with one value for each class.
//! - The prediction is the label: a single string, or, if there are probabilities, a single integer or
//!   bool, or else the string of the greatest probability from an output with one string for each class.
//! - Without a label, it is the index of the greatest probability. Without probabilities too, it is the
//!   first output with a single value of any type, or else all of the first output.
//!
//! `named` replaces indexes by the names of classes.

pub(crate) mod named;

use crate::call::ModelDescription;
use crate::output_semantics::{
    RowCardinality, RowView, check_rows, find, is_float, is_string, row_cardinality,
};
use crate::relaxed_json::EncodeError;
use wisp_tensor::{ElementType, NamedTensor, TensorSpec};

/// The names of the outputs that the members of a response come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PredictionMapping {
    pub(crate) probabilities: Option<String>,
    pub(crate) label: Option<String>,
    /// The output that is written unchanged if there are neither probabilities nor a label.
    pub(crate) value: Option<String>,
}

/// The outputs of a response that predictions are read from. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct Predictions<'a> {
    probabilities: Option<RowView<'a>>,
    label: Option<RowView<'a>>,
    value: Option<Value<'a>>,
}

/// An output that is written unchanged.
#[derive(Debug)]
enum Value<'a> {
    /// An output with a single element in each row.
    One(RowView<'a>),
    Several(&'a NamedTensor),
}

/// The prediction for one row.
#[derive(Debug)]
pub(crate) enum Prediction<'a> {
    Element(ElementType, &'a [u8]),
    /// The position of the greatest probability.
    Class(usize),
    /// No greatest score: all scores are NaN, or there are none.
    Unknown,
    /// All elements of the row in this output.
    Several(&'a NamedTensor),
}

impl PredictionMapping {
    pub(crate) fn new(model: &ModelDescription) -> PredictionMapping {
        let first = |fits: &dyn Fn(&TensorSpec) -> bool| {
            let mut outputs = model.signature.outputs.iter();
            outputs
                .find(|output| fits(output))
                .map(|output| output.name.clone())
        };
        let is = |output: &TensorSpec, expected| row_cardinality(output, model) == expected;
        let probabilities =
            first(&|output| is_float(output) && is(output, RowCardinality::Classes));
        let label =
            first(&|output| is_string(output) && is(output, RowCardinality::One)).or_else(|| {
                // Without probabilities, such an output may be a remark on the prediction before it.
                probabilities.as_ref()?;
                first(&|output| !is_float(output) && is(output, RowCardinality::One)).or_else(
                    || first(&|output| is_string(output) && is(output, RowCardinality::Classes)),
                )
            });
        let value = match (&probabilities, &label) {
            (None, None) => {
                first(&|output| is(output, RowCardinality::One)).or_else(|| first(&|_| true))
            }
            _ => None,
        };
        PredictionMapping {
            probabilities,
            label,
            value,
        }
    }

    /// Returns the outputs that the response is built from; empty means all.
    pub(crate) fn outputs(&self) -> Vec<String> {
        let PredictionMapping {
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

    /// Returns the predictions in these outputs, which have `rows` rows. `None` means that there is no
    /// batch axis, and a single row.
    pub(crate) fn find<'a>(
        &self,
        outputs: &'a [NamedTensor],
        rows: Option<u32>,
    ) -> Result<Predictions<'a>, EncodeError> {
        let view = |name: &Option<String>| {
            let view = name.as_ref().map(|name| RowView::new(outputs, name, rows));
            view.transpose()
        };
        let probabilities = view(&self.probabilities)?;
        let label = view(&self.label)?;
        if let Some(label) = &label {
            label.check_labels(probabilities.as_ref().map_or(1, |scores| scores.width))?;
        }
        let value = match &self.value {
            Some(name) => {
                let output = find(outputs, name)?;
                check_rows(output, rows)?;
                let rows_of_output = rows.map_or(1, |rows| rows as usize);
                Some(match output.tensor.shape().elements() == rows_of_output {
                    true => Value::One(RowView::new(outputs, name, rows)?),
                    false => Value::Several(output),
                })
            }
            None if probabilities.is_none() && label.is_none() => {
                return Err(EncodeError::NoOutput);
            }
            None => None,
        };
        Ok(Predictions {
            probabilities,
            label,
            value,
        })
    }
}

impl<'a> Predictions<'a> {
    /// Returns the output that the predicted label or single value of a row is read from, if any.
    pub(crate) fn label(&self) -> Option<&'a NamedTensor> {
        let value = match &self.value {
            Some(Value::One(view)) => Some(view),
            _ => None,
        };
        self.label.as_ref().or(value).map(|view| view.output)
    }

    pub(crate) fn prediction(&self, row: usize) -> Prediction<'a> {
        let class = || self.probabilities.as_ref()?.greatest(row);
        let (view, position) = match (&self.value, &self.label, &self.probabilities) {
            (Some(Value::Several(output)), _, _) => return Prediction::Several(output),
            (Some(Value::One(view)), _, _) => (view, Some(0)),
            (None, Some(label), _) if label.width == 1 => (label, Some(0)),
            (None, Some(label), _) => (label, class()),
            // A variable axis may have size 1 in the response.
            (None, None, Some(scores)) if scores.width == 1 => (scores, Some(0)),
            (None, None, _) => return class().map_or(Prediction::Unknown, Prediction::Class),
        };
        let element = position.and_then(|position| view.row(row).get(position));
        element.map_or(Prediction::Unknown, |element| {
            Prediction::Element(view.element_type(), element)
        })
    }

    /// Returns the probabilities of the classes of a row. A single number is not a probability unless
    /// there is a label for it.
    pub(crate) fn probabilities(&self, row: usize) -> Option<(ElementType, &[&'a [u8]])> {
        let scores = self.probabilities.as_ref()?;
        let is_list = scores.width != 1 || self.label.is_some();
        is_list.then(|| (scores.element_type(), scores.row(row)))
    }
}
