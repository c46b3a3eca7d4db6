//! Encoding of an `InferResponse` as the body of an HTTP response.

use super::classes::{Classes, Classified, Number};
use crate::call::{InferResponse, ModelDescription};
use crate::codec::{CodecError, ResponseEncoder};
use crate::encoded_response::EncodedResponse;
use crate::json_size;
use crate::output_semantics::check_rows;
use crate::relaxed_json::{EncodeError, OutputWriter, write_element, write_json, write_string};
use wisp_tensor::NamedTensor;

/// The encoder for the response that one request asks for. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TfsEncoder {
    pub(super) form: ResponseForm,
}

/// The form of a response, with the number of rows in the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ResponseForm {
    Rows(u32),
    Columns,
    Classes(Classes, u32),
    Numbers(Number, u32),
}

impl ResponseForm {
    /// Returns the outputs that the response contains; empty means all.
    pub(super) fn outputs(&self) -> Vec<String> {
        match self {
            ResponseForm::Rows(_) | ResponseForm::Columns => Vec::new(),
            ResponseForm::Classes(classes, _) => classes.outputs(),
            ResponseForm::Numbers(number, _) => number.outputs(),
        }
    }
}

impl ResponseEncoder for TfsEncoder {
    type Encoded = EncodedResponse;

    fn text_bytes(&self, response: &InferResponse) -> usize {
        json_size::text_bytes(response.outputs.iter())
    }

    fn encoded_bytes(&self, response: &InferResponse) -> usize {
        let names = match &self.form {
            ResponseForm::Classes(classes, rows) => classes.name_bytes(*rows),
            _ => 0,
        };
        json_size::encoded_bytes(response.outputs.iter()).saturating_add(names)
    }

    fn encode(
        self,
        response: InferResponse,
        model: &ModelDescription,
    ) -> Result<EncodedResponse, CodecError> {
        let outputs = &response.outputs;
        let content = response.content_bytes();
        let mut text = Vec::with_capacity(content.saturating_mul(3).saturating_add(256));
        match &self.form {
            ResponseForm::Rows(rows) => write_rows(&mut text, outputs, *rows)?,
            ResponseForm::Columns => write_columns(&mut text, outputs)?,
            ResponseForm::Classes(classes, rows) => {
                write_classes(&mut text, &classes.find(outputs, model, *rows)?, *rows)?
            }
            ResponseForm::Numbers(number, rows) => {
                write_numbers(&mut text, outputs, number, *rows)?
            }
        }
        text.push(b'}');
        Ok(EncodedResponse::json(text))
    }
}

fn write_rows(text: &mut Vec<u8>, outputs: &[NamedTensor], rows: u32) -> Result<(), EncodeError> {
    for output in outputs {
        check_rows(output, Some(rows))?;
    }
    let values = outputs.iter().map(OutputWriter::new);
    let mut values: Vec<OutputWriter> = values.collect::<Result<_, _>>()?;
    text.extend_from_slice(b"{\"predictions\":");
    list(text, rows, |text, _| {
        by_name(text, outputs, |text, index| values[index].write_row(text))
    })
}

fn write_columns(text: &mut Vec<u8>, outputs: &[NamedTensor]) -> Result<(), EncodeError> {
    let values = outputs.iter().map(OutputWriter::new);
    let mut values: Vec<OutputWriter> = values.collect::<Result<_, _>>()?;
    text.extend_from_slice(b"{\"outputs\":");
    by_name(text, outputs, |text, index| values[index].write_all(text))
}

fn write_classes(
    text: &mut Vec<u8>,
    classified: &Classified<'_>,
    rows: u32,
) -> Result<(), EncodeError> {
    text.extend_from_slice(b"{\"results\":");
    list(text, rows, |text, row| {
        text.push(b'[');
        for (position, (label, score)) in classified.row(row).enumerate() {
            text.extend_from_slice(if position > 0 { b",[" } else { b"[" });
            write_string(text, &label);
            text.push(b',');
            write_element(text, classified.scores.element_type(), score);
            text.push(b']');
        }
        text.push(b']');
        Ok(())
    })
}

fn write_numbers(
    text: &mut Vec<u8>,
    outputs: &[NamedTensor],
    number: &Number,
    rows: u32,
) -> Result<(), EncodeError> {
    let numbers = number.find(outputs, rows)?;
    text.extend_from_slice(b"{\"results\":");
    list(text, rows, |text, row| {
        for element in numbers.row(row) {
            write_element(text, numbers.element_type(), element);
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

/// Writes a single output bare, and several outputs as an object.
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
