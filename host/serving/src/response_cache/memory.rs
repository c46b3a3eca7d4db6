//! The responses in the memory of this process, bounded in bytes, all together and for each tenant.
//!
//! A remembered response is a copy. A computed one may share its bytes with a request or with the memory of a
//! handler, which the budget of requests counts, and would keep them for as long as it is remembered.

use crate::owner::Owner;
use crate::response_cache::key::CacheKey;
use crate::response_cache::shares::{CacheShares, SharePlace};
use bytes::Bytes;
use moka::Expiry;
use moka::sync::Cache;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use wisp_protocol::call::InferResponse;
use wisp_tensor::{NamedTensor, Parameter, ParameterValue, Tensor};

/// The bytes that an entry takes besides its tensors and texts: its key, its places in the tables of the cache and
/// its own structures.
const ENTRY_BYTES: usize = 512;

/// The bytes that a tensor or a parameter takes besides its content and name.
const MEMBER_BYTES: usize = 128;

/// The remembered responses. Lifetime: the process.
pub(super) struct MemoryCache {
    entries: Cache<CacheKey, Remembered>,
    shares: Arc<CacheShares>,
}

/// A response and its age limit.
#[derive(Debug, Clone)]
struct Remembered {
    response: Arc<InferResponse>,
    ttl: Duration,
    /// The end of its time, by a clock that tests can stop. `None` if it is beyond the clock.
    expires: Option<Instant>,
    weight: u32,
    place: SharePlace,
}

/// The age limit of each response.
struct OwnLimit;

impl Expiry<CacheKey, Remembered> for OwnLimit {
    fn expire_after_create(
        &self,
        _key: &CacheKey,
        remembered: &Remembered,
        _created: std::time::Instant,
    ) -> Option<Duration> {
        Some(remembered.ttl)
    }

    fn expire_after_update(
        &self,
        _key: &CacheKey,
        remembered: &Remembered,
        _updated: std::time::Instant,
        _remaining: Option<Duration>,
    ) -> Option<Duration> {
        Some(remembered.ttl)
    }
}

impl MemoryCache {
    /// Returns a cache for this number of bytes. With 0, nothing is remembered.
    pub(super) fn new(bytes: usize) -> MemoryCache {
        let capacity = u64::try_from(bytes).unwrap_or(u64::MAX);
        let shares = Arc::new(CacheShares::new(capacity));
        let counted = Arc::clone(&shares);
        let entries = Cache::builder()
            .max_capacity(capacity)
            .weigher(|_: &CacheKey, remembered: &Remembered| remembered.weight)
            .expire_after(OwnLimit)
            .eviction_listener(move |_, remembered: Remembered, _| {
                counted.remove(remembered.place);
            })
            .build();
        MemoryCache { entries, shares }
    }

    /// Returns the response of this key, if it is remembered and not too old.
    pub(super) fn get(&self, key: &CacheKey) -> Option<InferResponse> {
        let remembered = self.entries.get(key)?;
        let is_current = |expires: Instant| Instant::now() < expires;
        match remembered.expires.is_none_or(is_current) {
            true => Some(InferResponse::clone(&remembered.response)),
            false => None,
        }
    }

    /// Remembers a copy of a response for this time, in place of others that are used less, or of the oldest of its owner.
    pub(super) fn insert(
        &self,
        (key, owner): (CacheKey, Owner),
        response: &InferResponse,
        ttl: Duration,
    ) {
        let Some(copy) = copy(response) else {
            return;
        };
        let weight = u32::try_from(weight(&copy)).unwrap_or(u32::MAX);
        let Some((place, forgotten)) = self.shares.add((key, owner), weight) else {
            return;
        };
        for oldest in &forgotten {
            self.entries.invalidate(oldest);
        }
        let remembered = Remembered {
            weight,
            response: Arc::new(copy),
            ttl,
            expires: Instant::now().checked_add(ttl),
            place,
        };
        self.entries.insert(key, remembered);
        // Without this, the cache would grow beyond its bound by the responses of its queue of insertions.
        self.entries.run_pending_tasks();
    }

    /// Forgets all responses.
    pub(super) fn clear(&self) {
        self.entries.invalidate_all();
        self.entries.run_pending_tasks();
    }

    /// Returns the bytes that are remembered now.
    pub(super) fn bytes(&self) -> u64 {
        self.entries.weighted_size()
    }
}

/// Writes the number of bytes. The entries are the responses of clients.
impl fmt::Debug for MemoryCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryCache")
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

/// Returns a response with the same content in bytes of its own.
fn copy(response: &InferResponse) -> Option<InferResponse> {
    let outputs = response.outputs.iter().map(|output| {
        let content = Bytes::copy_from_slice(output.tensor.content());
        let shape = output.tensor.shape().clone();
        let tensor = Tensor::new(output.tensor.element_type(), shape, content);
        Some(NamedTensor {
            name: output.name.clone(),
            tensor: tensor.ok()?,
        })
    });
    Some(InferResponse {
        outputs: outputs.collect::<Option<Vec<NamedTensor>>>()?,
        parameters: response.parameters.clone(),
    })
}

/// Returns about the number of bytes that a response takes.
pub(super) fn weight(response: &InferResponse) -> usize {
    let outputs = response.outputs.iter().map(|output| {
        let content = output.tensor.content().len();
        content.saturating_add(output.name.len())
    });
    let parameters = response.parameters.iter().map(parameter_bytes);
    let members = outputs
        .chain(parameters)
        .map(|bytes| bytes.saturating_add(MEMBER_BYTES));
    members.fold(ENTRY_BYTES, usize::saturating_add)
}

fn parameter_bytes(parameter: &Parameter) -> usize {
    let text = match &parameter.value {
        ParameterValue::String(text) => text.len(),
        ParameterValue::Bool(_)
        | ParameterValue::Int64(_)
        | ParameterValue::Uint64(_)
        | ParameterValue::Double(_) => 0,
    };
    text.saturating_add(parameter.name.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response_cache::policy::CachePolicy;
    use crate::tenants::tenant_id::TenantId;
    use wisp_protocol::call::InferRequest;
    use wisp_tensor::{ElementType, MemoryBudget, Shape};

    async fn key(number: u32) -> CacheKey {
        let mut identity = [0; 32];
        identity[..4].copy_from_slice(&number.to_le_bytes());
        let policy = CachePolicy {
            identity,
            ttl: Duration::from_secs(1),
        };
        let request = InferRequest {
            inputs: Vec::new(),
            parameters: Vec::new(),
            outputs: Vec::new(),
            scheduling: Default::default(),
        };
        CacheKey::of(&TenantId::local(), &policy, &request).await
    }

    fn response(content: Bytes) -> InferResponse {
        let size = u32::try_from(content.len()).unwrap();
        let shape = Shape::new(vec![size]).unwrap();
        InferResponse {
            outputs: vec![NamedTensor {
                name: "y".to_owned(),
                tensor: Tensor::new(ElementType::Uint8, shape, content).unwrap(),
            }],
            parameters: Vec::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_is_remembered_until_its_time_is_over() {
        let cache = MemoryCache::new(1 << 20);
        let (key, other) = (key(1).await, key(2).await);
        let kept = response(Bytes::from_static(b"kept"));
        cache.insert((key, Owner::LOCAL), &kept, Duration::from_secs(60));
        assert_eq!(cache.get(&key), Some(kept.clone()));
        assert_eq!(cache.get(&other), None);
        tokio::time::advance(Duration::from_millis(59_999)).await;
        assert_eq!(cache.get(&key), Some(kept.clone()));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(cache.get(&key), None);
        cache.insert((key, Owner::LOCAL), &kept, Duration::from_secs(60));
        assert_eq!(cache.get(&key), Some(kept), "its time has begun again");
    }

    #[tokio::test]
    async fn the_bytes_stay_below_the_bound_after_every_insertion() {
        let cache = MemoryCache::new(20_000);
        for number in 0..500 {
            let content = Bytes::from(vec![0; 1000]);
            cache.insert(
                (key(number).await, Owner::LOCAL),
                &response(content),
                Duration::from_secs(9),
            );
            assert!(cache.bytes() <= 20_000, "{}", cache.bytes());
        }
        assert!(cache.bytes() > 10_000, "{}", cache.bytes());
        let huge = response(Bytes::from(vec![0; 30_000]));
        let huge_key = key(1000).await;
        cache.insert((huge_key, Owner::LOCAL), &huge, Duration::from_secs(9));
        assert_eq!(cache.get(&huge_key), None);
    }

    #[tokio::test]
    async fn a_tenant_that_fills_the_cache_leaves_the_responses_of_others() {
        let cache = MemoryCache::new(40_000);
        let ttl = Duration::from_secs(9);
        let (quiet, noisy) = (Owner { id: 1, weight: 1 }, Owner { id: 2, weight: 1 });
        let kept = response(Bytes::from(vec![1; 1000]));
        for number in 0..4 {
            cache.insert((key(number).await, quiet), &kept, ttl);
        }
        for number in 100..600 {
            let content = Bytes::from(vec![0; 1000]);
            let key = key(number).await;
            cache.insert((key, noisy), &response(content), ttl);
            // Responses that are used often are the last to leave.
            cache.get(&key);
            cache.get(&key);
        }
        for number in 0..4 {
            assert_eq!(
                cache.get(&key(number).await),
                Some(kept.clone()),
                "{number}"
            );
        }
        assert!(cache.get(&key(599).await).is_some(), "the newest");
        assert_eq!(cache.get(&key(500).await), None);
        let others = Owner { id: 3, weight: 1 };
        cache.insert((key(700).await, others), &kept, ttl);
        assert!(cache.get(&key(700).await).is_some());
        assert!(cache.bytes() <= 20_000, "{}", cache.bytes());
    }

    #[tokio::test]
    async fn replaced_responses_do_not_count_and_responses_beyond_a_share_are_not_remembered() {
        let cache = MemoryCache::new(40_000);
        let ttl = Duration::from_secs(9);
        let owner = Owner { id: 1, weight: 1 };
        let large = response(Bytes::from(vec![1; 5000]));
        let (one, other) = (key(1).await, key(2).await);
        for _ in 0..100 {
            cache.insert((one, owner), &large, ttl);
        }
        let small = response(Bytes::from(vec![1; 2000]));
        cache.insert((one, owner), &small, ttl);
        cache.insert((other, owner), &large, ttl);
        assert!(cache.get(&one).is_some() && cache.get(&other).is_some());
        // More than the share of a tenant, and less than the cache.
        let huge = response(Bytes::from(vec![1; 15_000]));
        cache.insert((key(3).await, owner), &huge, ttl);
        assert_eq!(cache.get(&key(3).await), None);
        cache.insert((key(3).await, Owner::LOCAL), &huge, ttl);
        assert!(cache.get(&key(3).await).is_some());
    }

    #[tokio::test]
    async fn a_cache_of_no_bytes_remembers_nothing() {
        let cache = MemoryCache::new(0);
        let key = key(1).await;
        let unkept = response(Bytes::new());
        cache.insert((key, Owner::LOCAL), &unkept, Duration::from_secs(9));
        assert_eq!(cache.get(&key), None);
    }

    #[tokio::test]
    async fn a_remembered_response_keeps_no_memory_of_its_request() {
        let budget = Arc::new(MemoryBudget::new(1000));
        let mut reservation = budget.reservation();
        assert!(reservation.grow(100));
        let body = reservation.keep_for(vec![7; 100]);
        let cache = MemoryCache::new(1 << 20);
        let key = key(1).await;
        cache.insert(
            (key, Owner::LOCAL),
            &response(body.slice(10..20)),
            Duration::from_secs(9),
        );
        drop(body);
        assert_eq!(budget.reserved(), 0);
        let remembered = cache.get(&key).unwrap();
        assert_eq!(remembered.outputs[0].tensor.content()[..], [7; 10]);
    }

    #[test]
    fn names_and_parameters_weigh_too() {
        let mut heavy = response(Bytes::from(vec![0; 100]));
        let light = weight(&heavy);
        heavy.parameters.push(Parameter {
            name: "n".repeat(1000),
            value: ParameterValue::String("v".repeat(2000)),
        });
        assert_eq!(weight(&heavy), light + 3000 + MEMBER_BYTES);
    }
}
