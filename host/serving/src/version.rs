//! One loaded version of a model: its description, and the calls to it.
//!
//! A bare version computes its graph; a version with a handler calls the handler, which computes. A web component
//! answers HTTP requests and has neither inputs nor outputs. This module does not load or choose versions.

use crate::admission::{InstanceSlots, Permit, Share};
use crate::batcher::graph_statistics::{Executions, GraphStatistics};
use crate::call_error::{CallError, KindError};
use crate::handler_executor::{HandlerCalled, HandlerExecutor, compute_options};
use crate::memory_ledger::MemoryPart;
use crate::quality::Quality;
use crate::registry::backend_selection::BackendSelection;
use crate::registry::batching_choice::VersionBatching;
use crate::registry::web_route::WebRoute;
use crate::response_cache::policy::CachePolicy;
use crate::statistics::Statistics;
use crate::web_executor::WebExecutor;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use wisp_protocol::call::{InferRequest, InferResponse, ModelDescription};
use wisp_protocol::call_check::{self, ModelKind, check_request, select_outputs};
use wisp_protocol::statistics::VersionStatistics;
use wisp_sandbox::compute::{Compute, ComputeError, Payer};
use wisp_sandbox::handler::{HandlerResponse, Usage};
use wisp_tensor::{NamedTensor, SpecError};

/// A model version that can be called. Lifetime: a model version.
#[derive(Debug)]
pub struct ModelVersion {
    description: ModelDescription,
    implementation: Implementation,
    statistics: Arc<Statistics>,
    share: Arc<Share>,
    backend_selections: Vec<(String, BackendSelection)>,
    /// The rules by which requests for its graphs are computed together.
    batching: VersionBatching,
    /// A request that the version accepts, for its documentation.
    example: Option<InferRequest>,
    /// The memory that it holds, as it was measured or estimated when it was loaded.
    memory: Vec<MemoryPart>,
    /// The number of its last use among the uses of all versions.
    last_use: AtomicU64,
    /// Set if its inputs and outputs may be written to the payload log.
    logs_payloads: bool,
    /// The caching of its responses, if they are cached.
    cache: Option<CachePolicy>,
    /// The rules for its inputs and outputs, and its baseline, if there are any.
    quality: Option<Quality>,
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
        let statistics = match &implementation {
            Implementation::Graph(_) => Arc::default(),
            Implementation::Handler(handler) => Arc::clone(handler.statistics()),
            Implementation::Web(component) => Arc::clone(component.statistics()),
        };
        ModelVersion {
            description,
            implementation,
            statistics,
            share: Arc::default(),
            backend_selections,
            batching: VersionBatching::default(),
            example: None,
            quality: None,
            cache: None,
            memory: Vec::new(),
            last_use: AtomicU64::new(0),
            logs_payloads: true,
        }
    }

    /// Returns the version with places for its instances, if they are not those of the server. No request has a permit yet.
    pub(crate) fn with_instances(self, instances: Option<InstanceSlots>) -> ModelVersion {
        ModelVersion {
            share: Arc::new(Share::with_instances(instances)),
            ..self
        }
    }

    /// Returns the version with the decisions on the batching of its graphs, which its description shows.
    pub fn with_batching(mut self, batching: VersionBatching) -> ModelVersion {
        batching.describe(&mut self.description);
        ModelVersion { batching, ..self }
    }

    /// Returns the batching of its graphs.
    pub fn batching(&self) -> &VersionBatching {
        &self.batching
    }

    /// Returns the version with executions counted by its graphs.
    pub fn with_statistics_of(self, graphs: Vec<Arc<GraphStatistics>>) -> ModelVersion {
        // The statistics themselves stay: the executors of guests add to them too.
        self.statistics.set_graphs(graphs);
        self
    }

    /// Returns the executions of each graph since this load, by the name of the graph. The loader decides about the
    /// batching of the graphs, and counts their executions, in the same order.
    pub fn graph_executions(&self) -> Vec<(String, Executions)> {
        let decisions = self.batching.decisions().iter();
        let names = decisions.map(|(name, _)| name.clone());
        names.zip(self.statistics.graph_executions()).collect()
    }

    /// Returns the version with a request that it accepts, if one is known.
    pub fn with_example(self, example: Option<InferRequest>) -> ModelVersion {
        ModelVersion { example, ..self }
    }

    /// Returns the version with the choice whether its inputs and outputs may be written to the payload log.
    pub fn with_payload_log(self, logs_payloads: bool) -> ModelVersion {
        ModelVersion {
            logs_payloads,
            ..self
        }
    }

    /// Returns whether its inputs and outputs may be written to the payload log.
    pub fn logs_payloads(&self) -> bool {
        self.logs_payloads
    }

    /// Returns the version with rules for its inputs and outputs, and a baseline, if there are any.
    pub fn with_quality(self, quality: Option<Quality>) -> ModelVersion {
        ModelVersion { quality, ..self }
    }

    /// Returns the rules and the baseline of the version, if there are any.
    pub fn quality(&self) -> Option<&Quality> {
        self.quality.as_ref()
    }

    /// Returns a request that the version accepts, if one is known.
    pub fn example(&self) -> Option<&InferRequest> {
        self.example.as_ref()
    }

    /// Returns the version with the memory that it holds.
    pub(crate) fn with_memory(self, memory: Vec<MemoryPart>) -> ModelVersion {
        ModelVersion { memory, ..self }
    }

    /// Continues the statistics of an earlier load of the same files.
    pub(crate) fn continue_statistics(&self, statistics: &Statistics) {
        self.statistics.continue_load(statistics);
    }

    /// Returns the memory that the version holds.
    pub fn memory(&self) -> &[MemoryPart] {
        &self.memory
    }

    /// Records the number of a use.
    pub(crate) fn record_use(&self, number: u64) {
        self.last_use.store(number, Relaxed);
    }

    /// Returns the number of its last use.
    pub(crate) fn last_use(&self) -> u64 {
        self.last_use.load(Relaxed)
    }

    /// Returns the version with this caching of its responses, which its description shows.
    pub fn with_cache(mut self, cache: Option<CachePolicy>) -> ModelVersion {
        self.description.configuration.response_cache = cache.is_some();
        ModelVersion { cache, ..self }
    }

    /// Returns the caching of its responses, if they are cached.
    pub fn cache_policy(&self) -> Option<&CachePolicy> {
        self.cache.as_ref()
    }

    /// Returns the outputs for a request with this selection, or `None` if they cannot be outputs of the version.
    pub(crate) fn outputs_for(
        &self,
        outputs: Vec<NamedTensor>,
        selected: &[String],
    ) -> Option<Vec<NamedTensor>> {
        select_outputs(&self.description, self.kind(), outputs, selected).ok()
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

    /// Returns whether a guest runs in each call.
    pub fn has_guest(&self) -> bool {
        match &self.implementation {
            Implementation::Graph(_) => false,
            Implementation::Handler(_) | Implementation::Web(_) => true,
        }
    }

    /// Returns the current statistics, with the quality of its data and the batching of its graphs.
    pub fn statistics_snapshot(&self) -> VersionStatistics {
        VersionStatistics {
            data_quality: self.quality.as_ref().map(Quality::report),
            batching: self.batching.report(),
            ..self.statistics.snapshot(&self.description)
        }
    }

    /// Returns the route of a web component.
    pub fn web_route(&self) -> Option<&WebRoute> {
        match &self.implementation {
            Implementation::Web(component) => Some(component.route()),
            Implementation::Graph(_) | Implementation::Handler(_) => None,
        }
    }

    /// Returns whether it serves a graph without a handler.
    pub fn is_graph_only(&self) -> bool {
        matches!(&self.implementation, Implementation::Graph(_))
    }

    /// Returns the web component of the version.
    pub(crate) fn web_component(&self) -> Result<&WebExecutor, CallError> {
        match &self.implementation {
            Implementation::Web(component) => Ok(component),
            Implementation::Graph(_) | Implementation::Handler(_) => {
                let model = self.description.model.clone();
                Err(CallError::Kind(KindError::NoWebComponent { model }))
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
        CallError::Kind(KindError::WebComponent {
            model: self.description.model.clone(),
            route: component.route().clone(),
        })
    }

    /// Returns the batch size of a request, or 1 if the version has no batch axis.
    pub fn batch_size(&self, request: &InferRequest) -> u32 {
        call_check::batch_size(&self.description, request)
    }

    fn kind(&self) -> ModelKind {
        match self.implementation {
            Implementation::Graph(_) => ModelKind::Graph,
            Implementation::Handler(_) | Implementation::Web(_) => ModelKind::Handler,
        }
    }

    /// Runs one admitted request before `deadline`.
    pub async fn call(
        &self,
        request: InferRequest,
        permit: &Permit,
        deadline: Instant,
    ) -> Result<(InferResponse, Usage), CallError> {
        let (model, kind) = (&self.description, self.kind());
        check_request(model, kind, &request).map_err(CallError::Request)?;
        self.check_inputs(&request.inputs)?;
        let called = match &self.implementation {
            Implementation::Graph(graph) => {
                compute(&**graph, request, (deadline, permit.payer())).await?
            }
            Implementation::Handler(handler) => handler.call(request, permit, deadline).await?,
            Implementation::Web(component) => return Err(self.no_inference(component)),
        };
        let HandlerResponse {
            outputs,
            parameters,
            usage,
        } = called.response;
        let outputs = select_outputs(model, kind, outputs, &called.selected);
        let response = InferResponse {
            outputs: outputs.map_err(|error| self.output_error(error))?,
            parameters,
        };
        self.check_outputs(&response.outputs)?;
        Ok((response, usage))
    }

    /// Checks the inputs of a request against the rules of the version, and observes them.
    fn check_inputs(&self, inputs: &[NamedTensor]) -> Result<(), CallError> {
        let quality = self.quality.as_ref();
        let checked = quality.map(|quality| quality.check_inputs(inputs));
        let checked = checked.unwrap_or(Ok(()));
        checked.map_err(|violation| CallError::InputRule(Box::new(violation)))
    }

    /// Checks the outputs of a response against the rules of the version.
    fn check_outputs(&self, outputs: &[NamedTensor]) -> Result<(), CallError> {
        let quality = self.quality.as_ref();
        let checked = quality.map(|quality| quality.check_outputs(outputs));
        checked
            .unwrap_or(Ok(()))
            .map_err(|violation| match self.implementation {
                Implementation::Graph(_) => CallError::GraphOutputRule(Box::new(violation)),
                Implementation::Handler(_) | Implementation::Web(_) => {
                    CallError::HandlerOutputRule(Box::new(violation))
                }
            })
    }

    fn output_error(&self, error: SpecError) -> CallError {
        match self.implementation {
            Implementation::Graph(_) => CallError::GraphOutputs(error),
            Implementation::Handler(_) | Implementation::Web(_) => CallError::HandlerOutputs(error),
        }
    }
}

/// Computes the graph of a version without a handler.
async fn compute(
    graph: &dyn Compute,
    request: InferRequest,
    (deadline, payer): (Instant, Payer),
) -> Result<HandlerCalled, CallError> {
    let mut inputs = request.inputs.iter();
    let is_empty = inputs.any(|input| input.tensor.shape().elements() == 0);
    let started = Instant::now();
    let options = compute_options(&request.scheduling, (deadline, payer));
    let computing = graph.compute(request.inputs, options);
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
                backend: computed.backend,
                ..Usage::default()
            },
        },
    })
}
