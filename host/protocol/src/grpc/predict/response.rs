//! Conversion of an inference's outputs to the predictions of its rows.

use crate::call::{InferResponse, ModelDescription};
use crate::codec::{CodecError, ResponseEncoder};
use crate::grpc::message::prediction::predict_response::Prediction;
use crate::grpc::message::prediction::{BatchPredictResponse, PredictResponse};
use crate::grpc::message_size;
use crate::grpc::value::{f32_value, string};
use crate::predict::mapping::named::PredictionNames;
use crate::predict::mapping::{self, PredictionMapping, Predictions};
use crate::relaxed_json::EncodeError;

/// The encoder for the response to one row. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PredictRowEncoder {
    pub(super) mapping: PredictionMapping,
    /// The maximum number of bytes of the names of all classes, if the client asks for names.
    pub(super) name_bytes: Option<usize>,
}

/// The encoder for the response to a batch. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PredictBatchEncoder {
    pub(super) mapping: PredictionMapping,
    /// The error of each row that was refused; `None` for the rows of the inference.
    pub(super) row_errors: Vec<Option<String>>,
    /// The number of rows in the inference.
    pub(super) rows: u32,
    /// The maximum number of bytes of the names of all classes, if the client asks for names.
    pub(super) name_bytes: Option<usize>,
}

impl ResponseEncoder for PredictRowEncoder {
    type Encoded = PredictResponse;

    fn text_bytes(&self, response: &InferResponse) -> usize {
        response.content_bytes()
    }

    fn encoded_bytes(&self, response: &InferResponse) -> usize {
        let names = self.name_bytes.unwrap_or_default();
        message_size::element_message_bytes(response).saturating_add(names)
    }

    fn encode(
        self,
        response: InferResponse,
        model: &ModelDescription,
    ) -> Result<PredictResponse, CodecError> {
        let rows = (model.max_batch_size > 0).then_some(1);
        let predictions = self.mapping.find(&response.outputs, rows)?;
        let names = self
            .name_bytes
            .map(|_| PredictionNames::new(&predictions, model));
        Ok(encode_row((&predictions, names.as_ref()), 0, model)?)
    }
}

impl ResponseEncoder for PredictBatchEncoder {
    type Encoded = BatchPredictResponse;

    fn text_bytes(&self, response: &InferResponse) -> usize {
        response.content_bytes()
    }

    fn encoded_bytes(&self, response: &InferResponse) -> usize {
        let names = self.name_bytes.unwrap_or_default();
        let names = names.saturating_mul(self.rows as usize);
        message_size::element_message_bytes(response).saturating_add(names)
    }

    /// Encodes the predictions of the valid rows, in order with the errors of the others.
    fn encode(
        self,
        response: InferResponse,
        model: &ModelDescription,
    ) -> Result<BatchPredictResponse, CodecError> {
        let predictions = self.mapping.find(&response.outputs, Some(self.rows))?;
        let names = self
            .name_bytes
            .map(|_| PredictionNames::new(&predictions, model));
        let named = (&predictions, names.as_ref());
        let mut rows = 0..;
        let responses = self.row_errors.iter().map(|error| match error {
            Some(error) => Ok(PredictResponse {
                error: error.clone(),
                ..PredictResponse::default()
            }),
            None => encode_row(named, rows.next().unwrap_or_default(), model),
        });
        Ok(BatchPredictResponse {
            responses: responses.collect::<Result<_, EncodeError>>()?,
        })
    }
}

/// Encodes the prediction of one row, with the names of classes if there are any; `prediction` is absent where
/// JSON has `null`.
fn encode_row(
    (predictions, names): (&Predictions<'_>, Option<&PredictionNames<'_>>),
    row: usize,
    model: &ModelDescription,
) -> Result<PredictResponse, EncodeError> {
    let name = names.and_then(|names| names.prediction(predictions, row));
    let prediction = match predictions.prediction(row) {
        _ if name.is_some() => name.map(Prediction::Label),
        mapping::Prediction::Element(element_type, element) => {
            match (f32_value(element_type, element), predictions.label()) {
                (Some(number), _) => Some(Prediction::Number(number)),
                (None, Some(output)) => Some(Prediction::Label(string(output, element)?)),
                (None, None) => None,
            }
        }
        mapping::Prediction::Class(class) => Some(Prediction::Number(class as f32)),
        mapping::Prediction::Unknown => None,
        mapping::Prediction::Several(output) => {
            let output = output.name.clone();
            return Err(EncodeError::SeveralValues { output });
        }
    };
    let (element_type, scores) = predictions.probabilities(row).unzip();
    let names = scores.and(names);
    let names = names.and_then(|names| names.classes(predictions, row));
    let class_names = names.iter().flat_map(|names| names.iter());
    let scores = scores.unwrap_or_default().iter();
    let probabilities = scores.filter_map(|score| f32_value(element_type?, score));
    Ok(PredictResponse {
        prediction,
        probabilities: probabilities.collect(),
        model_version: model.version.to_string(),
        error: String::new(),
        class_names: class_names.map(str::to_owned).collect(),
    })
}
