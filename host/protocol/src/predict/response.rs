//! Encoding of an `InferResponse` as a prediction, or as one prediction for each row.

use super::error::PredictRowError;
use super::mapping::named::PredictionNames;
use super::mapping::{Prediction, PredictionMapping, Predictions};
use crate::call::{InferResponse, ModelDescription};
use crate::codec::{CodecError, ResponseEncoder};
use crate::encoded_response::EncodedResponse;
use crate::json_size;
use crate::relaxed_json::{EncodeError, OutputWriter, write_element, write_json};

/// The encoder for the response that one request asks for. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PredictEncoder {
    pub(super) mapping: PredictionMapping,
    pub(super) rows: ResponseRows,
    /// The maximum number of bytes of the names of all classes, if the client asks for names.
    pub(super) name_bytes: Option<usize>,
}

/// The rows of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ResponseRows {
    One,
    Batch {
        /// The number of rows that are computed.
        rows: u32,
        /// The errors of the other rows, with their positions among all rows, in order.
        row_errors: Vec<(usize, PredictRowError)>,
    },
}

impl ResponseEncoder for PredictEncoder {
    type Encoded = EncodedResponse;

    fn text_bytes(&self, response: &InferResponse) -> usize {
        json_size::text_bytes(response.outputs.iter())
    }

    fn encoded_bytes(&self, response: &InferResponse) -> usize {
        let values = json_size::encoded_bytes(response.outputs.iter());
        let Some(name_bytes) = self.name_bytes else {
            return values;
        };
        let rows = match self.rows {
            ResponseRows::One => 1,
            ResponseRows::Batch { rows, .. } => rows as usize,
        };
        let names =
            json_size::index_bytes(response).saturating_add(rows.saturating_mul(name_bytes));
        values.saturating_add(names)
    }

    /// Encodes `response`, with an object for each row of the request.
    fn encode(
        self,
        response: InferResponse,
        model: &ModelDescription,
    ) -> Result<EncodedResponse, CodecError> {
        let outputs = &response.outputs;
        let named = self.name_bytes.map(|_| model);
        let mut text = Vec::with_capacity(256);
        match &self.rows {
            ResponseRows::One => {
                let rows = (model.max_batch_size > 0).then_some(1);
                text.push(b'{');
                let predictions = self.mapping.find(outputs, rows)?;
                Cells::new(predictions, rows, named)?.write(&mut text, 0);
            }
            ResponseRows::Batch { rows, row_errors } => {
                let predictions = self.mapping.find(outputs, Some(*rows))?;
                let mut cells = Cells::new(predictions, Some(*rows), named)?;
                text.extend_from_slice(b"{\"predictions\":[");
                write_batch(&mut text, &mut cells, *rows, row_errors);
                text.push(b']');
            }
        }
        text.extend_from_slice(b",\"model_version\":");
        write_json(&mut text, &model.version.to_string());
        text.push(b'}');
        Ok(EncodedResponse::json(text))
    }
}

fn write_batch(
    text: &mut Vec<u8>,
    cells: &mut Cells,
    rows: u32,
    row_errors: &[(usize, PredictRowError)],
) {
    let all = rows as usize + row_errors.len();
    let mut row_errors = row_errors.iter().peekable();
    let mut row = 0;
    for position in 0..all {
        text.extend_from_slice(if position > 0 { b",{" } else { b"{" });
        match row_errors.next_if(|(invalid, _)| *invalid == position) {
            Some((_, error)) => {
                text.extend_from_slice(b"\"error\":");
                write_json(text, &error.to_string());
            }
            None => {
                cells.write(text, row);
                row += 1;
            }
        }
        text.push(b'}');
    }
}

/// The values that the members of a response are written from. Lifetime: one request.
struct Cells<'a> {
    predictions: Predictions<'a>,
    /// The output whose rows are written unchanged, and whether it has a batch axis.
    several: Option<(OutputWriter<'a>, bool)>,
    names: Option<PredictionNames<'a>>,
}

impl<'a> Cells<'a> {
    /// Returns the values of these predictions, with the names of the classes of a model.
    fn new(
        predictions: Predictions<'a>,
        rows: Option<u32>,
        named: Option<&'a ModelDescription>,
    ) -> Result<Cells<'a>, EncodeError> {
        let several = match predictions.prediction(0) {
            Prediction::Several(output) => Some((OutputWriter::new(output)?, rows.is_some())),
            _ => None,
        };
        Ok(Cells {
            names: named.map(|model| PredictionNames::new(&predictions, model)),
            predictions,
            several,
        })
    }

    /// Writes the members of the next row, without the braces.
    fn write(&mut self, text: &mut Vec<u8>, row: usize) {
        text.extend_from_slice(b"\"prediction\":");
        let names = self.names.as_ref();
        let name = names.and_then(|names| names.prediction(&self.predictions, row));
        match (self.predictions.prediction(row), &mut self.several) {
            _ if name.is_some() => write_json(text, &name),
            (_, Some((values, true))) => values.write_row(text),
            (_, Some((values, false))) => values.write_all(text),
            (Prediction::Element(element_type, element), None) => {
                write_element(text, element_type, element);
            }
            (Prediction::Class(class), None) => write_json(text, &class),
            (Prediction::Unknown | Prediction::Several(_), None) => {
                text.extend_from_slice(b"null");
            }
        }
        if let Some((element_type, scores)) = self.predictions.probabilities(row) {
            let names = names.and_then(|names| names.classes(&self.predictions, row));
            let [open, close] = if names.is_some() { *b"{}" } else { *b"[]" };
            text.extend_from_slice(b",\"probabilities\":");
            text.push(open);
            for (class, score) in scores.iter().enumerate() {
                if class > 0 {
                    text.push(b',');
                }
                if let Some(name) = names.as_ref().and_then(|names| names.name(class)) {
                    write_json(text, name);
                    text.push(b':');
                }
                write_element(text, element_type, score);
            }
            text.push(close);
        }
    }
}
