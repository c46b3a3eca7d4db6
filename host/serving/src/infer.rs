//! **The straight line**: one inference, from its routed head to its encoded answer.
//!
//! [`infer()`] is the only way a request takes. It does not branch on protocol, backend or model kind; those are
//! values inside the call and the version. The permit is given when the body is complete, whose bytes are
//! budgeted before, so that slow bodies keep nobody out; it is held until the answer is encoded.

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
use bytes::Bytes;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use wisp_protocol::call::{
    IndexEntry, InferCall, InferRequest, InferResponse, ModelName, Target, Version,
};
use wisp_protocol::codec::{Codec, Reply};
use wisp_protocol::content_coding::Coding;
use wisp_protocol::statistics::VersionStatistics;
use wisp_sandbox::handler::Usage;
use wisp_tensor::{MemoryBudget, Reservation};

/// What inference needs besides the request. Lifetime: the process.
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

/// Limits of every inference.
#[derive(Debug, Clone)]
pub struct ServingOptions {
    /// Requests admitted at once, of which one model version may have seven eighths; the next one is refused.
    pub max_requests: usize,
    /// Requests that wait for their bodies at once; the oldest makes room for the next one.
    pub max_readers: usize,
    /// Asynchronous handler instances alive at once; admitted requests wait for one.
    pub max_instances: usize,
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// From the complete body to the answer.
    pub request_timeout: Duration,
    /// The bytes that all requests may hold together; what exceeds it is refused.
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

/// The unread body of a request, as the server hands it in.
pub trait Body: Send {
    /// The whole body, of at most `limit` bytes, within the server's own time limit.
    fn read(self, limit: usize) -> impl Future<Output = Result<Bytes, BodyError>> + Send;
}

/// Why a body could not be read.
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

/// An answered inference. Lifetime: one request.
#[derive(Debug)]
pub struct Inferred<E> {
    /// The answer as its dialect says it.
    pub reply: E,
    pub model: ModelName,
    pub version: Version,
    pub usage: Usage,
    pub timings: Timings,
    /// What the answer holds of the memory of all requests, until its last byte is gone.
    pub memory: Reservation,
}

/// Answer one inference.
pub async fn infer<C: Codec, B: Body>(
    serving: &Serving,
    call: InferCall<C>,
    body: B,
) -> Result<Inferred<Encoded<C>>, InferError> {
    let mut stopwatch = Stopwatch::start();
    let version = serving.registry.select(&call.selection)?;
    let unanswered = version.statistics().begin();
    let reading = body.read(serving.options.max_body_bytes);
    let body = serving.readers.read(reading).await?;
    stopwatch.has_read();
    let permit = serving.admission.admit(version.share())?;
    let deadline = Instant::now() + serving.options.request_timeout;
    let memory = Footprint::new(&serving.options.memory);
    let codecs = Codecs {
        offload: &serving.offload,
        version: &version,
        deadline,
    };
    let (request, reply, mut memory) = codecs.decode(call.codec, body, memory).await?;
    stopwatch.has_decoded();
    let rows = version.rows(&request);
    let (response, usage) = version.call(request, &permit, deadline).await?;
    stopwatch.has_called(&usage);
    memory.settle(content_bytes(&response).saturating_add(reply.encoded_bytes(&response)))?;
    let reply = codecs.encode(reply, response).await?;
    memory.settle(C::Reply::held_bytes(&reply))?;
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

/// What a dialect's answers are.
type Encoded<C> = <<C as Codec>::Reply as Reply>::Encoded;

/// Where and until when the codecs of one inference run. Lifetime: one request.
struct Codecs<'a> {
    offload: &'a Offload,
    version: &'a Arc<ModelVersion>,
    deadline: Instant,
}

impl Codecs<'_> {
    async fn decode<C: Codec>(
        &self,
        codec: C,
        body: Bytes,
        mut memory: Footprint,
    ) -> Result<(InferRequest, C::Reply, Footprint), InferError> {
        let version = Arc::clone(self.version);
        let text_bytes = codec.text_bytes(&body);
        let decode = move || {
            memory.settle(codec.decoded_bytes(&body))?;
            let (request, reply) = codec.decode(body, version.description())?;
            Ok::<_, InferError>((request, reply, memory))
        };
        let decoding = self.offload.run_codec(text_bytes, self.deadline, decode);
        decoding.await
    }

    async fn encode<R: Reply>(
        &self,
        reply: R,
        response: InferResponse,
    ) -> Result<R::Encoded, InferError> {
        let version = Arc::clone(self.version);
        let text_bytes = reply.text_bytes(&response);
        let encode = move || reply.encode(response, version.description());
        let encoding = self.offload.run_codec(text_bytes, self.deadline, encode);
        encoding.await
    }
}

impl Serving {
    /// Serve what the registry holds, within these limits; without a `control`, as it is.
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

    /// Returns the requests that wait for their bodies, for whoever reads one in front of [`infer()`].
    pub fn readers(&self) -> &Arc<Readers> {
        &self.readers
    }

    /// The inferences that hold a permit now.
    pub fn admitted_requests(&self) -> usize {
        self.admission.admitted_requests()
    }

    /// The handler instances that are alive now, those of inline calls not counted.
    pub fn live_instances(&self) -> usize {
        self.admission.live_instances()
    }

    /// Returns the right to run what would hold up connections.
    pub fn offload(&self) -> &Offload {
        &self.offload
    }

    /// Returns how long a request may take once it is complete.
    pub fn request_timeout(&self) -> Duration {
        self.options.request_timeout
    }

    /// Returns the budget of the bytes that all requests hold together.
    pub fn memory(&self) -> &Arc<MemoryBudget> {
        &self.options.memory
    }

    /// The largest request, in bytes.
    pub fn max_body_bytes(&self) -> usize {
        self.options.max_body_bytes
    }

    /// Whether new work should be sent here: false once draining has begun.
    ///
    /// A model that cannot be served makes itself unready, not the server.
    pub fn is_ready(&self) -> bool {
        !*self.draining.borrow()
    }

    /// Tell load balancers to stop sending; what still comes is served.
    pub fn start_draining(&self) {
        self.draining.send_replace(true);
    }

    /// Completes when a model has been loaded, unloaded or has failed to be, or draining has begun, since this
    /// was asked for.
    pub fn change(&self) -> impl Future<Output = ()> + Send + use<> {
        let (mut models, mut draining) = (self.registry.changes(), self.draining.subscribe());
        async move {
            // What is watched lives as long as who serves it.
            tokio::select! {
                _ = models.changed() => {}
                _ = draining.changed() => {}
            }
        }
    }

    /// Returns what has changed once a model has been loaded, unloaded or has failed to be.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.registry.changes()
    }

    /// Every model of the repository and its state, by name.
    pub fn index(&self) -> Vec<IndexEntry> {
        self.registry.index()
    }

    /// The version that a name means; it tells of itself.
    pub fn version(&self, target: &Target) -> Result<Arc<ModelVersion>, InferError> {
        Ok(self.registry.resolve(target)?)
    }

    /// The versions of a model that can be called, in order.
    pub fn ready_versions(&self, model: &ModelName) -> Result<Vec<Version>, InferError> {
        let entry = self.registry.entry(model)?;
        let versions = entry.versions.iter();
        let ready = versions.filter(|(_, version)| matches!(version, LoadedVersion::Ready(_)));
        Ok(ready.map(|(number, _)| *number).collect())
    }

    /// The names of all models.
    pub fn models(&self) -> Vec<ModelName> {
        let entries = self.registry.entries().into_iter();
        entries.map(|(model, _)| model).collect()
    }

    /// What the ready versions that `target` means have done: one of them, or all of a model's.
    pub fn statistics(&self, target: &Target) -> Result<Vec<VersionStatistics>, InferError> {
        let versions = self.registry.ready(target)?;
        let versions = versions.iter();
        Ok(versions
            .map(|version| version.statistics().of(version.description()))
            .collect())
    }

    /// What every ready version of every model has done.
    pub fn all_statistics(&self) -> Vec<VersionStatistics> {
        let entries = self.registry.entries();
        let versions = entries.iter().flat_map(|(_, entry)| entry.ready());
        versions
            .map(|version| version.statistics().of(version.description()))
            .collect()
    }

    /// The models and what is loaded of them, by name.
    pub fn entries(&self) -> Vec<(ModelName, Arc<ModelEntry>)> {
        self.registry.entries()
    }

    /// Whether clients may load and unload models.
    pub fn is_controlled_by_clients(&self) -> bool {
        let mode = self.control.as_ref().map(|control| control.mode);
        mode == Some(ControlMode::Explicit)
    }

    /// Load a model of the repository, or load it again.
    pub async fn load(&self, model: ModelName) -> Result<(), InferError> {
        let control = self.control.as_ref().ok_or(ControlError::Fixed)?;
        Ok(control.load(&self.registry, model).await?)
    }

    /// Stop serving a model.
    pub async fn unload(&self, model: &ModelName) -> Result<(), InferError> {
        let control = self.control.as_ref().ok_or(ControlError::Fixed)?;
        Ok(control.unload(&self.registry, model).await?)
    }

    /// Load these models of the repository, and stop serving all others.
    pub async fn load_only(&self, models: Vec<ModelName>) -> Result<(), InferError> {
        let control = self.control.as_ref().ok_or(ControlError::Fixed)?;
        Ok(control.load_only(&self.registry, models).await?)
    }

    /// What makes that which is served follow its repository, whose files were `taken` before anything of
    /// it was loaded; `None` in every other mode.
    pub fn poll(&self, taken: Snapshot) -> Option<RepositoryPoll> {
        let control = self.control.clone()?;
        let registry = Arc::clone(&self.registry);
        let polls = control.mode == ControlMode::Poll;
        polls.then(|| RepositoryPoll::new(control, registry, taken))
    }

    /// The states of the versions that `target` names: all of a model's, or one.
    pub fn states(&self, target: &Target) -> Result<Vec<IndexEntry>, InferError> {
        Ok(self.registry.states(target)?)
    }

    /// Whether the named version can answer now.
    pub fn check_ready(&self, target: &Target) -> Result<(), InferError> {
        self.registry.resolve(target)?;
        Ok(())
    }
}
