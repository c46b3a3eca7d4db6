//! Classes and numbers from outputs: `Classify` and `Regress`.
//!
//! `tfs::classes` selects the outputs, as for `:classify` and `:regress` over REST.

use super::error::{DecodeError, Reason};
use super::{check_signature, example, model_spec};
use crate::call::{InferRequest, InferResponse, ModelDescription};
use crate::grpc::EncodeError;
use crate::grpc::message::tensorflow::serving::{
    Class, ClassificationRequest, ClassificationResponse, ClassificationResult, Classifications,
    Regression, RegressionRequest, RegressionResponse, RegressionResult,
};
use crate::grpc::value::{score, string};
use crate::tfs::classes::{Classes, Number};

/// The encoder for classes. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassifyReply {
    classes: Classes,
    examples: u32,
}

/// The encoder for numbers. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegressReply {
    number: Number,
    examples: u32,
}

/// Decodes the examples into a request; returns it with the encoder for their classes.
pub fn decode_classify(
    message: ClassificationRequest,
    model: &ModelDescription,
    limit: usize,
) -> Result<(InferRequest, ClassifyReply), DecodeError> {
    let ClassificationRequest { model_spec, input } = message;
    check_signature(model_spec.as_ref())?;
    let classes = Classes::new(model).map_err(Reason::from)?;
    let (inputs, examples) = example::decode(input, model, limit)?;
    let request = InferRequest {
        inputs,
        parameters: Vec::new(),
        outputs: classes.outputs(),
    };
    Ok((request, ClassifyReply { classes, examples }))
}

/// Decodes the examples into a request; returns it with the encoder for their numbers.
pub fn decode_regress(
    message: RegressionRequest,
    model: &ModelDescription,
    limit: usize,
) -> Result<(InferRequest, RegressReply), DecodeError> {
    let RegressionRequest { model_spec, input } = message;
    check_signature(model_spec.as_ref())?;
    let number = Number::new(model).map_err(Reason::from)?;
    let (inputs, examples) = example::decode(input, model, limit)?;
    let request = InferRequest {
        inputs,
        parameters: Vec::new(),
        outputs: number.outputs(),
    };
    Ok((request, RegressReply { number, examples }))
}

impl ClassifyReply {
    /// Encodes the classes of each example.
    pub fn encode(
        &self,
        response: &InferResponse,
        model: &ModelDescription,
    ) -> Result<ClassificationResponse, EncodeError> {
        Ok(ClassificationResponse {
            model_spec: Some(model_spec(model)),
            result: Some(classifications(&self.classes, response, self.examples)?),
        })
    }
}

impl RegressReply {
    /// Encodes the number of each example.
    pub fn encode(
        &self,
        response: &InferResponse,
        model: &ModelDescription,
    ) -> Result<RegressionResponse, EncodeError> {
        Ok(RegressionResponse {
            model_spec: Some(model_spec(model)),
            result: Some(regressions(&self.number, response, self.examples)?),
        })
    }
}

/// Reads the classes of `examples` examples from a response.
pub(super) fn classifications(
    classes: &Classes,
    response: &InferResponse,
    examples: u32,
) -> Result<ClassificationResult, EncodeError> {
    let classified = classes.find(&response.outputs, examples)?;
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
