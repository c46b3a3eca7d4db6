//! Which outputs of a model are its prediction and its probabilities, over HTTP and gRPC alike.
//!
//! Read off types and shapes (see `role`), the first that fits in the signature's order:
//! - the probabilities are the floats with one value for each class;
//! - the prediction is the label: a single string, or beside probabilities a single integer or truth
//!   value, or strings with one for each class, of which that of the greatest probability;
//! - without a label, it is the index of the greatest probability; without probabilities either, the
//!   first single value of any type, or else all of the first output.

use crate::call::ModelDescription;
use crate::lenient::EncodeError;
use crate::role::{Extent, Grid, check_rows, extent, find, is_float, is_text};
use wisp_tensor::{ElementType, NamedTensor, TensorSpec};

/// Where the members of an answer come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) probabilities: Option<String>,
    pub(crate) label: Option<String>,
    /// What is shown as it is, where there are neither probabilities nor a label.
    pub(crate) value: Option<String>,
}

/// The outputs of an answer that predictions are read from. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct Predictions<'a> {
    probabilities: Option<Grid<'a>>,
    label: Option<Grid<'a>>,
    value: Option<Value<'a>>,
}

/// An output that is shown as it is.
#[derive(Debug)]
enum Value<'a> {
    /// Its rows are a single element each.
    One(Grid<'a>),
    Several(&'a NamedTensor),
}

/// What is predicted for one row.
#[derive(Debug)]
pub(crate) enum Prediction<'a> {
    Element(ElementType, &'a [u8]),
    /// The position of the greatest probability.
    Class(usize),
    /// No class is the greatest where all scores are NaN, or where there are none.
    Unknown,
    /// The row's several elements of this output.
    Several(&'a NamedTensor),
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
    pub(crate) fn outputs(&self) -> Vec<String> {
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

    /// Where these outputs, of so many rows, have what the predictions are made of. Without a batch
    /// axis there is one row.
    pub(crate) fn find<'a>(
        &self,
        outputs: &'a [NamedTensor],
        rows: Option<u32>,
    ) -> Result<Predictions<'a>, EncodeError> {
        let grid = |name: &Option<String>| {
            let grid = name.as_ref().map(|name| Grid::new(outputs, name, rows));
            grid.transpose()
        };
        let probabilities = grid(&self.probabilities)?;
        let label = grid(&self.label)?;
        if let Some(label) = &label {
            label.check_labels(probabilities.as_ref().map_or(1, |scores| scores.width))?;
        }
        let value = match &self.value {
            Some(name) => {
                let output = find(outputs, name)?;
                check_rows(output, rows)?;
                let rows_of_output = rows.map_or(1, |rows| rows as usize);
                Some(match output.tensor.shape().elements() == rows_of_output {
                    true => Value::One(Grid::new(outputs, name, rows)?),
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
    /// The output that a row's prediction is the label in, where it has one.
    pub(crate) fn label(&self) -> Option<&'a NamedTensor> {
        let value = match &self.value {
            Some(Value::One(grid)) => Some(grid),
            _ => None,
        };
        self.label.as_ref().or(value).map(|grid| grid.output)
    }

    pub(crate) fn prediction(&self, row: usize) -> Prediction<'a> {
        let class = || self.probabilities.as_ref()?.greatest(row);
        let (grid, position) = match (&self.value, &self.label, &self.probabilities) {
            (Some(Value::Several(output)), _, _) => return Prediction::Several(output),
            (Some(Value::One(grid)), _, _) => (grid, Some(0)),
            (None, Some(label), _) if label.width == 1 => (label, Some(0)),
            (None, Some(label), _) => (label, class()),
            // A variable axis may turn out to be a single number.
            (None, None, Some(scores)) if scores.width == 1 => (scores, Some(0)),
            (None, None, _) => return class().map_or(Prediction::Unknown, Prediction::Class),
        };
        let element = position.and_then(|position| grid.row(row).get(position));
        element.map_or(Prediction::Unknown, |element| {
            Prediction::Element(grid.element_type(), element)
        })
    }

    /// The probabilities of the classes; a lone number is none, unless there is a label for it.
    pub(crate) fn probabilities(&self, row: usize) -> Option<(ElementType, &[&'a [u8]])> {
        let scores = self.probabilities.as_ref()?;
        let is_list = scores.width != 1 || self.label.is_some();
        is_list.then(|| (scores.element_type(), scores.row(row)))
    }
}
