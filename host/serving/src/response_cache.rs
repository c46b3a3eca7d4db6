//! The cache of responses: a call of a version is not made if its response is known.
//!
//! A response is known by its [`key`], a digest of everything that it depends on. It is looked up in the memory of
//! this process ([`memory`]) and then in Redis, if there is one ([`redis_store`], [`stored_response`]). Equal requests
//! that arrive while it is computed wait for the same computation ([`flights`]). Only the versions whose
//! [`policy`] allows it are cached. A failure is never cached, and no failure of the cache fails a request.
//!
//! The memory of remembered responses is bounded by the cache itself, which has [`shares`] for tenants, and is no part of the
//! budget of requests.

mod circuit_breaker;
mod flights;
mod key;
mod memory;
pub mod policy;
pub mod redis_counts;
pub mod redis_server;
mod redis_store;
mod shares;
mod stored_response;

use crate::admission::Permit;
use crate::cache_outcome::CacheOutcome;
use crate::error::InferError;
use crate::owner::Owner;
use crate::tenants::tenant_id::TenantId;
use crate::version::ModelVersion;
use flights::{Flight, Flights};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use key::CacheKey;
use memory::{MemoryCache, weight};
use policy::CachePolicy;
use redis_counts::RedisCounts;
use redis_server::RedisServer;
use redis_store::RedisStore;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use wisp_protocol::call::{InferRequest, InferResponse};
use wisp_protocol::error::ErrorKind;
use wisp_sandbox::handler::Usage;
use wisp_tensor::ParameterValue;

/// The parameter of a request that declines the cache with the value `false`.
pub const CACHE_PARAMETER: &str = "response_cache";

/// The bytes of a stored response besides its tensors: names, parameters and lengths.
const STORED_OVERHEAD_BYTES: usize = 64 << 10;

/// The limits of the response cache, and the Redis server.
#[derive(Debug, Clone)]
pub struct ResponseCacheOptions {
    /// The bytes of the responses that this process remembers.
    pub bytes: usize,
    /// The size limit of a response that is remembered or stored.
    pub max_response_bytes: usize,
    /// The server whose responses other servers share, if there is one.
    pub redis: Option<RedisServer>,
    /// The time limit of one operation of Redis.
    pub redis_timeout: Duration,
}

impl Default for ResponseCacheOptions {
    fn default() -> ResponseCacheOptions {
        ResponseCacheOptions {
            bytes: 64 << 20,
            max_response_bytes: 1 << 20,
            redis: None,
            // Many times the usual duration in one network, and little next to most computations.
            redis_timeout: Duration::from_millis(50),
        }
    }
}

/// The cache of the responses of all versions. Lifetime: the process.
#[derive(Debug)]
pub struct ResponseCache {
    stores: Arc<Stores>,
    flights: Arc<Flights<FlightResult>>,
}

/// The places of known responses.
#[derive(Debug)]
struct Stores {
    memory: MemoryCache,
    redis: Option<RedisStore>,
    max_response_bytes: usize,
    /// Set while the process is short of memory, and remembers nothing.
    is_paused: AtomicBool,
}

type FlightResult = Result<Flown, InferError>;

/// The response of a flight, for all requests that wait for it.
#[derive(Debug, Clone)]
struct Flown {
    response: InferResponse,
    /// `None` if the response was stored.
    computation: Option<Arc<Computation>>,
}

/// The computation of a flight, which counts for the first request that receives its response.
#[derive(Debug)]
struct Computation {
    usage: Usage,
    /// The time to look the response up and to store it.
    overhead: Duration,
    is_counted: AtomicBool,
}

/// The terms of one admitted request. Lifetime: one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallTerms<'a> {
    pub(crate) permit: &'a Arc<Permit>,
    pub(crate) deadline: Instant,
    /// Set if the request declines the cache.
    pub(crate) is_declined: bool,
    /// The tenant of the request, who alone gets the response from the cache.
    pub(crate) tenant: &'a TenantId,
}

/// A request whose response is not in memory. Lifetime: one flight.
struct CachedCall {
    key: CacheKey,
    version: Arc<ModelVersion>,
    request: InferRequest,
    permit: Arc<Permit>,
    deadline: Instant,
    stores: Arc<Stores>,
}

impl ResponseCache {
    /// Returns an empty cache. It connects to Redis with the first request for it.
    pub fn new(options: ResponseCacheOptions) -> ResponseCache {
        let ResponseCacheOptions {
            bytes,
            max_response_bytes,
            redis,
            redis_timeout,
        } = options;
        ResponseCache {
            stores: Arc::new(Stores {
                memory: MemoryCache::new(bytes),
                redis: redis.map(|server| RedisStore::new(server, redis_timeout)),
                max_response_bytes,
                is_paused: AtomicBool::new(false),
            }),
            flights: Arc::default(),
        }
    }

    /// Returns the bytes of the responses that are remembered now.
    pub fn bytes(&self) -> u64 {
        self.stores.memory.bytes()
    }

    /// Returns the numbers of operations on Redis, if the cache uses it.
    pub fn redis_counts(&self) -> Option<RedisCounts> {
        self.stores.redis.as_ref().map(RedisStore::counts)
    }

    /// Forgets all responses in memory and remembers no others, or remembers them again. Redis is used all the time.
    pub(crate) fn pause(&self, is_paused: bool) {
        self.stores.is_paused.store(is_paused, Ordering::Relaxed);
        if is_paused {
            self.stores.memory.clear();
        }
    }

    /// Returns the response to an admitted request: a known one, or one that the version computes before `deadline`.
    pub(crate) async fn call(
        &self,
        version: &Arc<ModelVersion>,
        request: InferRequest,
        terms: CallTerms<'_>,
    ) -> Result<(InferResponse, Usage, CacheOutcome), InferError> {
        let policy = version.cache_policy().filter(|_| !terms.is_declined);
        match policy {
            // Boxed, so that calls of models without a cache do not move its kilobytes.
            Some(policy) => Box::pin(self.call_cached((version, policy), request, terms)).await,
            None => {
                let called = version.call(request, terms.permit, terms.deadline);
                let (response, usage) = called.await?;
                Ok((response, usage, CacheOutcome::Bypassed))
            }
        }
    }

    /// Returns the response to a request to a version whose responses may be cached.
    async fn call_cached(
        &self,
        (version, policy): (&Arc<ModelVersion>, &CachePolicy),
        request: InferRequest,
        terms: CallTerms<'_>,
    ) -> Result<(InferResponse, Usage, CacheOutcome), InferError> {
        let CallTerms {
            permit,
            deadline,
            tenant,
            ..
        } = terms;
        let started = Instant::now();
        let key = CacheKey::of(tenant, policy, &request).await;
        let cached = CachedCall {
            key,
            version: Arc::clone(version),
            // A copy shares the tensors.
            request: request.clone(),
            permit: Arc::clone(permit),
            deadline,
            stores: Arc::clone(&self.stores),
        };
        let (flight, is_own) = match self.flight(cached) {
            Ok(found) => found,
            Err(response) => {
                let hit = CacheOutcome::Hit(started.elapsed());
                return Ok((response, Usage::default(), hit));
            }
        };
        let flown = tokio::time::timeout_at(deadline.into(), flight).await;
        let flown = match flown.unwrap_or_else(|_| Err(too_late())) {
            // Another request has begun the flight, and may have had less time and a lower priority.
            Err(error) if !is_own && may_succeed_alone(&error, deadline) => {
                let waited = started.elapsed();
                let (response, usage) = version.call(request, permit, deadline).await?;
                return Ok((response, usage, CacheOutcome::Miss(waited)));
            }
            flown => flown?,
        };
        let counted = (flown.computation.as_ref())
            .filter(|computation| !computation.is_counted.swap(true, Ordering::Relaxed));
        let (usage, outcome) = match counted {
            Some(computation) => (computation.usage, CacheOutcome::Miss(computation.overhead)),
            None => (Usage::default(), CacheOutcome::Hit(started.elapsed())),
        };
        Ok((flown.response, usage, outcome))
    }

    /// Returns the flight for the response and whether this call has begun it, or the response itself as an error if it
    /// is in memory.
    fn flight(&self, cached: CachedCall) -> Result<(Flight<FlightResult>, bool), InferResponse> {
        let key = cached.key;
        if let Some(response) = self.stores.memory.get(&key) {
            return Err(response);
        }
        // Looked up again: a flight may have ended since.
        let ready = || self.stores.memory.get(&key);
        let mut is_own = false;
        let flight = self.flights.join(key, ready, |place| {
            is_own = true;
            let flying: BoxFuture<'static, FlightResult> = async move {
                let flown = AssertUnwindSafe(cached.fly()).catch_unwind().await;
                // The response is in memory, so the next request needs no flight.
                drop(place);
                flown.unwrap_or_else(|_| Err(InferError::host("the computation panicked")))
            }
            .boxed();
            flying
        })?;
        Ok((flight, is_own))
    }
}

impl CachedCall {
    /// Returns the stored response, or computes and stores it.
    async fn fly(self) -> FlightResult {
        let started = Instant::now();
        let CachedCall {
            key,
            version,
            request,
            permit,
            deadline,
            stores,
        } = self;
        let place = (key, permit.owner());
        if let Some(response) = stores.stored(place, (&*version, &request)).await {
            return Ok(Flown {
                response,
                computation: None,
            });
        }
        let lookup = started.elapsed();
        let (response, usage) = version.call(request, &permit, deadline).await?;
        let computed = Instant::now();
        if let Some(policy) = version.cache_policy() {
            stores.store(place, &response, (policy, deadline)).await;
        }
        let computation = Computation {
            usage,
            overhead: lookup.saturating_add(computed.elapsed()),
            is_counted: AtomicBool::new(false),
        };
        Ok(Flown {
            response,
            computation: Some(Arc::new(computation)),
        })
    }
}

impl Stores {
    /// Returns the response that Redis has, and remembers it for the time that it has left there.
    async fn stored(
        &self,
        (key, owner): (CacheKey, Owner),
        (version, request): (&ModelVersion, &InferRequest),
    ) -> Option<InferResponse> {
        let redis = self.redis.as_ref()?;
        let policy = version.cache_policy()?;
        let value = redis.read(&key, self.max_stored_bytes()).await?;
        let Some(stored) = stored_response::decode(&key, value.bytes) else {
            tracing::debug!(%key, "a value in Redis is not a response");
            return None;
        };
        // It may have been written by a server with other files.
        let outputs = version.outputs_for(stored.outputs, &request.outputs)?;
        let response = InferResponse {
            outputs,
            parameters: stored.parameters,
        };
        let remaining = value.remaining.unwrap_or(policy.ttl).min(policy.ttl);
        self.remember((key, owner), &response, remaining);
        Some(response)
    }

    /// Remembers a response, and writes it to Redis if there is time before the deadline.
    async fn store(
        &self,
        (key, owner): (CacheKey, Owner),
        response: &InferResponse,
        (policy, deadline): (&CachePolicy, Instant),
    ) {
        if weight(response) > self.max_response_bytes {
            return;
        }
        self.remember((key, owner), response, policy.ttl);
        let Some(redis) = &self.redis else {
            return;
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let encoded = stored_response::encode(&key, response);
        let encoded = encoded.filter(|value| value.len() <= self.max_stored_bytes());
        if let Some(value) = encoded.filter(|_| left > redis.timeout()) {
            redis.write(&key, value, policy.ttl).await;
        }
    }

    /// Remembers a response in the memory of this process, unless it is short of memory.
    fn remember(&self, place: (CacheKey, Owner), response: &InferResponse, ttl: Duration) {
        if !self.is_paused.load(Ordering::Relaxed) {
            self.memory.insert(place, response, ttl);
        }
    }

    fn max_stored_bytes(&self) -> usize {
        self.max_response_bytes
            .saturating_add(STORED_OVERHEAD_BYTES)
    }
}

/// Removes the parameter of the cache from a request. Returns whether it declines the cache.
pub(crate) fn take_refusal(request: &mut InferRequest) -> bool {
    let mut is_declined = false;
    request
        .parameters
        .retain(|parameter| match parameter.value {
            ParameterValue::Bool(is_wanted) if parameter.name == CACHE_PARAMETER => {
                is_declined |= !is_wanted;
                false
            }
            _ => true,
        });
    is_declined
}

/// Returns whether a request may get a response of its own before its deadline, after the computation of an equal one has
/// failed for a reason that lies in the limits of that one.
fn may_succeed_alone(error: &InferError, deadline: Instant) -> bool {
    let is_limit = matches!(
        error.kind(),
        ErrorKind::Unavailable | ErrorKind::OverQuota | ErrorKind::DeadlineExceeded
    );
    is_limit && tokio::time::Instant::now() < tokio::time::Instant::from_std(deadline)
}

fn too_late() -> InferError {
    InferError::plain(
        ErrorKind::DeadlineExceeded,
        "the deadline passed before the model responded",
    )
}

#[cfg(test)]
mod tests;
