//! From the answer of an inference to a prediction, or to one for each row.

use super::error::Refusal;
use super::outcome::Outcome;
use crate::call::{InferResponse, ModelDescription};
use crate::lenient::{EncodeError, Values, write_element, write_json};
use crate::reply::EncodedReply;
use crate::role::{Grid, check_rows, find};
use wisp_tensor::NamedTensor;

/// What the client of one request wants to see of its answer. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub(super) outcome: Outcome,
    pub(super) answer: Answer,
}

/// How many rows were asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    One,
    Batch {
        /// The rows that are computed.
        rows: u32,
        /// The rows that are not, with their places among all rows, in order.
        refusals: Vec<(usize, Refusal)>,
    },
}

impl Reply {
    /// The bytes of `response`, an object for each row of the request.
    pub fn encode(
        &self,
        response: InferResponse,
        model: &ModelDescription,
    ) -> Result<EncodedReply, EncodeError> {
        let outputs = &response.outputs;
        let mut text = Vec::with_capacity(256);
        match &self.answer {
            Answer::One => {
                let rows = (model.max_batch_size > 0).then_some(1);
                text.push(b'{');
                Cells::new(&self.outcome, outputs, rows)?.write(&mut text, 0);
            }
            Answer::Batch { rows, refusals } => {
                let mut cells = Cells::new(&self.outcome, outputs, Some(*rows))?;
                text.extend_from_slice(b"{\"predictions\":[");
                write_batch(&mut text, &mut cells, *rows, refusals);
                text.push(b']');
            }
        }
        text.extend_from_slice(b",\"model_version\":");
        write_json(&mut text, &model.version.to_string());
        text.push(b'}');
        Ok(EncodedReply::json(text))
    }
}

fn write_batch(text: &mut Vec<u8>, cells: &mut Cells, rows: u32, refusals: &[(usize, Refusal)]) {
    let all = rows as usize + refusals.len();
    let mut refusals = refusals.iter().peekable();
    let mut row = 0;
    for position in 0..all {
        text.extend_from_slice(if position > 0 { b",{" } else { b"{" });
        match refusals.next_if(|(refused, _)| *refused == position) {
            Some((_, refusal)) => {
                text.extend_from_slice(b"\"error\":");
                write_json(text, &refusal.to_string());
            }
            None => {
                cells.write(text, row);
                row += 1;
            }
        }
        text.push(b'}');
    }
}

/// The outputs that the members of an answer are written from. Lifetime: one request.
struct Cells<'a> {
    probabilities: Option<Grid<'a>>,
    label: Option<Grid<'a>>,
    value: Option<Whole<'a>>,
}

/// An output that is shown as it is.
struct Whole<'a> {
    values: Values<'a>,
    is_one: bool,
    has_rows: bool,
}

impl<'a> Cells<'a> {
    fn new(
        outcome: &Outcome,
        outputs: &'a [NamedTensor],
        rows: Option<u32>,
    ) -> Result<Cells<'a>, EncodeError> {
        let grid = |name: &String| Grid::new(outputs, name, rows);
        let probabilities = outcome.probabilities.as_ref().map(grid).transpose()?;
        let label = outcome.label.as_ref().map(grid).transpose()?;
        let value = match &outcome.value {
            Some(name) => Some(Whole::new(find(outputs, name)?, rows)?),
            None => None,
        };
        if let (Some(name), Some(grid)) = (&outcome.label, &label) {
            let classes = probabilities.as_ref().map_or(1, |scores| scores.width);
            if grid.width != 1 && grid.width != classes {
                return Err(EncodeError::Entries {
                    output: name.clone(),
                    actual: grid.width,
                    expected: classes,
                });
            }
        }
        if probabilities.is_none() && label.is_none() && value.is_none() {
            return Err(EncodeError::NoOutput);
        }
        Ok(Cells {
            probabilities,
            label,
            value,
        })
    }

    /// Writes the members of the next row, without the braces.
    fn write(&mut self, text: &mut Vec<u8>, row: usize) {
        text.extend_from_slice(b"\"prediction\":");
        self.write_prediction(text, row);
        // A variable axis may turn out to be a single number, which is no list of probabilities.
        if let Some(scores) = &self.probabilities
            && (scores.width != 1 || self.label.is_some())
        {
            text.extend_from_slice(b",\"probabilities\":[");
            for (position, score) in scores.row(row).iter().enumerate() {
                if position > 0 {
                    text.push(b',');
                }
                write_element(text, scores.element_type, score);
            }
            text.push(b']');
        }
    }

    fn write_prediction(&mut self, text: &mut Vec<u8>, row: usize) {
        if let Some(whole) = &mut self.value {
            return whole.write(text);
        }
        let greatest = self.probabilities.as_ref().map(|grid| grid.greatest(row));
        let element = match (&self.label, &self.probabilities) {
            (Some(label), _) => {
                let class = match label.width {
                    1 => Some(0),
                    _ => greatest.flatten(),
                };
                class.and_then(|class| Some((label, label.row(row).get(class)?)))
            }
            (None, Some(scores)) if scores.width == 1 => {
                scores.row(row).first().map(|score| (scores, score))
            }
            (None, _) => None,
        };
        match (element, greatest) {
            (Some((grid, element)), _) => write_element(text, grid.element_type, element),
            (None, Some(Some(class))) if self.label.is_none() => write_json(text, &class),
            // No class is the greatest where all scores are NaN, or where there are none.
            _ => text.extend_from_slice(b"null"),
        }
    }
}

impl<'a> Whole<'a> {
    fn new(output: &'a NamedTensor, rows: Option<u32>) -> Result<Whole<'a>, EncodeError> {
        check_rows(output, rows)?;
        let shape = output.tensor.shape();
        let rows_of_output = rows.map_or(1, |rows| rows as usize);
        Ok(Whole {
            values: Values::new(output)?,
            is_one: shape.elements() == rows_of_output,
            has_rows: rows.is_some(),
        })
    }

    fn write(&mut self, text: &mut Vec<u8>) {
        match (self.is_one, self.has_rows) {
            (true, _) => self.values.write_one(text),
            (false, true) => self.values.write_row(text),
            (false, false) => self.values.write_all(text),
        }
    }
}
