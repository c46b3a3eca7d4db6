//! The path of one inference, from its routed request head to its encoded response.
//!
//! Every request takes the path through [`infer()`]. The function does not branch on protocol, backend or
//! kind of model; those are values inside the call and the version. A request gets its permit once its
//! body is complete, so that slow bodies keep no other request out; the bytes of the body are reserved
//! from the budget before that. The permit is held until the response is encoded.

use crate::admission::Admission;
use crate::error::InferError;
use crate::footprint::{Footprint, content_bytes};
use crate::model_control::{ControlError, ControlMode, ModelControl};
use crate::offload::Offload;
use crate::readers::Readers;
use crate::registry::snapshot::Snapshot;
use crate::registry::{LoadedVersion, ModelEntry, Registry};
use crate::repository_poll::RepositoryPoll;
use crate::timings::{Stopwatch, Timings};
use crate::version::ModelVersion;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use wisp_protocol::call::{
    IndexEntry, InferCall, InferRequest, InferResponse, ModelName, Target, Version,
};
use wisp_protocol::codec::{RequestDecoder, ResponseEncoder};
use wisp_protocol::content_coding::Coding;
use wisp_protocol::statistics::VersionStatistics;
use wisp_sandbox::handler::Usage;
use wisp_tensor::{MemoryBudget, Reservation};

/// Everything that inference needs besides the request. Lifetime: the process.
#[derive(Debug)]
pub struct Serving {
    registry: Arc<Registry>,
    control: Option<Arc<ModelControl>>,
    admission: Admission,
    readers: Arc<Readers>,
    offload: Offload,
    options: ServingOptions,
    draining: watch::Sender<bool>,
}

/// The limits of every inference.
#[derive(Debug, Clone)]
pub struct ServingOptions {
    /// The number of requests admitted at the same time. One model version may hold seven eighths of
    /// them; a request above the limit is refused.
    pub max_requests: usize,
    /// The number of requests that wait for their bodies at the same time; a further one ends the oldest.
    pub max_readers: usize,
    /// The number of asynchronous handler instances alive at the same time; admitted requests wait for one.
    pub max_instances: usize,
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// The time limit from the complete body to the response.
    pub request_timeout: Duration,
    /// The budget of bytes that all requests hold together; a request that would exceed it is refused.
    pub memory: Arc<MemoryBudget>,
}

impl Default for ServingOptions {
    fn default() -> ServingOptions {
        ServingOptions {
            max_requests: 1024,
            max_readers: 4096,
            max_instances: 128,
            max_body_bytes: 64 << 20,
            request_timeout: Duration::from_secs(10),
            memory: Arc::new(MemoryBudget::new(1 << 30)),
        }
    }
}

/// The unread body of a request. The server implements it.
pub trait Body: Send {
    /// The complete request, which is the source of its decoder.
    type Source;

    /// Reads the whole body, of at most `limit` bytes, within the server's own time limit.
    fn read(self, limit: usize) -> impl Future<Output = Result<Self::Source, BodyError>> + Send;
}

/// The reason that a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the server holds as many bytes of requests as it can; try again")]
    NoRoom,
    #[error("too many bodies are on their way, and this one has been for the longest; try again")]
    MadeRoom,
    #[error("the server has no thread free to inflate the body; try again")]
    NoThread,
    #[error("the body did not arrive in time")]
    Timeout,
    #[error("the client went away")]
    Disconnected,
    #[error("the body is not framed as HTTP requires")]
    Malformed,
    #[error("the body is not a whole {0} stream and nothing else, as its content encoding says")]
    NotInCoding(Coding),
}

/// A completed inference. Lifetime: one request.
#[derive(Debug)]
pub struct Inferred<E> {
    /// The response, encoded for the protocol of the request.
    pub reply: E,
    pub model: ModelName,
    pub version: Version,
    pub usage: Usage,
    pub timings: Timings,
    /// The reservation for the memory of the response, until its last byte has been sent.
    pub memory: Reservation,
}

/// Runs one inference and returns its encoded response.
pub async fn infer<D: RequestDecoder, B: Body<Source = D::Source>>(
    serving: &Serving,
    call: InferCall<D>,
    body: B,
) -> Result<Inferred<Encoded<D>>, InferError> {
    let mut stopwatch = Stopwatch::start();
    let version = serving.registry.select(&call.selection)?;
    let unanswered = version.statistics().begin();
    let reading = body.read(serving.options.max_body_bytes);
    let source = serving.readers.read(reading).await?;
    stopwatch.has_read();
    let permit = serving.admission.admit(version.share())?;
    let deadline = Instant::now() + serving.options.request_timeout;
    let memory = Footprint::new(&serving.options.memory);
    let codecs = Codecs {
        offload: &serving.offload,
        version: &version,
        deadline,
    };
    let (request, encoder, mut memory) = codecs.decode(call.decoder, source, memory).await?;
    stopwatch.has_decoded();
    let rows = version.rows(&request);
    let (response, usage) = version.call(request, &permit, deadline).await?;
    stopwatch.has_called(&usage);
    memory.settle(content_bytes(&response).saturating_add(encoder.encoded_bytes(&response)))?;
    let reply = codecs.encode(encoder, response).await?;
    memory.settle(D::Encoder::held_bytes(&reply))?;
    let timings = stopwatch.has_encoded();
    unanswered.succeed(rows, &timings);
    Ok(Inferred {
        reply,
        model: version.description().model.clone(),
        version: version.description().version,
        usage,
        timings,
        memory: memory.into_reservation(),
    })
}

/// The encoded response to the request of a decoder.
type Encoded<D> = <<D as RequestDecoder>::Encoder as ResponseEncoder>::Encoded;

/// The context in which the codecs of one inference run. Lifetime: one request.
struct Codecs<'a> {
    offload: &'a Offload,
    version: &'a Arc<ModelVersion>,
    deadline: Instant,
}

impl Codecs<'_> {
    async fn decode<D: RequestDecoder>(
        &self,
        decoder: D,
        source: D::Source,
        mut memory: Footprint,
    ) -> Result<(InferRequest, D::Encoder, Footprint), InferError> {
        let version = Arc::clone(self.version);
        let text_bytes = decoder.text_bytes(&source);
        let decode = move || {
            memory.settle(decoder.decoded_bytes(&source))?;
            let (request, encoder) = decoder.decode(source, version.description())?;
            Ok::<_, InferError>((request, encoder, memory))
        };
        let decoding = self.offload.run_codec(text_bytes, self.deadline, decode);
        decoding.await
    }

    async fn encode<E: ResponseEncoder>(
        &self,
        encoder: E,
        response: InferResponse,
    ) -> Result<E::Encoded, InferError> {
        let version = Arc::clone(self.version);
        let text_bytes = encoder.text_bytes(&response);
        let encode = move || encoder.encode(response, version.description());
        let encoding = self.offload.run_codec(text_bytes, self.deadline, encode);
        encoding.await
    }
}

impl Serving {
    /// Returns a service for the models of the registry, within these limits. Without a `control`,
    /// the models cannot be changed.
    pub fn new(
        registry: Registry,
        control: Option<ModelControl>,
        options: ServingOptions,
    ) -> Serving {
        Serving {
            admission: Admission::new(options.max_requests, options.max_instances),
            readers: Readers::new(options.max_readers),
            registry: Arc::new(registry),
            control: control.map(Arc::new),
            offload: Offload::new(
                available_parallelism().unwrap_or(NonZeroUsize::MIN),
                options.request_timeout,
            ),
            options,
            draining: watch::Sender::new(false),
        }
    }

    /// Returns the requests that wait for their bodies, for code that reads a body before it calls [`infer()`].
    pub fn readers(&self) -> &Arc<Readers> {
        &self.readers
    }

    /// Returns the number of inferences that hold a permit now.
    pub fn admitted_requests(&self) -> usize {
        self.admission.admitted_requests()
    }

    /// Returns the number of handler instances that are alive now, without those of inline calls.
    pub fn live_instances(&self) -> usize {
        self.admission.live_instances()
    }

    /// Returns the threads for work that would delay connections.
    pub fn offload(&self) -> &Offload {
        &self.offload
    }

    /// Returns the time limit of a request, counted from its complete body.
    pub fn request_timeout(&self) -> Duration {
        self.options.request_timeout
    }

    /// Returns the budget of the bytes that all requests hold together.
    pub fn memory(&self) -> &Arc<MemoryBudget> {
        &self.options.memory
    }

    /// Returns the size limit of a request body, in bytes.
    pub fn max_body_bytes(&self) -> usize {
        self.options.max_body_bytes
    }

    /// Returns whether load balancers should send requests to this server: false once draining has begun.
    ///
    /// A model that cannot be served is itself not ready; it does not affect the readiness of the server.
    pub fn is_ready(&self) -> bool {
        !*self.draining.borrow()
    }

    /// Makes [`Serving::is_ready`] return false, so that load balancers stop sending. Requests
    /// that still arrive are served.
    pub fn start_draining(&self) {
        self.draining.send_replace(true);
    }

    /// Completes at the next change after this call: a model has been loaded or unloaded or has failed to
    /// load, or draining has begun.
    pub fn change(&self) -> impl Future<Output = ()> + Send + use<> {
        let (mut models, mut draining) = (self.registry.changes(), self.draining.subscribe());
        async move {
            // The senders live as long as the server, so neither receiver returns an error before the end.
            tokio::select! {
                _ = models.changed() => {}
                _ = draining.changed() => {}
            }
        }
    }

    /// Returns a receiver that is notified whenever a model has been loaded or unloaded or has failed to load.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.registry.changes()
    }

    /// Returns every model of the repository and its state, by name.
    pub fn index(&self) -> Vec<IndexEntry> {
        self.registry.index()
    }

    /// Returns the version that `target` names.
    pub fn version(&self, target: &Target) -> Result<Arc<ModelVersion>, InferError> {
        Ok(self.registry.resolve(target)?)
    }

    /// Returns the ready versions of a model, in order.
    pub fn ready_versions(&self, model: &ModelName) -> Result<Vec<Version>, InferError> {
        let entry = self.registry.entry(model)?;
        let versions = entry.versions.iter();
        let ready = versions.filter(|(_, version)| matches!(version, LoadedVersion::Ready(_)));
        Ok(ready.map(|(number, _)| *number).collect())
    }

    /// Returns the names of all models.
    pub fn models(&self) -> Vec<ModelName> {
        let entries = self.registry.entries().into_iter();
        entries.map(|(model, _)| model).collect()
    }

    /// Returns the statistics of the ready versions that `target` names: one version, or all those of its model.
    pub fn statistics(&self, target: &Target) -> Result<Vec<VersionStatistics>, InferError> {
        let versions = self.registry.ready(target)?;
        let versions = versions.iter();
        Ok(versions
            .map(|version| version.statistics().of(version.description()))
            .collect())
    }

    /// Returns the statistics of every ready version of every model.
    pub fn all_statistics(&self) -> Vec<VersionStatistics> {
        let entries = self.registry.entries();
        let versions = entries.iter().flat_map(|(_, entry)| entry.ready());
        versions
            .map(|version| version.statistics().of(version.description()))
            .collect()
    }

    /// Returns all models and their loaded versions, by name.
    pub fn entries(&self) -> Vec<(ModelName, Arc<ModelEntry>)> {
        self.registry.entries()
    }

    /// Returns whether clients may load and unload models.
    pub fn is_controlled_by_clients(&self) -> bool {
        let mode = self.control.as_ref().map(|control| control.mode);
        mode == Some(ControlMode::Explicit)
    }

    /// Loads or reloads a model of the repository.
    pub async fn load(&self, model: ModelName) -> Result<(), InferError> {
        let control = self.control.as_ref().ok_or(ControlError::Fixed)?;
        Ok(control.load(&self.registry, model).await?)
    }

    /// Stops serving a model.
    pub async fn unload(&self, model: &ModelName) -> Result<(), InferError> {
        let control = self.control.as_ref().ok_or(ControlError::Fixed)?;
        Ok(control.unload(&self.registry, model).await?)
    }

    /// Loads these models of the repository and stops serving all others.
    pub async fn load_only(&self, models: Vec<ModelName>) -> Result<(), InferError> {
        let control = self.control.as_ref().ok_or(ControlError::Fixed)?;
        Ok(control.load_only(&self.registry, models).await?)
    }

    /// Returns a poll that keeps the served models up to date with the repository, or `None` in every
    /// other mode. `taken` is a snapshot of the repository from before any model was loaded.
    pub fn poll(&self, taken: Snapshot) -> Option<RepositoryPoll> {
        let control = self.control.clone()?;
        let registry = Arc::clone(&self.registry);
        let polls = control.mode == ControlMode::Poll;
        polls.then(|| RepositoryPoll::new(control, registry, taken))
    }

    /// Returns the states of the versions that `target` names: one version, or all those of its model.
    pub fn states(&self, target: &Target) -> Result<Vec<IndexEntry>, InferError> {
        Ok(self.registry.states(target)?)
    }

    /// Returns an error unless the named version can be called now.
    pub fn check_ready(&self, target: &Target) -> Result<(), InferError> {
        self.registry.resolve(target)?;
        Ok(())
    }
}
