//! Encoding of an `InferResponse` as a prediction, or as one prediction for each row.

use super::error::PredictRowError;
use super::mapping::{Prediction, PredictionMapping, Predictions};
use crate::call::{InferResponse, ModelDescription};
use crate::codec::{CodecError, ResponseEncoder};
use crate::encoded_response::EncodedResponse;
use crate::json_size;
use crate::relaxed_json::{EncodeError, OutputWriter, write_element, write_json};
use wisp_tensor::NamedTensor;

/// The encoder for the response that one request asks for. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PredictEncoder {
    pub(super) mapping: PredictionMapping,
    pub(super) rows: ResponseRows,
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
        json_size::encoded_bytes(response.outputs.iter())
    }

    /// Encodes `response`, with an object for each row of the request.
    fn encode(
        self,
        response: InferResponse,
        model: &ModelDescription,
    ) -> Result<EncodedResponse, CodecError> {
        let outputs = &response.outputs;
        let mut text = Vec::with_capacity(256);
        match &self.rows {
            ResponseRows::One => {
                let rows = (model.max_batch_size > 0).then_some(1);
                text.push(b'{');
                Cells::new(&self.mapping, outputs, rows)?.write(&mut text, 0);
            }
            ResponseRows::Batch { rows, row_errors } => {
                let mut cells = Cells::new(&self.mapping, outputs, Some(*rows))?;
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
}

impl<'a> Cells<'a> {
    fn new(
        mapping: &PredictionMapping,
        outputs: &'a [NamedTensor],
        rows: Option<u32>,
    ) -> Result<Cells<'a>, EncodeError> {
        let predictions = mapping.find(outputs, rows)?;
        let several = match predictions.prediction(0) {
            Prediction::Several(output) => Some((OutputWriter::new(output)?, rows.is_some())),
            _ => None,
        };
        Ok(Cells {
            predictions,
            several,
        })
    }

    /// Writes the members of the next row, without the braces.
    fn write(&mut self, text: &mut Vec<u8>, row: usize) {
        text.extend_from_slice(b"\"prediction\":");
        match (self.predictions.prediction(row), &mut self.several) {
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
            text.extend_from_slice(b",\"probabilities\":[");
            for (position, score) in scores.iter().enumerate() {
                if position > 0 {
                    text.push(b',');
                }
                write_element(text, element_type, score);
            }
            text.push(b']');
        }
    }
}
