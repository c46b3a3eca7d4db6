//! Classes and numbers from outputs: `Classify` and `Regress`.
//!
//! Which outputs: labels are in the model's only BYTES output, or in that called `classes` among
//! several; scores in the only FP32 or FP64 output, or in that called `scores`; the value of a
//! regression in the only FP32 or FP64 output, or in that called `outputs`. These are TensorFlow's
//! own names. A model without labels gives classes without a label, one without scores gives scores
//! of 0, as TensorFlow Serving does.
//!
//! Both outputs have a row per example and the same number of classes in it, or the labels have one for
//! each row: it names the class with the greatest score.

use super::error::{DecodeError, Reason};
use super::{check_signature, example, model_spec};
use crate::call::{InferRequest, InferResponse, ModelDescription};
use crate::grpc::EncodeError;
use crate::grpc::message::tensorflow::serving::{
    Class, ClassificationRequest, ClassificationResponse, ClassificationResult, Classifications,
    Regression, RegressionRequest, RegressionResponse, RegressionResult,
};
use crate::grpc::row::{is_float, length, number, texts};
use wisp_tensor::{ElementType, NamedTensor};

/// How classes are read from an answer. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassifyReply {
    outputs: ClassOutputs,
    examples: usize,
}

/// How numbers are read from an answer. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegressReply {
    output: ValueOutput,
    examples: usize,
}

/// The outputs that hold classes; at least one of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClassOutputs {
    labels: Option<String>,
    scores: Option<String>,
}

/// The output that holds the value of a regression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ValueOutput(String);

/// The request of these examples, and how classes are read from its answer.
pub fn decode_classify(
    message: ClassificationRequest,
    model: &ModelDescription,
    limit: usize,
) -> Result<(InferRequest, ClassifyReply), DecodeError> {
    let ClassificationRequest { model_spec, input } = message;
    check_signature(model_spec.as_ref())?;
    let outputs = ClassOutputs::of(model)?;
    let (inputs, examples) = example::decode(input, model, limit)?;
    let request = InferRequest {
        inputs,
        parameters: Vec::new(),
        outputs: outputs.names().map(str::to_owned).collect(),
    };
    Ok((request, ClassifyReply { outputs, examples }))
}

/// The request of these examples, and how numbers are read from its answer.
pub fn decode_regress(
    message: RegressionRequest,
    model: &ModelDescription,
    limit: usize,
) -> Result<(InferRequest, RegressReply), DecodeError> {
    let RegressionRequest { model_spec, input } = message;
    check_signature(model_spec.as_ref())?;
    let output = ValueOutput::of(model)?;
    let (inputs, examples) = example::decode(input, model, limit)?;
    let request = InferRequest {
        inputs,
        parameters: Vec::new(),
        outputs: vec![output.0.clone()],
    };
    Ok((request, RegressReply { output, examples }))
}

// === impl ClassifyReply ===

impl ClassifyReply {
    /// The classes of each example.
    pub fn encode(
        &self,
        response: &InferResponse,
        model: &ModelDescription,
    ) -> Result<ClassificationResponse, EncodeError> {
        Ok(ClassificationResponse {
            model_spec: Some(model_spec(model)),
            result: Some(self.outputs.read(response, self.examples)?),
        })
    }
}

// === impl RegressReply ===

impl RegressReply {
    /// The number of each example.
    pub fn encode(
        &self,
        response: &InferResponse,
        model: &ModelDescription,
    ) -> Result<RegressionResponse, EncodeError> {
        Ok(RegressionResponse {
            model_spec: Some(model_spec(model)),
            result: Some(self.output.read(response, self.examples)?),
        })
    }
}

// === impl ClassOutputs ===

impl ClassOutputs {
    /// Where this model's classes are.
    pub(super) fn of(model: &ModelDescription) -> Result<ClassOutputs, Reason> {
        let is_label = |element_type| element_type == ElementType::Bytes;
        let labels = only(model, is_label, "classes");
        let scores = only(model, is_float, "scores");
        match (&labels, &scores) {
            (None, None) => Err(Reason::NoClasses),
            _ => Ok(ClassOutputs { labels, scores }),
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        [&self.labels, &self.scores]
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    pub(super) fn read(
        &self,
        response: &InferResponse,
        examples: usize,
    ) -> Result<ClassificationResult, EncodeError> {
        let find = |name: &Option<String>| match name {
            Some(name) => {
                let output = find(response, name)?;
                Ok(Some((output, length(output, examples)?)))
            }
            None => Ok(None),
        };
        let (labels, scores) = (find(&self.labels)?, find(&self.scores)?);
        let classes = match (labels, scores) {
            (Some((labels, 1)), Some((scores, count))) if count > 1 => {
                return name_the_best(labels, scores, count);
            }
            (Some((labels, count)), Some((scores, other))) if count != other => {
                return Err(EncodeError::Classes {
                    labels: labels.name.clone(),
                    scores: scores.name.clone(),
                });
            }
            (Some((_, count)), _) | (None, Some((_, count))) => count,
            (None, None) => 0,
        };
        let labels = match labels {
            Some((output, _)) => texts(output)?,
            None => Vec::new(),
        };
        let class = |position| {
            let score = match scores {
                Some((output, _)) => value(output, position)?,
                None => 0.0,
            };
            let label = labels.get(position).map_or("", |label| label);
            Ok(Class {
                label: label.to_owned(),
                score,
            })
        };
        let rows = (0..examples).map(|row| {
            let positions = row * classes..(row + 1) * classes;
            Ok(Classifications {
                classes: positions.map(class).collect::<Result<_, _>>()?,
            })
        });
        Ok(ClassificationResult {
            classifications: rows.collect::<Result<_, _>>()?,
        })
    }
}

/// One label among `count` scores of a row names the best of them: the others have no name.
fn name_the_best(
    labels: &NamedTensor,
    scores: &NamedTensor,
    count: usize,
) -> Result<ClassificationResult, EncodeError> {
    let best = |(row, label): (usize, &str)| {
        let mut best = value(scores, row * count)?;
        for position in row * count + 1..(row + 1) * count {
            let score = value(scores, position)?;
            // Anything is better than what is no number.
            if score > best || best.is_nan() {
                best = score;
            }
        }
        let class = Class {
            label: label.to_owned(),
            score: best,
        };
        Ok(Classifications {
            classes: vec![class],
        })
    };
    let rows = texts(labels)?.into_iter().enumerate().map(best);
    Ok(ClassificationResult {
        classifications: rows.collect::<Result<_, _>>()?,
    })
}

// === impl ValueOutput ===

impl ValueOutput {
    /// Where this model's value is.
    pub(super) fn of(model: &ModelDescription) -> Result<ValueOutput, Reason> {
        let name = only(model, is_float, "outputs").ok_or(Reason::NoValue)?;
        Ok(ValueOutput(name))
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    pub(super) fn read(
        &self,
        response: &InferResponse,
        examples: usize,
    ) -> Result<RegressionResult, EncodeError> {
        let output = find(response, &self.0)?;
        if length(output, examples)? != 1 {
            return Err(EncodeError::SeveralValues {
                output: self.0.clone(),
            });
        }
        let regression = |row| {
            Ok(Regression {
                value: value(output, row)?,
            })
        };
        Ok(RegressionResult {
            regressions: (0..examples).map(regression).collect::<Result<_, _>>()?,
        })
    }
}

/// The name of the model's only output of such a type, or of that with TensorFlow's name for it.
fn only(
    model: &ModelDescription,
    is_wanted: impl Fn(ElementType) -> bool,
    name: &str,
) -> Option<String> {
    let outputs = model.signature.outputs.iter();
    let mut wanted = outputs.filter(|spec| is_wanted(spec.element_type));
    let first = wanted.next()?;
    match wanted.next() {
        None => Some(first.name.clone()),
        Some(second) => [first, second]
            .into_iter()
            .chain(wanted)
            .find(|spec| spec.name == name)
            .map(|spec| spec.name.clone()),
    }
}

fn find<'a>(response: &'a InferResponse, name: &str) -> Result<&'a NamedTensor, EncodeError> {
    let mut outputs = response.outputs.iter();
    outputs
        .find(|output| output.name == name)
        .ok_or_else(|| EncodeError::Missing {
            output: name.to_owned(),
        })
}

/// The number at a position that the output's shape has.
fn value(output: &NamedTensor, position: usize) -> Result<f32, EncodeError> {
    number(&output.tensor, position).ok_or_else(|| EncodeError::ElementType {
        output: output.name.clone(),
    })
}
