//! Conversion of an inference's outputs to the predictions of its rows.

use crate::call::{InferResponse, ModelDescription};
use crate::grpc::EncodeError;
use crate::grpc::answer::{single, text};
use crate::grpc::message::prediction::predict_response::Prediction;
use crate::grpc::message::prediction::{BatchPredictResponse, PredictResponse};
use crate::predict::outcome::{self, Outcome, Predictions};

/// The encoder for the response to one row. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub(super) outcome: Outcome,
}

/// The encoder for the response to a batch. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchReply {
    pub(super) outcome: Outcome,
    /// The error of each row that was refused; `None` for the rows of the inference.
    pub(super) refusals: Vec<Option<String>>,
    /// The number of rows in the inference.
    pub(super) rows: u32,
}

impl Reply {
    /// Encodes the prediction of the only row.
    pub fn encode(
        &self,
        response: &InferResponse,
        model: &ModelDescription,
    ) -> Result<PredictResponse, EncodeError> {
        let rows = (model.max_batch_size > 0).then_some(1);
        encode_row(&self.outcome.find(&response.outputs, rows)?, 0, model)
    }
}

impl BatchReply {
    /// Encodes the predictions of the valid rows, in order with the errors of the others.
    pub fn encode(
        &self,
        response: &InferResponse,
        model: &ModelDescription,
    ) -> Result<BatchPredictResponse, EncodeError> {
        let predictions = self.outcome.find(&response.outputs, Some(self.rows))?;
        let mut rows = 0..;
        let responses = self.refusals.iter().map(|refusal| match refusal {
            Some(error) => Ok(PredictResponse {
                error: error.clone(),
                ..PredictResponse::default()
            }),
            None => encode_row(&predictions, rows.next().unwrap_or_default(), model),
        });
        Ok(BatchPredictResponse {
            responses: responses.collect::<Result<_, _>>()?,
        })
    }
}

/// Encodes the prediction of one row; `prediction` is absent where JSON has `null`.
fn encode_row(
    predictions: &Predictions,
    row: usize,
    model: &ModelDescription,
) -> Result<PredictResponse, EncodeError> {
    let prediction = match predictions.prediction(row) {
        outcome::Prediction::Element(element_type, element) => {
            match (single(element_type, element), predictions.label()) {
                (Some(number), _) => Some(Prediction::Number(number)),
                (None, Some(output)) => Some(Prediction::Label(text(output, element)?)),
                (None, None) => None,
            }
        }
        outcome::Prediction::Class(class) => Some(Prediction::Number(class as f32)),
        outcome::Prediction::Unknown => None,
        outcome::Prediction::Several(output) => {
            let output = output.name.clone();
            return Err(EncodeError::SeveralValues { output });
        }
    };
    let (element_type, scores) = predictions.probabilities(row).unzip();
    let scores = scores.unwrap_or_default().iter();
    let probabilities = scores.filter_map(|score| single(element_type?, score));
    Ok(PredictResponse {
        prediction,
        probabilities: probabilities.collect(),
        model_version: model.version.to_string(),
        error: String::new(),
    })
}
