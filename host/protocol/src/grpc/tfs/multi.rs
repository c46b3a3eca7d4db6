//! Several tasks on one inference: `MultiInference`.
//!
//! All tasks are for one model and read the same inference of the same examples, which requests the
//! outputs of all tasks.

use super::classify::{classifications, regressions};
use super::error::DecodeError;
use super::example;
use super::model_spec::{check_signature, model_spec, target};
use crate::call::{InferRequest, InferResponse, ModelDescription, Scheduling, Target};
use crate::codec::{CodecError, RequestDecoder, ResponseEncoder};
use crate::grpc::message::tensorflow::serving::inference_result::Result as TaskResult;
use crate::grpc::message::tensorflow::serving::{
    InferenceResult, InferenceTask, MultiInferenceRequest, MultiInferenceResponse,
};
use crate::grpc::message_size;
use crate::grpc::target::TargetError;
use crate::quoted::Quoted;
use crate::relaxed_json::EncodeError;
use crate::tfs::classes::{Classes, Number};
use prost::Message;

/// The maximum number of tasks in one request. A model has one signature, with two methods.
const MAX_TASKS: usize = 8;

/// The decoder of `MultiInference`. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MultiInferenceDecoder {
    /// The number of bytes that the message's repeated fields may be widened or repeated to.
    pub limit: usize,
}

/// The encoder for the results of all tasks. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultiInferenceEncoder {
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
    let first = tasks.next().ok_or(TargetError::NoTasks)?;
    let first = target(first.model_spec.as_ref())?;
    for task in tasks {
        if target(task.model_spec.as_ref())? != first {
            return Err(TargetError::SeveralModels);
        }
    }
    Ok(first)
}

impl RequestDecoder for MultiInferenceDecoder {
    type Source = MultiInferenceRequest;
    type Encoder = MultiInferenceEncoder;

    fn text_bytes(&self, message: &MultiInferenceRequest) -> usize {
        message.encoded_len()
    }

    /// Counts a context that is repeated for each example, which the size of the message does not
    /// include.
    fn decoded_bytes(&self, message: &MultiInferenceRequest) -> usize {
        example::repeated_bytes(message.input.as_ref(), self.limit)
    }

    fn decode(
        self,
        message: MultiInferenceRequest,
        model: &ModelDescription,
    ) -> Result<(InferRequest, MultiInferenceEncoder), CodecError> {
        let MultiInferenceRequest { tasks, input } = message;
        if tasks.len() > MAX_TASKS {
            let limit = MAX_TASKS;
            return Err(DecodeError::TooManyTasks { limit }.into());
        }
        let tasks = tasks.iter().map(|task| Task::new(task, model));
        let tasks = tasks.collect::<Result<Vec<Task>, DecodeError>>()?;
        let mut outputs: Vec<String> = Vec::new();
        for name in tasks.iter().flat_map(Task::outputs) {
            if !outputs.contains(&name) {
                outputs.push(name);
            }
        }
        let (inputs, examples) = example::decode(input, model, self.limit)?;
        let request = InferRequest {
            inputs,
            parameters: Vec::new(),
            outputs,
            scheduling: Scheduling::default(),
        };
        Ok((request, MultiInferenceEncoder { tasks, examples }))
    }
}

impl ResponseEncoder for MultiInferenceEncoder {
    type Encoded = MultiInferenceResponse;

    fn text_bytes(&self, response: &InferResponse) -> usize {
        response.content_bytes()
    }

    fn encoded_bytes(&self, response: &InferResponse) -> usize {
        let names = self.tasks.iter().map(|task| task.name_bytes(self.examples));
        let names = names.fold(0, usize::saturating_add);
        message_size::element_message_bytes(response).saturating_add(names)
    }

    /// Encodes the results of the tasks, in their order.
    fn encode(
        self,
        response: InferResponse,
        model: &ModelDescription,
    ) -> Result<MultiInferenceResponse, CodecError> {
        let results = self.tasks.iter().map(|task| {
            Ok(InferenceResult {
                model_spec: Some(model_spec(model)),
                result: Some(task.read(&response, model, self.examples)?),
            })
        });
        Ok(MultiInferenceResponse {
            results: results.collect::<Result<_, EncodeError>>()?,
        })
    }
}

impl Task {
    fn new(task: &InferenceTask, model: &ModelDescription) -> Result<Task, DecodeError> {
        check_signature(task.model_spec.as_ref())?;
        match task.method_name.as_str() {
            "tensorflow/serving/classify" => Ok(Task::Classify(Classes::new(model)?)),
            "tensorflow/serving/regress" => Ok(Task::Regress(Number::new(model)?)),
            other => Err(DecodeError::Method(Quoted::new(other))),
        }
    }

    fn outputs(&self) -> Vec<String> {
        match self {
            Task::Classify(classes) => classes.outputs(),
            Task::Regress(number) => number.outputs(),
        }
    }

    /// Returns the maximum number of bytes of the names of classes in the result.
    fn name_bytes(&self, examples: u32) -> usize {
        match self {
            Task::Classify(classes) => classes.name_bytes(examples),
            Task::Regress(_) => 0,
        }
    }

    fn read(
        &self,
        response: &InferResponse,
        model: &ModelDescription,
        examples: u32,
    ) -> Result<TaskResult, EncodeError> {
        Ok(match self {
            Task::Classify(classes) => {
                let classified = classes.find(&response.outputs, model, examples)?;
                TaskResult::ClassificationResult(classifications(&classified, examples)?)
            }
            Task::Regress(number) => {
                TaskResult::RegressionResult(regressions(number, response, examples)?)
            }
        })
    }
}
