//! Classes and numbers from outputs: `Classify` and `Regress`.
//!
//! `tfs::classes` selects the outputs, as for `:classify` and `:regress` over REST.

use super::error::DecodeError;
use super::example;
use super::model_spec::{check_signature, model_spec};
use crate::call::{InferRequest, InferResponse, ModelDescription, Scheduling};
use crate::codec::{CodecError, RequestDecoder, ResponseEncoder};
use crate::grpc::message::tensorflow::serving::{
    Class, ClassificationRequest, ClassificationResponse, ClassificationResult, Classifications,
    Regression, RegressionRequest, RegressionResponse, RegressionResult,
};
use crate::grpc::message_size;
use crate::grpc::value::{score, string};
use crate::relaxed_json::EncodeError;
use crate::tfs::classes::{Classes, Classified, Number};
use prost::Message;

/// The decoder of `Classify`. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassifyDecoder {
    /// The number of bytes that the message's repeated fields may be widened or repeated to.
    pub limit: usize,
}

/// The decoder of `Regress`. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegressDecoder {
    /// The number of bytes that the message's repeated fields may be widened or repeated to.
    pub limit: usize,
}

/// The encoder for classes. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassifyEncoder {
    classes: Classes,
    examples: u32,
}

/// The encoder for numbers. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegressEncoder {
    number: Number,
    examples: u32,
}

impl RequestDecoder for ClassifyDecoder {
    type Source = ClassificationRequest;
    type Encoder = ClassifyEncoder;

    fn text_bytes(&self, message: &ClassificationRequest) -> usize {
        message.encoded_len()
    }

    /// Counts a context that is repeated for each example, which the size of the message does not
    /// include.
    fn decoded_bytes(&self, message: &ClassificationRequest) -> usize {
        example::repeated_bytes(message.input.as_ref(), self.limit)
    }

    fn decode(
        self,
        message: ClassificationRequest,
        model: &ModelDescription,
    ) -> Result<(InferRequest, ClassifyEncoder), CodecError> {
        let ClassificationRequest { model_spec, input } = message;
        check_signature(model_spec.as_ref())?;
        let classes = Classes::new(model).map_err(DecodeError::from)?;
        let (inputs, examples) = example::decode(input, model, self.limit)?;
        let request = InferRequest {
            inputs,
            parameters: Vec::new(),
            outputs: classes.outputs(),
            scheduling: Scheduling::default(),
        };
        Ok((request, ClassifyEncoder { classes, examples }))
    }
}

impl RequestDecoder for RegressDecoder {
    type Source = RegressionRequest;
    type Encoder = RegressEncoder;

    fn text_bytes(&self, message: &RegressionRequest) -> usize {
        message.encoded_len()
    }

    /// Counts a context that is repeated for each example, which the size of the message does not
    /// include.
    fn decoded_bytes(&self, message: &RegressionRequest) -> usize {
        example::repeated_bytes(message.input.as_ref(), self.limit)
    }

    fn decode(
        self,
        message: RegressionRequest,
        model: &ModelDescription,
    ) -> Result<(InferRequest, RegressEncoder), CodecError> {
        let RegressionRequest { model_spec, input } = message;
        check_signature(model_spec.as_ref())?;
        let number = Number::new(model).map_err(DecodeError::from)?;
        let (inputs, examples) = example::decode(input, model, self.limit)?;
        let request = InferRequest {
            inputs,
            parameters: Vec::new(),
            outputs: number.outputs(),
            scheduling: Scheduling::default(),
        };
        Ok((request, RegressEncoder { number, examples }))
    }
}

impl ResponseEncoder for ClassifyEncoder {
    type Encoded = ClassificationResponse;

    fn text_bytes(&self, response: &InferResponse) -> usize {
        response.content_bytes()
    }

    fn encoded_bytes(&self, response: &InferResponse) -> usize {
        let names = self.classes.name_bytes(self.examples);
        message_size::element_message_bytes(response).saturating_add(names)
    }

    /// Encodes the classes of each example.
    fn encode(
        self,
        response: InferResponse,
        model: &ModelDescription,
    ) -> Result<ClassificationResponse, CodecError> {
        let classified = self.classes.find(&response.outputs, model, self.examples)?;
        Ok(ClassificationResponse {
            model_spec: Some(model_spec(model)),
            result: Some(classifications(&classified, self.examples)?),
        })
    }
}

impl ResponseEncoder for RegressEncoder {
    type Encoded = RegressionResponse;

    fn text_bytes(&self, response: &InferResponse) -> usize {
        response.content_bytes()
    }

    fn encoded_bytes(&self, response: &InferResponse) -> usize {
        message_size::element_message_bytes(response)
    }

    /// Encodes the number of each example.
    fn encode(
        self,
        response: InferResponse,
        model: &ModelDescription,
    ) -> Result<RegressionResponse, CodecError> {
        Ok(RegressionResponse {
            model_spec: Some(model_spec(model)),
            result: Some(regressions(&self.number, &response, self.examples)?),
        })
    }
}

/// Converts the classes of `examples` examples.
pub(super) fn classifications(
    classified: &Classified<'_>,
    examples: u32,
) -> Result<ClassificationResult, EncodeError> {
    let (labels, scores) = (classified.labels(), classified.scores.output);
    let rows = (0..examples as usize).map(|row| {
        let classes = classified.row(row).map(|(label, element)| {
            Ok(Class {
                label: string(labels, &label)?,
                score: score(scores, element)?,
            })
        });
        Ok(Classifications {
            classes: classes.collect::<Result<_, _>>()?,
        })
    });
    Ok(ClassificationResult {
        classifications: rows.collect::<Result<_, _>>()?,
    })
}

/// Reads the numbers of `examples` examples from a response.
pub(super) fn regressions(
    number: &Number,
    response: &InferResponse,
    examples: u32,
) -> Result<RegressionResult, EncodeError> {
    let numbers = number.find(&response.outputs, examples)?;
    let rows = (0..examples as usize).flat_map(|row| numbers.row(row));
    let regressions = rows.map(|element| {
        Ok(Regression {
            value: score(numbers.output, element)?,
        })
    });
    Ok(RegressionResult {
        regressions: regressions.collect::<Result<_, _>>()?,
    })
}
