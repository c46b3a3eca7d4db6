//! From the outputs of an inference to the predictions of its rows.

use super::request::Layout;
use crate::call::{InferResponse, ModelDescription};
use crate::grpc::EncodeError;
use crate::grpc::message::prediction::predict_response::Prediction;
use crate::grpc::message::prediction::{BatchPredictResponse, PredictResponse};
use crate::grpc::row::{is_float, length, number, texts};
use wisp_tensor::{ElementType, NamedTensor};

/// How the answer to one row is read. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    pub(super) layout: Layout,
}

/// How the answer to a batch is read. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchReply {
    /// For each row why it was refused, if it was; the others are the rows of the answer.
    pub(super) refusals: Vec<Option<String>>,
}

impl Reply {
    /// The prediction of the one row.
    pub fn encode(
        &self,
        response: &InferResponse,
        model: &ModelDescription,
    ) -> Result<PredictResponse, EncodeError> {
        let per_row = |output: &NamedTensor| match self.layout {
            Layout::Rows => length(output, 1),
            Layout::Whole => Ok(output.tensor.shape().elements()),
        };
        Predictions::new(response, per_row)?.row(0, model)
    }
}

impl BatchReply {
    /// Why the first row that was refused was.
    pub(in crate::grpc) fn first_refusal(&self) -> Option<&str> {
        self.refusals.iter().flatten().next().map(String::as_str)
    }

    /// The predictions of the valid rows, each in its place among the refusals of the others.
    ///
    /// Without a valid row there has been no inference, and `response` is `None`.
    pub fn encode(
        &self,
        response: Option<&InferResponse>,
        model: &ModelDescription,
    ) -> Result<BatchPredictResponse, EncodeError> {
        let valid = self.refusals.iter().filter(|refusal| refusal.is_none());
        let rows = valid.count();
        let predictions = match response {
            Some(response) => Some(Predictions::new(response, |output| length(output, rows))?),
            None => None,
        };
        let mut next = 0;
        let responses = self.refusals.iter().map(|refusal| match refusal {
            Some(error) => Ok(PredictResponse {
                error: error.clone(),
                ..PredictResponse::default()
            }),
            None => {
                let row = next;
                next += 1;
                let predictions = predictions.as_ref().ok_or(EncodeError::NoPrediction)?;
                predictions.row(row, model)
            }
        });
        Ok(BatchPredictResponse {
            responses: responses.collect::<Result<_, _>>()?,
        })
    }
}

/// The outputs that predictions are read from.
struct Predictions<'a> {
    /// The output with one element per row, and those elements if they are text.
    single: Option<(&'a NamedTensor, Vec<&'a str>)>,
    /// The output with several numbers per row, and how many.
    several: Option<(&'a NamedTensor, usize)>,
}

impl<'a> Predictions<'a> {
    fn new(
        response: &'a InferResponse,
        per_row: impl Fn(&NamedTensor) -> Result<usize, EncodeError>,
    ) -> Result<Predictions<'a>, EncodeError> {
        let (mut label, mut value, mut several) = (None, None, None);
        for output in &response.outputs {
            let element_type = output.tensor.element_type();
            match per_row(output)? {
                1 if is_float(element_type) => value = value.or(Some(output)),
                1 if is_label(element_type) => label = label.or(Some(output)),
                length if length > 1 && is_float(element_type) => {
                    several = several.or(Some((output, length)));
                }
                _ => {}
            }
        }
        let single = match label.or(value) {
            Some(output) => Some((output, texts(output)?)),
            None => None,
        };
        match (&single, several) {
            (None, None) => Err(EncodeError::NoPrediction),
            _ => Ok(Predictions { single, several }),
        }
    }

    fn row(&self, row: usize, model: &ModelDescription) -> Result<PredictResponse, EncodeError> {
        let mut probabilities = Vec::new();
        if let Some((output, length)) = self.several {
            let positions = row * length..(row + 1) * length;
            probabilities.extend(positions.filter_map(|position| number(&output.tensor, position)));
        }
        let prediction = match &self.single {
            Some((output, texts)) => match output.tensor.element_type() {
                ElementType::Bytes => texts
                    .get(row)
                    .map(|&text| Prediction::Label(text.to_owned())),
                _ => number(&output.tensor, row).map(Prediction::Number),
            },
            None => highest(&probabilities).map(Prediction::Number),
        };
        Ok(PredictResponse {
            prediction: Some(prediction.ok_or(EncodeError::NoPrediction)?),
            probabilities,
            model_version: model.version.to_string(),
            error: String::new(),
        })
    }
}

/// Whether an element of this type names a class by itself.
fn is_label(element_type: ElementType) -> bool {
    match element_type {
        ElementType::Fp16 | ElementType::Bf16 | ElementType::Fp32 | ElementType::Fp64 => false,
        ElementType::Bool
        | ElementType::Uint8
        | ElementType::Uint16
        | ElementType::Uint32
        | ElementType::Uint64
        | ElementType::Int8
        | ElementType::Int16
        | ElementType::Int32
        | ElementType::Int64
        | ElementType::Bytes => true,
    }
}

/// The position of the highest number, the first of equal ones.
fn highest(numbers: &[f32]) -> Option<f32> {
    let first = (0, *numbers.first()?);
    let (position, _) = numbers
        .iter()
        .enumerate()
        .fold(first, |best, (position, &number)| match number > best.1 {
            true => (position, number),
            false => best,
        });
    Some(position as f32)
}
