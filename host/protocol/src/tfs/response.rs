//! From the answer of an inference to the bytes of a response.

use super::classes::Classes;
use crate::call::{InferResponse, ModelDescription};
use crate::lenient::{EncodeError, Values, write_element, write_json, write_text};
use crate::reply::EncodedReply;
use crate::role::{Grid, check_rows};
use wisp_tensor::NamedTensor;

/// What the client of one request wants to see of its answer. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub(super) shown: Shown,
}

/// The form of an answer, with the number of rows that were asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shown {
    Rows(u32),
    Columns,
    Classes(Classes, u32),
    /// The output that is a number for each row.
    Numbers(String, u32),
}

impl Shown {
    /// The outputs that the answer shows; empty means all.
    pub(super) fn outputs(&self) -> Vec<String> {
        match self {
            Shown::Rows(_) | Shown::Columns => Vec::new(),
            Shown::Classes(Classes { labels, scores }, _) => {
                labels.iter().chain([scores]).cloned().collect()
            }
            Shown::Numbers(output, _) => vec![output.clone()],
        }
    }
}

impl Reply {
    /// The bytes of `response`, its outputs in their order.
    pub fn encode(
        &self,
        response: InferResponse,
        _model: &ModelDescription,
    ) -> Result<EncodedReply, EncodeError> {
        let outputs = &response.outputs;
        let content: usize = outputs.iter().map(|o| o.tensor.content().len()).sum();
        let mut text = Vec::with_capacity(content.saturating_mul(3).saturating_add(256));
        match &self.shown {
            Shown::Rows(rows) => write_rows(&mut text, outputs, *rows)?,
            Shown::Columns => write_columns(&mut text, outputs)?,
            Shown::Classes(classes, rows) => write_classes(&mut text, outputs, classes, *rows)?,
            Shown::Numbers(output, rows) => write_numbers(&mut text, outputs, output, *rows)?,
        }
        text.push(b'}');
        Ok(EncodedReply::json(text))
    }
}

fn write_rows(text: &mut Vec<u8>, outputs: &[NamedTensor], rows: u32) -> Result<(), EncodeError> {
    for output in outputs {
        check_rows(output, Some(rows))?;
    }
    let values = outputs.iter().map(Values::new);
    let mut values: Vec<Values> = values.collect::<Result<_, _>>()?;
    text.extend_from_slice(b"{\"predictions\":");
    list(text, rows, |text, _| {
        by_name(text, outputs, |text, index| values[index].write_row(text))
    })
}

fn write_columns(text: &mut Vec<u8>, outputs: &[NamedTensor]) -> Result<(), EncodeError> {
    let values = outputs.iter().map(Values::new);
    let mut values: Vec<Values> = values.collect::<Result<_, _>>()?;
    text.extend_from_slice(b"{\"outputs\":");
    by_name(text, outputs, |text, index| values[index].write_all(text))
}

fn write_classes(
    text: &mut Vec<u8>,
    outputs: &[NamedTensor],
    Classes { labels, scores }: &Classes,
    rows: u32,
) -> Result<(), EncodeError> {
    let scores = Grid::new(outputs, scores, Some(rows))?;
    let labels = match labels {
        Some(name) => {
            let labels = Grid::new(outputs, name, Some(rows))?;
            if labels.width != scores.width && labels.width != 1 {
                return Err(EncodeError::Entries {
                    output: name.clone(),
                    actual: labels.width,
                    expected: scores.width,
                });
            }
            Some(labels)
        }
        None => None,
    };
    text.extend_from_slice(b"{\"results\":");
    list(text, rows, |text, row| {
        let scores_of_row = scores.row(row);
        let pair = |text: &mut Vec<u8>, class: usize, label: Option<&[u8]>| {
            text.push(b'[');
            match label {
                Some(label) => write_text(text, label),
                None => write_json(text, &class.to_string()),
            }
            text.push(b',');
            write_element(text, scores.element_type, scores_of_row[class]);
            text.push(b']');
        };
        text.push(b'[');
        match &labels {
            // One label among many scores names the best of them: the others have no name.
            Some(labels) if labels.width != scores.width => {
                let best = scores.greatest(row).or((scores.width > 0).then_some(0));
                if let (Some(best), Some(label)) = (best, labels.row(row).first()) {
                    pair(text, best, Some(label));
                }
            }
            labels => {
                for class in 0..scores.width {
                    if class > 0 {
                        text.push(b',');
                    }
                    pair(
                        text,
                        class,
                        labels.as_ref().map(|grid| grid.row(row)[class]),
                    );
                }
            }
        }
        text.push(b']');
        Ok(())
    })
}

fn write_numbers(
    text: &mut Vec<u8>,
    outputs: &[NamedTensor],
    output: &str,
    rows: u32,
) -> Result<(), EncodeError> {
    let numbers = Grid::new(outputs, output, Some(rows))?;
    if numbers.width != 1 {
        return Err(EncodeError::Entries {
            output: output.to_owned(),
            actual: numbers.width,
            expected: 1,
        });
    }
    text.extend_from_slice(b"{\"results\":");
    list(text, rows, |text, row| {
        for element in numbers.row(row) {
            write_element(text, numbers.element_type, element);
        }
        Ok(())
    })
}

fn list(
    text: &mut Vec<u8>,
    rows: u32,
    mut write: impl FnMut(&mut Vec<u8>, usize) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    text.push(b'[');
    for row in 0..rows as usize {
        if row > 0 {
            text.push(b',');
        }
        write(text, row)?;
    }
    text.push(b']');
    Ok(())
}

/// One output bare, several as an object.
fn by_name(
    text: &mut Vec<u8>,
    outputs: &[NamedTensor],
    mut write: impl FnMut(&mut Vec<u8>, usize),
) -> Result<(), EncodeError> {
    match outputs {
        [] => return Err(EncodeError::NoOutput),
        [_] => write(text, 0),
        several => {
            for (index, output) in several.iter().enumerate() {
                text.push(if index == 0 { b'{' } else { b',' });
                write_json(text, &output.name);
                text.push(b':');
                write(text, index);
            }
            text.push(b'}');
        }
    }
    Ok(())
}
