//! The limits and settings that all requests share.

use crate::metering::usage_book::UsageBook;
use crate::payload_log::PayloadLog;
use crate::release::ReleaseOptions;
use crate::response_cache::ResponseCacheOptions;
use std::sync::Arc;
use std::time::Duration;
use wisp_tensor::MemoryBudget;

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
    /// The budget of bytes that all requests hold together; a request that would exceed it, or the share of its tenant,
    /// is refused.
    pub memory: Arc<MemoryBudget>,
    /// The memory in bytes at which the kernel would end the process, if there is such a limit.
    pub memory_limit_bytes: Option<u64>,
    /// The condition under which the server is ready.
    pub readiness: Readiness,
    /// The log of the inputs and outputs of calls, if there is one.
    pub payload_log: Option<Arc<PayloadLog>>,
    /// The limits of the cache for the responses of models that have one.
    pub cache: ResponseCacheOptions,
    /// The settings of releases.
    pub releases: ReleaseOptions,
    /// Set if a version that is loaded while the server runs computes the golden cases of its model before it is served.
    pub golden_cases: bool,
    /// The usage of all tenants and models.
    pub usage: Arc<UsageBook>,
    /// Set if the response of an inference contains the usage of its request.
    pub shows_usage: bool,
}

/// The condition under which a server that does not drain is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// At least one model can be called, and every model that the server was started with has been loaded,
    /// apart from optional ones. Later failures to load leave the server as ready as it was.
    Models,
    /// Always.
    Server,
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
            memory_limit_bytes: None,
            readiness: Readiness::Models,
            payload_log: None,
            cache: ResponseCacheOptions::default(),
            releases: ReleaseOptions::default(),
            golden_cases: true,
            usage: Arc::default(),
            shows_usage: false,
        }
    }
}
