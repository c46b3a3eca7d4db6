//! One loaded version of a model: its description, and the calls to it.
//!
//! A bare version computes its graph; a version with a handler calls the handler, which computes. This
//! module does not load or choose versions.

use crate::admission::{AdmissionError, Permit, Share};
use crate::expected_wait::Crowded;
use crate::placed_handler::PlacedHandler;
use crate::registry::decision::Decision;
use crate::statistics::Statistics;
use std::sync::Arc;
use std::time::Instant;
use wisp_protocol::call::{InferRequest, InferResponse, ModelDescription};
use wisp_sandbox::compute::{Compute, ComputeError};
use wisp_sandbox::handler::{HandlerError, HandlerResponse, Usage};
use wisp_tensor::signature::{check_complete, check_tensors};
use wisp_tensor::{Dimension, NamedTensor, SpecError};

/// A model version that can be called. Lifetime: a model version.
#[derive(Debug)]
pub struct ModelVersion {
    description: ModelDescription,
    answers: Answers,
    statistics: Statistics,
    share: Arc<Share>,
    decisions: Vec<(String, Decision)>,
}

#[derive(Debug)]
enum Answers {
    Graph(Arc<dyn Compute>),
    Handler(PlacedHandler),
}

/// The reason that a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The request does not match the signature of the version.
    #[error(transparent)]
    Request(RequestError),
    #[error(transparent)]
    Admission(AdmissionError),
    #[error(transparent)]
    Crowded(Crowded),
    #[error(transparent)]
    Compute(ComputeError),
    #[error(transparent)]
    Handler(HandlerError),
    /// The answer of the handler or graph does not match the signature of the version.
    #[error("the answer does not fit the signature")]
    Answer(#[source] SpecError),
}

/// The mismatch between a request and the signature. The message is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("input {0}")]
    Input(SpecError),
    #[error("the request has no inputs")]
    NoInputs,
    #[error("unknown output `{name}`, expected one of: {}", expected.join(", "))]
    UnknownOutput { name: String, expected: Vec<String> },
    #[error("output `{name}` is asked for twice")]
    DuplicateOutput { name: String },
    #[error("the batch (axis 0) of `{name}` is {size}, expected 1 to {max_batch_size}")]
    BatchSize {
        name: String,
        size: u32,
        max_batch_size: u32,
    },
    #[error("the batch (axis 0) of `{name}` is {size}, that of `{other}` is {other_size}")]
    BatchMismatch {
        name: String,
        size: u32,
        other: String,
        other_size: u32,
    },
}

impl ModelVersion {
    /// Returns a version that serves a graph without a handler.
    pub fn bare(description: ModelDescription, graph: Arc<dyn Compute>) -> ModelVersion {
        ModelVersion {
            description,
            answers: Answers::Graph(graph),
            statistics: Statistics::default(),
            share: Arc::default(),
            decisions: Vec::new(),
        }
    }

    /// Returns a version that is served by a handler.
    pub fn with_handler(description: ModelDescription, handler: PlacedHandler) -> ModelVersion {
        ModelVersion {
            description,
            answers: Answers::Handler(handler),
            statistics: Statistics::default(),
            share: Arc::default(),
            decisions: Vec::new(),
        }
    }

    /// Returns the version with the decisions that selected its backends.
    pub(crate) fn with_decisions(self, decisions: Vec<(String, Decision)>) -> ModelVersion {
        ModelVersion { decisions, ..self }
    }

    /// Returns the decisions about the backends that were chosen by measurement, by graph.
    pub fn decisions(&self) -> &[(String, Decision)] {
        &self.decisions
    }

    pub fn description(&self) -> &ModelDescription {
        &self.description
    }

    /// Returns the count of its admitted requests.
    pub fn share(&self) -> &Arc<Share> {
        &self.share
    }

    /// Returns the statistics of this version.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Returns the number of rows of a request: its batch size, or 1 if the version has no batch axis.
    pub fn rows(&self, request: &InferRequest) -> u32 {
        let sizes = |input: &NamedTensor| input.tensor.shape().dimensions().first().copied();
        match self.description.max_batch_size {
            0 => 1,
            _ => request.inputs.iter().find_map(sizes).unwrap_or(1),
        }
    }

    /// Runs one admitted request before `deadline`.
    pub async fn call(
        &self,
        request: InferRequest,
        permit: &Permit,
        deadline: Instant,
    ) -> Result<(InferResponse, Usage), CallError> {
        self.check_request(&request).map_err(CallError::Request)?;
        let (wanted, answer) = match &self.answers {
            Answers::Graph(graph) => {
                let started = Instant::now();
                let computing = graph.compute(request.inputs, deadline);
                let computed = tokio::time::timeout_at(deadline.into(), computing).await;
                let computed = computed
                    .unwrap_or(Err(ComputeError::Deadline))
                    .map_err(CallError::Compute)?;
                let usage = Usage {
                    queue: computed.queue,
                    compute: started.elapsed().saturating_sub(computed.queue),
                    ..Usage::default()
                };
                let answer = HandlerResponse {
                    outputs: computed.outputs,
                    parameters: Vec::new(),
                    usage,
                };
                (request.outputs, answer)
            }
            Answers::Handler(handler) => handler.call(request, permit, deadline).await?,
        };
        let response = self
            .respond(answer.outputs, &wanted)
            .map_err(CallError::Answer)?;
        let response = InferResponse {
            outputs: response,
            parameters: answer.parameters,
        };
        Ok((response, answer.usage))
    }

    fn check_request(&self, request: &InferRequest) -> Result<(), RequestError> {
        let signature = &self.description.signature;
        if request.inputs.is_empty() && !signature.inputs.is_empty() {
            return Err(RequestError::NoInputs);
        }
        check_tensors(&signature.inputs, &request.inputs).map_err(RequestError::Input)?;
        if let Answers::Graph(_) = self.answers {
            // A handler checks completeness itself, since one input may replace another.
            check_complete(&signature.inputs, &request.inputs).map_err(RequestError::Input)?;
        }
        self.check_batch(&request.inputs)?;
        for (position, name) in request.outputs.iter().enumerate() {
            if !signature.outputs.iter().any(|output| output.name == *name) {
                return Err(RequestError::UnknownOutput {
                    name: name.clone(),
                    expected: signature.outputs.iter().map(|o| o.name.clone()).collect(),
                });
            }
            if request.outputs[..position].contains(name) {
                return Err(RequestError::DuplicateOutput { name: name.clone() });
            }
        }
        Ok(())
    }

    /// Checks that axis 0, if it is a batch, has 1 to `max_batch_size` rows, the same number in every input.
    fn check_batch(&self, inputs: &[NamedTensor]) -> Result<(), RequestError> {
        let max_batch_size = self.description.max_batch_size;
        if max_batch_size == 0 {
            return Ok(());
        }
        let rows = |input: &NamedTensor| input.tensor.shape().dimensions().first().copied();
        let batched = inputs
            .iter()
            .filter_map(|input| Some((input, rows(input)?)));
        let mut first: Option<(&NamedTensor, u32)> = None;
        for (input, size) in batched {
            let declared = self
                .description
                .signature
                .inputs
                .iter()
                .find(|spec| spec.name == input.name)
                .and_then(|spec| spec.shape.first());
            if declared == Some(&Dimension::Variable) && !(1..=max_batch_size).contains(&size) {
                return Err(RequestError::BatchSize {
                    name: input.name.clone(),
                    size,
                    max_batch_size,
                });
            }
            match first {
                Some((other, other_size)) if other_size != size => {
                    return Err(RequestError::BatchMismatch {
                        name: input.name.clone(),
                        size,
                        other: other.name.clone(),
                        other_size,
                    });
                }
                Some(_) => {}
                None => first = Some((input, size)),
            }
        }
        Ok(())
    }

    /// Checks all outputs and returns the wanted ones in the wanted order.
    fn respond(
        &self,
        mut outputs: Vec<NamedTensor>,
        wanted: &[String],
    ) -> Result<Vec<NamedTensor>, SpecError> {
        let specs = &self.description.signature.outputs;
        check_tensors(specs, &outputs)?;
        if wanted.is_empty() {
            check_complete(specs, &outputs)?;
            return Ok(outputs);
        }
        let mut chosen = Vec::with_capacity(wanted.len());
        for name in wanted {
            let position = outputs
                .iter()
                .position(|output| output.name == *name)
                .ok_or_else(|| SpecError::Missing { name: name.clone() })?;
            chosen.push(outputs.swap_remove(position));
        }
        Ok(chosen)
    }
}
