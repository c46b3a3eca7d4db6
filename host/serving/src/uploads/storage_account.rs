//! The bytes that a repository holds, within a limit.
//!
//! They are counted once when uploads are opened, and then with every file that arrives or is deleted. What an operator
//! adds meanwhile counts from the next start on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The bytes of a repository. Lifetime: the process.
#[derive(Debug)]
pub(crate) struct StorageAccount {
    limit: u64,
    used: Mutex<u64>,
}

/// The bytes of a file that is arriving. They are given back on drop, unless the file is kept.
#[derive(Debug)]
pub(crate) struct StorageReservation {
    account: Arc<StorageAccount>,
    bytes: u64,
}

impl StorageAccount {
    /// Returns an account of a repository with this many bytes.
    pub(crate) fn new(limit: u64, used: u64) -> StorageAccount {
        StorageAccount {
            limit,
            used: Mutex::new(used),
        }
    }

    /// Returns a reservation of no bytes.
    pub(crate) fn reservation(self: &Arc<StorageAccount>) -> StorageReservation {
        StorageReservation {
            account: Arc::clone(self),
            bytes: 0,
        }
    }

    /// Returns the largest number of bytes.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns whether this many further bytes would fit now.
    pub(crate) fn fits(&self, bytes: u64) -> bool {
        self.lock().saturating_add(bytes) <= self.limit
    }

    /// Gives back the bytes of files that have been deleted.
    pub(crate) fn release(&self, bytes: u64) {
        let mut used = self.lock();
        *used = used.saturating_sub(bytes);
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        // No code panics while the lock is held, so a poisoned lock still guards a valid number.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageReservation {
    /// Reserves further bytes. Returns false, and reserves nothing, if they do not fit.
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        let mut used = self.account.lock();
        let after = used.saturating_add(bytes);
        if after > self.account.limit {
            return false;
        }
        *used = after;
        self.bytes = self.bytes.saturating_add(bytes);
        true
    }

    /// Returns the account.
    pub(crate) fn account(&self) -> &Arc<StorageAccount> {
        &self.account
    }

    /// Leaves the bytes counted, because their file is kept.
    pub(crate) fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for StorageReservation {
    fn drop(&mut self) {
        self.account.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_kept_files_stay_counted_and_others_are_given_back() {
        let account = Arc::new(StorageAccount::new(100, 40));
        let mut first = account.reservation();
        assert!(first.grow(50));
        assert!(!first.grow(11));
        assert!(account.fits(10) && !account.fits(11));
        drop(first);
        assert!(account.fits(60));
        let mut second = account.reservation();
        assert!(second.grow(60));
        second.keep();
        assert!(!account.fits(1));
        account.release(60);
        assert!(account.fits(60));
    }
}
