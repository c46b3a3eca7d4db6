//! The usage of all tenants and model versions, those that have been unloaded since included.
//!
//! A cell is kept until its version is unloaded and its last request has ended, and, if somebody takes the usage, until
//! the rest has been taken. The number of cells is therefore bounded by the tenants and the versions that were loaded
//! since the usage was last taken.

use super::usage_cell::{UsageCell, UsageKey};
use super::usage_counters::UsageCounters;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The number of cells above which those that nobody uses are removed when one is added.
const MIN_CLEANING: usize = 64;

/// The usage of all tenants and model versions. Lifetime: the process.
#[derive(Debug, Default)]
pub struct UsageBook {
    /// Set if somebody takes the usage from time to time, so that cells are kept until then.
    is_taken: AtomicBool,
    cells: Mutex<Cells>,
}

#[derive(Debug, Default)]
struct Cells {
    cells: Vec<Arc<UsageCell>>,
    /// The number of cells after the last cleaning.
    cleaned: usize,
}

impl UsageBook {
    /// Keeps the usage of versions that are unloaded until it is taken with [`UsageBook::take`].
    pub fn keep_until_taken(&self) {
        self.is_taken.store(true, Relaxed);
    }

    /// Returns a new cell, which somebody else keeps as long as it may be used.
    pub fn open(&self, key: UsageKey) -> Arc<UsageCell> {
        let cell = Arc::new(UsageCell::new(key));
        let mut cells = self.lock();
        if !self.is_taken.load(Relaxed) && cells.is_due() {
            cells.remove_unused();
        }
        cells.cells.push(Arc::clone(&cell));
        cell
    }

    /// Returns the usage of each tenant and model version since the last call, without those that used nothing.
    pub fn take(&self) -> Vec<(UsageKey, UsageCounters)> {
        let mut cells = self.lock();
        let mut used: BTreeMap<UsageKey, UsageCounters> = BTreeMap::new();
        cells.cells.retain(|cell| {
            // Before it is taken: a request that ends in between is found by the next call.
            let is_used = Arc::strong_count(cell) > 1;
            let taken = cell.take();
            if !taken.is_empty() {
                // A version that was loaded again has a second cell.
                let sum = used.entry(cell.key().clone()).or_default();
                *sum = sum.plus(&taken);
            }
            is_used
        });
        used.into_iter().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Cells> {
        // No code panics while the lock is held, so a poisoned lock still guards consistent cells.
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cells {
    /// Returns whether the number of cells has doubled since the last cleaning.
    fn is_due(&self) -> bool {
        self.cells.len() >= self.cleaned.saturating_mul(2).max(MIN_CLEANING)
    }

    fn remove_unused(&mut self) {
        self.cells.retain(|cell| Arc::strong_count(cell) > 1);
        self.cleaned = self.cells.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenants::tenant_id::TenantId;
    use wisp_protocol::call::{ModelName, Version};

    fn key(tenant: &str, model: &str) -> anyhow::Result<UsageKey> {
        Ok(UsageKey {
            tenant: tenant.parse()?,
            owner: TenantId::local(),
            model: ModelName::new(model)?,
            version: Version::FIRST,
        })
    }

    fn requests(requests: u64) -> UsageCounters {
        UsageCounters {
            requests,
            ..UsageCounters::default()
        }
    }

    #[test]
    fn each_request_is_taken_once_and_stays_in_the_total() -> anyhow::Result<()> {
        let book = UsageBook::default();
        let cell = book.open(key("acme", "wine")?);
        assert!(book.take().is_empty());
        cell.add(&requests(2));
        assert_eq!(book.take(), [(key("acme", "wine")?, requests(2))]);
        cell.add(&requests(1));
        assert_eq!(book.take(), [(key("acme", "wine")?, requests(1))]);
        assert!(book.take().is_empty());
        assert_eq!(cell.total(), requests(3));
        Ok(())
    }

    #[test]
    fn the_rest_of_an_unloaded_version_is_added_to_that_of_its_next_load() -> anyhow::Result<()> {
        let book = UsageBook::default();
        book.keep_until_taken();
        for _ in 0..3 {
            book.open(key("acme", "wine")?).add(&requests(1));
        }
        let other = book.open(key("other", "wine")?);
        other.add(&requests(5));
        let expected = [
            (key("acme", "wine")?, requests(3)),
            (key("other", "wine")?, requests(5)),
        ];
        assert_eq!(book.take(), expected);
        assert_eq!(book.lock().cells.len(), 1);
        Ok(())
    }

    #[test]
    fn without_a_log_the_cells_of_unloaded_versions_are_not_kept() -> anyhow::Result<()> {
        let book = UsageBook::default();
        let kept = book.open(key("acme", "wine")?);
        for number in 0..10_000 {
            book.open(key("acme", &format!("m{number}"))?)
                .add(&requests(1));
        }
        assert!(book.lock().cells.len() <= MIN_CLEANING);
        kept.add(&requests(1));
        assert!(book.take().contains(&(key("acme", "wine")?, requests(1))));
        Ok(())
    }
}
