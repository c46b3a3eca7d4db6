//! One loaded version of a model: its description, and the calls to it.
//!
//! A bare version computes its graph; a version with a handler calls the handler, which computes. A web component
//! answers HTTP requests and has neither inputs nor outputs. This module does not load or choose versions.

use crate::admission::{Permit, Share};
use crate::call_error::{CallError, RequestError};
use crate::handler_executor::{HandlerCalled, HandlerExecutor};
use crate::registry::backend_selection::BackendSelection;
use crate::registry::web_route::WebRoute;
use crate::statistics::Statistics;
use crate::web_executor::WebExecutor;
use std::sync::Arc;
use std::time::Instant;
use wisp_protocol::call::{InferRequest, InferResponse, ModelDescription};
use wisp_sandbox::compute::{Compute, ComputeError};
use wisp_sandbox::handler::{HandlerResponse, Usage};
use wisp_tensor::signature::{check_complete, check_tensors, check_types};
use wisp_tensor::{NamedTensor, SpecError, TensorSpec};

/// A model version that can be called. Lifetime: a model version.
#[derive(Debug)]
pub struct ModelVersion {
    description: ModelDescription,
    implementation: Implementation,
    statistics: Arc<Statistics>,
    share: Arc<Share>,
    backend_selections: Vec<(String, BackendSelection)>,
    /// A request that the version accepts, for its documentation.
    example: Option<InferRequest>,
}

#[derive(Debug)]
enum Implementation {
    Graph(Arc<dyn Compute>),
    Handler(HandlerExecutor),
    Web(WebExecutor),
}

impl ModelVersion {
    /// Returns a version that serves a graph without a handler, with the measurements that selected the
    /// backends of its graphs.
    pub fn graph_only(
        description: ModelDescription,
        graph: Arc<dyn Compute>,
        backend_selections: Vec<(String, BackendSelection)>,
    ) -> ModelVersion {
        let implementation = Implementation::Graph(graph);
        ModelVersion::new(description, implementation, backend_selections)
    }

    /// Returns a version that is served by a handler, with the measurements that selected the backends of
    /// its graphs.
    pub fn with_handler(
        description: ModelDescription,
        handler: HandlerExecutor,
        backend_selections: Vec<(String, BackendSelection)>,
    ) -> ModelVersion {
        let implementation = Implementation::Handler(handler);
        ModelVersion::new(description, implementation, backend_selections)
    }

    /// Returns a version that is a web component, with the measurements that selected the backends of its graphs.
    pub fn web(
        description: ModelDescription,
        component: WebExecutor,
        backend_selections: Vec<(String, BackendSelection)>,
    ) -> ModelVersion {
        let implementation = Implementation::Web(component);
        ModelVersion::new(description, implementation, backend_selections)
    }

    fn new(
        description: ModelDescription,
        implementation: Implementation,
        backend_selections: Vec<(String, BackendSelection)>,
    ) -> ModelVersion {
        ModelVersion {
            description,
            implementation,
            statistics: Arc::default(),
            share: Arc::default(),
            backend_selections,
            example: None,
        }
    }

    /// Returns the version with a request that it accepts, if one is known.
    pub fn with_example(self, example: Option<InferRequest>) -> ModelVersion {
        ModelVersion { example, ..self }
    }

    /// Returns a request that the version accepts, if one is known.
    pub fn example(&self) -> Option<&InferRequest> {
        self.example.as_ref()
    }

    /// Returns the backends that were selected by measurement, by graph.
    pub fn backend_selections(&self) -> &[(String, BackendSelection)] {
        &self.backend_selections
    }

    pub fn description(&self) -> &ModelDescription {
        &self.description
    }

    /// Returns the count of its admitted requests.
    pub fn share(&self) -> &Arc<Share> {
        &self.share
    }

    /// Returns the statistics of this version.
    pub fn statistics(&self) -> &Arc<Statistics> {
        &self.statistics
    }

    /// Returns the route of a web component.
    pub fn web_route(&self) -> Option<&WebRoute> {
        match &self.implementation {
            Implementation::Web(component) => Some(component.route()),
            Implementation::Graph(_) | Implementation::Handler(_) => None,
        }
    }

    /// Returns the web component of the version.
    pub(crate) fn web_component(&self) -> Result<&WebExecutor, CallError> {
        match &self.implementation {
            Implementation::Web(component) => Ok(component),
            Implementation::Graph(_) | Implementation::Handler(_) => {
                let model = self.description.model.clone();
                Err(CallError::Request(RequestError::NoWebComponent { model }))
            }
        }
    }

    /// Checks that inference protocols can call the version, before the body of a request is read.
    pub(crate) fn check_inference(&self) -> Result<(), CallError> {
        match &self.implementation {
            Implementation::Graph(_) | Implementation::Handler(_) => Ok(()),
            Implementation::Web(component) => Err(self.no_inference(component)),
        }
    }

    fn no_inference(&self, component: &WebExecutor) -> CallError {
        CallError::Request(RequestError::WebComponent {
            model: self.description.model.clone(),
            route: component.route().clone(),
        })
    }

    /// Returns the batch size of a request, or 1 if the version has no batch axis.
    pub fn batch_size(&self, request: &InferRequest) -> u32 {
        let sizes = |input: &NamedTensor| input.tensor.shape().dimensions().first().copied();
        let mut batched = (request.inputs.iter()).filter(|input| !self.is_parameter(&input.name));
        match self.description.max_batch_size {
            0 => 1,
            _ => batched.find_map(sizes).unwrap_or(1),
        }
    }

    fn input_spec(&self, name: &str) -> Option<&TensorSpec> {
        let mut inputs = self.description.signature.inputs.iter();
        inputs.find(|spec| spec.name == name)
    }

    fn is_parameter(&self, name: &str) -> bool {
        self.input_spec(name).is_some_and(TensorSpec::is_parameter)
    }

    /// Runs one admitted request before `deadline`.
    pub async fn call(
        &self,
        request: InferRequest,
        permit: &Permit,
        deadline: Instant,
    ) -> Result<(InferResponse, Usage), CallError> {
        self.check_request(&request).map_err(CallError::Request)?;
        let called = match &self.implementation {
            Implementation::Graph(graph) => compute(&**graph, request, deadline).await?,
            Implementation::Handler(handler) => handler.call(request, permit, deadline).await?,
            Implementation::Web(component) => return Err(self.no_inference(component)),
        };
        let HandlerResponse {
            outputs,
            parameters,
            usage,
        } = called.response;
        let outputs = self.select_outputs(outputs, &called.selected);
        let response = InferResponse {
            outputs: outputs.map_err(|error| self.output_error(error))?,
            parameters,
        };
        Ok((response, usage))
    }

    fn output_error(&self, error: SpecError) -> CallError {
        match self.implementation {
            Implementation::Graph(_) => CallError::GraphOutputs(error),
            Implementation::Handler(_) | Implementation::Web(_) => CallError::HandlerOutputs(error),
        }
    }

    fn check_request(&self, request: &InferRequest) -> Result<(), RequestError> {
        let signature = &self.description.signature;
        if request.inputs.is_empty() && !signature.inputs.is_empty() {
            return Err(RequestError::NoInputs);
        }
        check_tensors(&signature.inputs, &request.inputs).map_err(RequestError::Input)?;
        if let Implementation::Graph(_) = self.implementation {
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

    /// Checks that axis 0, if it is a batch, has the same number of rows in every input, and that the number is
    /// within the limit, if there is one.
    fn check_batch(&self, inputs: &[NamedTensor]) -> Result<(), RequestError> {
        if self.description.max_batch_size == 0 {
            return Ok(());
        }
        let rows = |input: &NamedTensor| input.tensor.shape().dimensions().first().copied();
        let batched = inputs
            .iter()
            .filter(|input| !self.is_parameter(&input.name))
            .filter_map(|input| Some((input, rows(input)?)));
        let mut first: Option<(&NamedTensor, u32)> = None;
        for (input, size) in batched {
            let spec = self.input_spec(&input.name);
            let is_variable = spec.is_some_and(TensorSpec::has_variable_first_axis);
            if let Some(max_rows) = self.description.max_rows
                && is_variable
                && !(1..=max_rows).contains(&size)
            {
                return Err(RequestError::BatchSize {
                    name: input.name.clone(),
                    size,
                    max_rows,
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

    /// Checks all outputs and returns the selected ones, in the order of the selection.
    fn select_outputs(
        &self,
        mut outputs: Vec<NamedTensor>,
        selected: &[String],
    ) -> Result<Vec<NamedTensor>, SpecError> {
        let specs = &self.description.signature.outputs;
        match self.implementation {
            // The computed shapes are the truth, whatever the file declares.
            Implementation::Graph(_) => check_types(specs, &outputs)?,
            Implementation::Handler(_) | Implementation::Web(_) => check_tensors(specs, &outputs)?,
        }
        if selected.is_empty() {
            check_complete(specs, &outputs)?;
            return Ok(outputs);
        }
        let mut chosen = Vec::with_capacity(selected.len());
        for name in selected {
            let position = outputs
                .iter()
                .position(|output| output.name == *name)
                .ok_or_else(|| SpecError::Missing { name: name.clone() })?;
            chosen.push(outputs.swap_remove(position));
        }
        Ok(chosen)
    }
}

/// Computes the graph of a version without a handler.
async fn compute(
    graph: &dyn Compute,
    request: InferRequest,
    deadline: Instant,
) -> Result<HandlerCalled, CallError> {
    let mut inputs = request.inputs.iter();
    let is_empty = inputs.any(|input| input.tensor.shape().elements() == 0);
    let started = Instant::now();
    let computing = graph.compute(request.inputs, deadline);
    let computed = tokio::time::timeout_at(deadline.into(), computing).await;
    let computed = computed
        .unwrap_or(Err(ComputeError::Deadline))
        .map_err(|error| match error {
            // Not every backend computes a batch without rows, which clients may send.
            ComputeError::Backend(reason) if is_empty => ComputeError::Inputs {
                reason,
                explanation: "an input has no elements".to_owned(),
            },
            error => error,
        })
        .map_err(CallError::Compute)?;
    Ok(HandlerCalled {
        selected: request.outputs,
        response: HandlerResponse {
            outputs: computed.outputs,
            parameters: Vec::new(),
            usage: Usage {
                queue: computed.queue,
                compute: started.elapsed().saturating_sub(computed.queue),
                ..Usage::default()
            },
        },
    })
}
