//! The bytes that each tenant has in the cache, and the responses that it loses above its share.
//!
//! The cache itself does not record the tenant of a response: one that fills it would push out those of all others. A tenant
//! beyond its share loses its oldest responses instead. The local owner has no share. This module only counts: the cache
//! reports the responses that it stores and evicts.

use crate::owner::Owner;
use crate::response_cache::key::CacheKey;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The divisor of the capacity of the cache for the responses of one tenant.
const SHARE: u64 = 4;

/// The responses of all tenants. Lifetime: the process.
#[derive(Debug)]
pub(super) struct CacheShares {
    /// The bytes that one tenant may have.
    limit: u64,
    state: Mutex<State>,
}

/// The place of a remembered response in the share of its owner; `None` without a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SharePlace(Option<(u32, u64)>);

#[derive(Debug, Default)]
struct State {
    /// The number of the next response, by which they are ordered.
    next: u64,
    owners: HashMap<u32, OwnResponses>,
}

/// The responses of one tenant, the oldest first, with their bytes.
#[derive(Debug, Default)]
struct OwnResponses {
    bytes: u64,
    responses: BTreeMap<u64, (CacheKey, u32)>,
}

impl CacheShares {
    /// Returns the shares of a cache for this number of bytes.
    pub(super) fn new(capacity: u64) -> CacheShares {
        CacheShares {
            limit: capacity / SHARE,
            state: Mutex::default(),
        }
    }

    /// Counts a response of this many bytes, before the cache remembers it. Returns its place, and what the cache has to
    /// forget for it. `None` if it is larger than the share.
    pub(super) fn add(
        &self,
        (key, owner): (CacheKey, Owner),
        bytes: u32,
    ) -> Option<(SharePlace, Vec<CacheKey>)> {
        if owner.is_local() {
            return Some((SharePlace(None), Vec::new()));
        }
        if u64::from(bytes) > self.limit {
            return None;
        }
        let mut state = self.lock();
        let number = state.next;
        state.next = state.next.wrapping_add(1);
        let own = state.owners.entry(owner.id).or_default();
        let mut forgotten = Vec::new();
        while own.bytes.saturating_add(u64::from(bytes)) > self.limit {
            let Some((_, (oldest, freed))) = own.responses.pop_first() else {
                break;
            };
            own.bytes = own.bytes.saturating_sub(u64::from(freed));
            forgotten.push(oldest);
        }
        own.bytes = own.bytes.saturating_add(u64::from(bytes));
        own.responses.insert(number, (key, bytes));
        Some((SharePlace(Some((owner.id, number))), forgotten))
    }

    /// Counts the response of this place no more, since the cache has forgotten it.
    pub(super) fn remove(&self, place: SharePlace) {
        let Some((owner, number)) = place.0 else {
            return;
        };
        let mut state = self.lock();
        let Some(own) = state.owners.get_mut(&owner) else {
            return;
        };
        if let Some((_, bytes)) = own.responses.remove(&number) {
            own.bytes = own.bytes.saturating_sub(u64::from(bytes));
        }
        if own.responses.is_empty() {
            state.owners.remove(&owner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while the lock is held, so a poisoned lock still guards a consistent state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
