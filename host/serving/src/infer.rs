//! **The straight line**: one inference, from its routed head to its encoded answer.
//!
//! [`infer()`] is the only way a request takes. It does not branch on protocol, backend or model kind; those are
//! values inside the call and the version. Admission comes before the body is read, so that a
//! refusal costs no body bytes; everything after it holds the permit.

use crate::admission::Admission;
use crate::error::InferError;
use crate::model_control::{ControlError, ControlMode, ModelControl};
use crate::offload;
use crate::registry::{LoadedVersion, ModelEntry, Registry};
use crate::version::ModelVersion;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use wisp_protocol::call::{
    IndexEntry, InferCall, InferRequest, InferResponse, ModelName, Target, Version,
};
use wisp_protocol::codec::{Codec, Reply};
use wisp_protocol::content_coding::Coding;
use wisp_sandbox::handler::Usage;

/// What inference needs besides the request. Lifetime: the process.
#[derive(Debug)]
pub struct Serving {
    registry: Arc<Registry>,
    control: Option<ModelControl>,
    admission: Admission,
    options: ServingOptions,
    draining: AtomicBool,
}

/// Limits of every inference.
#[derive(Debug, Clone)]
pub struct ServingOptions {
    /// Requests admitted at once; the next one is refused.
    pub max_requests: usize,
    /// Asynchronous handler instances alive at once; admitted requests wait for one.
    pub max_instances: usize,
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// From the complete body to the answer.
    pub request_timeout: Duration,
}

impl Default for ServingOptions {
    fn default() -> ServingOptions {
        ServingOptions {
            max_requests: 1024,
            max_instances: 128,
            max_body_bytes: 64 << 20,
            request_timeout: Duration::from_secs(10),
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
}

/// Answer one inference.
pub async fn infer<C: Codec, B: Body>(
    serving: &Serving,
    call: InferCall<C>,
    body: B,
) -> Result<Inferred<Encoded<C>>, InferError> {
    let permit = serving.admission.admit()?;
    let version = serving.registry.select(&call.selection)?;
    let body = body.read(serving.options.max_body_bytes).await?;
    let deadline = Instant::now() + serving.options.request_timeout;
    let (request, reply) = decode(call.codec, body, &version).await?;
    let (response, usage) = version.call(request, &permit, deadline).await?;
    let reply = encode(reply, response, &version).await?;
    Ok(Inferred {
        reply,
        model: version.description().model.clone(),
        version: version.description().version,
        usage,
    })
}

/// What a dialect's answers are.
type Encoded<C> = <<C as Codec>::Reply as Reply>::Encoded;

async fn decode<C: Codec>(
    codec: C,
    body: Bytes,
    version: &Arc<ModelVersion>,
) -> Result<(InferRequest, C::Reply), InferError> {
    let version = Arc::clone(version);
    let text_bytes = codec.text_bytes(&body);
    offload::run(text_bytes, move || {
        codec.decode(body, version.description())
    })
    .await
}

async fn encode<R: Reply>(
    reply: R,
    response: InferResponse,
    version: &Arc<ModelVersion>,
) -> Result<R::Encoded, InferError> {
    let version = Arc::clone(version);
    let text_bytes = reply.text_bytes(&response);
    offload::run(text_bytes, move || {
        reply.encode(response, version.description())
    })
    .await
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
            registry: Arc::new(registry),
            control,
            options,
            draining: AtomicBool::new(false),
        }
    }

    /// The largest request, in bytes.
    pub fn max_body_bytes(&self) -> usize {
        self.options.max_body_bytes
    }

    /// Whether new work should be sent here: false once draining has begun.
    ///
    /// A model that cannot be served makes itself unready, not the server.
    pub fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed)
    }

    /// Tell load balancers to stop sending; what still comes is served.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
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
