//! The totals of one tenant and one model version.

use super::usage_counters::UsageCounters;
use crate::tenants::tenant_id::TenantId;
use std::sync::{Mutex, MutexGuard, PoisonError};
use wisp_protocol::call::{ModelName, Version};

/// A tenant and the model version that it uses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageKey {
    /// The tenant whose requests are counted.
    pub tenant: TenantId,
    /// The tenant that owns the model: the same one, or `local` for a public model.
    pub owner: TenantId,
    pub model: ModelName,
    pub version: Version,
}

/// The totals of one tenant and one model version. Lifetime: from the first request until the version is unloaded, and
/// what is left has been read.
#[derive(Debug)]
pub struct UsageCell {
    key: UsageKey,
    sums: Mutex<Sums>,
}

/// The sums of the requests that have ended.
#[derive(Debug, Default)]
struct Sums {
    total: UsageCounters,
    /// The part of the total that has not been taken.
    untaken: UsageCounters,
}

impl UsageCell {
    /// Returns a cell without requests.
    pub fn new(key: UsageKey) -> UsageCell {
        UsageCell {
            key,
            sums: Mutex::default(),
        }
    }

    /// Returns the tenant and the model version.
    pub fn key(&self) -> &UsageKey {
        &self.key
    }

    /// Adds the use by one request.
    pub fn add(&self, used: &UsageCounters) {
        let mut sums = self.lock();
        sums.total = sums.total.plus(used);
        sums.untaken = sums.untaken.plus(used);
    }

    /// Returns the use by all requests that have ended.
    pub fn total(&self) -> UsageCounters {
        self.lock().total
    }

    /// Returns the use by the requests that have ended since the last call.
    pub fn take(&self) -> UsageCounters {
        std::mem::take(&mut self.lock().untaken)
    }

    fn lock(&self) -> MutexGuard<'_, Sums> {
        // No code panics while the lock is held, so a poisoned lock still guards consistent sums.
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
