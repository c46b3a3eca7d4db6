//! From the outputs of an inference to the predictions of its rows.

use crate::call::{InferResponse, ModelDescription};
use crate::grpc::EncodeError;
use crate::grpc::answer::{single, text};
use crate::grpc::message::prediction::predict_response::Prediction;
use crate::grpc::message::prediction::{BatchPredictResponse, PredictResponse};
use crate::predict::outcome::{self, Outcome, Predictions};

/// How the answer to one row is read. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub(super) outcome: Outcome,
}

/// How the answer to a batch is read. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchReply {
    pub(super) outcome: Outcome,
    /// For each row why it was refused, if it was; the others are the rows of the answer.
    pub(super) refusals: Vec<Option<String>>,
    /// How many those are.
    pub(super) rows: u32,
}

impl Reply {
    /// The prediction of the one row.
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
    /// The predictions of the valid rows, each in its place among the refusals of the others.
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

/// The message of one row's prediction, which is absent where JSON has `null`.
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
