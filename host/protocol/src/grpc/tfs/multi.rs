//! Several tasks on one inference: `MultiInference`.
//!
//! All tasks are for one model and read the same inference of the same examples, which requests the
//! outputs of all tasks.

use super::classify::{classifications, regressions};
use super::error::{DecodeError, Reason};
use super::{check_signature, example, model_spec, target};
use crate::call::{InferRequest, InferResponse, ModelDescription, Target};
use crate::grpc::EncodeError;
use crate::grpc::message::tensorflow::serving::inference_result::Result as TaskResult;
use crate::grpc::message::tensorflow::serving::{
    InferenceResult, InferenceTask, MultiInferenceRequest, MultiInferenceResponse,
};
use crate::grpc::target::{Reason as TargetReason, TargetError};
use crate::quoted::Quoted;
use crate::tfs::classes::{Classes, Number};

/// The maximum number of tasks in one request. A model has one signature, with two methods.
const MAX_TASKS: usize = 8;

/// The encoder for the results of all tasks. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultiReply {
    tasks: Vec<Task>,
    examples: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Task {
    Classify(Classes),
    Regress(Number),
}

/// Returns the model and version, which must be the same for all tasks.
pub fn multi_target(message: &MultiInferenceRequest) -> Result<Target, TargetError> {
    let mut tasks = message.tasks.iter();
    let first = tasks.next().ok_or(TargetReason::NoTasks)?;
    let first = target(first.model_spec.as_ref())?;
    for task in tasks {
        if target(task.model_spec.as_ref())? != first {
            return Err(TargetError::from(TargetReason::SeveralModels));
        }
    }
    Ok(first)
}

/// Decodes the examples into a request; returns it with the encoder for the results of all tasks.
pub fn decode_multi(
    message: MultiInferenceRequest,
    model: &ModelDescription,
    limit: usize,
) -> Result<(InferRequest, MultiReply), DecodeError> {
    let MultiInferenceRequest { tasks, input } = message;
    if tasks.len() > MAX_TASKS {
        let limit = MAX_TASKS;
        return Err(DecodeError::from(Reason::TooManyTasks { limit }));
    }
    let tasks = tasks.iter().map(|task| Task::of(task, model));
    let tasks = tasks.collect::<Result<Vec<Task>, Reason>>()?;
    let mut outputs: Vec<String> = Vec::new();
    for name in tasks.iter().flat_map(Task::outputs) {
        if !outputs.contains(&name) {
            outputs.push(name);
        }
    }
    let (inputs, examples) = example::decode(input, model, limit)?;
    let request = InferRequest {
        inputs,
        parameters: Vec::new(),
        outputs,
    };
    Ok((request, MultiReply { tasks, examples }))
}

impl MultiReply {
    /// Encodes the results of the tasks, in their order.
    pub fn encode(
        &self,
        response: &InferResponse,
        model: &ModelDescription,
    ) -> Result<MultiInferenceResponse, EncodeError> {
        let results = self.tasks.iter().map(|task| {
            Ok(InferenceResult {
                model_spec: Some(model_spec(model)),
                result: Some(task.read(response, self.examples)?),
            })
        });
        Ok(MultiInferenceResponse {
            results: results.collect::<Result<_, _>>()?,
        })
    }
}

impl Task {
    fn of(task: &InferenceTask, model: &ModelDescription) -> Result<Task, Reason> {
        check_signature(task.model_spec.as_ref())?;
        match task.method_name.as_str() {
            "tensorflow/serving/classify" => Ok(Task::Classify(Classes::new(model)?)),
            "tensorflow/serving/regress" => Ok(Task::Regress(Number::new(model)?)),
            other => Err(Reason::Method(Quoted::new(other))),
        }
    }

    fn outputs(&self) -> Vec<String> {
        match self {
            Task::Classify(classes) => classes.outputs(),
            Task::Regress(number) => number.outputs(),
        }
    }

    fn read(&self, response: &InferResponse, examples: u32) -> Result<TaskResult, EncodeError> {
        Ok(match self {
            Task::Classify(classes) => {
                TaskResult::ClassificationResult(classifications(classes, response, examples)?)
            }
            Task::Regress(number) => {
                TaskResult::RegressionResult(regressions(number, response, examples)?)
            }
        })
    }
}
