//! The bytes that a repository holds, within a limit.
//!
//! They are counted once when uploads are opened, and then with every file that arrives or is deleted. What an operator
//! adds meanwhile counts from the next start on. The limit may change at any time; what is stored then stays.

use crate::uploads::limits::UploadLimits;
use crate::uploads::upload_error::UploadError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The bytes of a repository. Lifetime: until the repository is given up.
#[derive(Debug)]
pub(crate) struct StorageAccount {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: StorageLimit,
    used: u64,
}

/// The largest number of bytes, and who has set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StorageLimit {
    bytes: u64,
    is_of_tenant: bool,
}

/// The bytes of a file that is arriving. They are given back on drop, unless the file is kept.
#[derive(Debug)]
pub(crate) struct StorageReservation {
    account: Arc<StorageAccount>,
    bytes: u64,
}

impl StorageLimit {
    pub(crate) fn of(limits: &UploadLimits) -> StorageLimit {
        StorageLimit {
            bytes: limits.stored_bytes,
            is_of_tenant: limits.of_tenant.stored_bytes,
        }
    }

    /// Returns the refusal for bytes above the limit.
    fn refusal(self) -> UploadError {
        let limit = self.bytes;
        match self.is_of_tenant {
            true => UploadError::OverTenantBytes { limit },
            false => UploadError::StorageFull { limit },
        }
    }
}

impl State {
    /// Returns the bytes with these further ones, or an error if they do not fit.
    fn with(&self, bytes: u64) -> Result<u64, UploadError> {
        let after = self.used.saturating_add(bytes);
        match after > self.limit.bytes {
            true => Err(self.limit.refusal()),
            false => Ok(after),
        }
    }
}

impl StorageAccount {
    /// Returns an account of a repository with this many bytes.
    pub(crate) fn new(limit: StorageLimit, used: u64) -> StorageAccount {
        StorageAccount {
            state: Mutex::new(State { limit, used }),
        }
    }

    /// Replaces the limit.
    pub(crate) fn set_limit(&self, limit: StorageLimit) {
        self.lock().limit = limit;
    }

    /// Returns a reservation of no bytes.
    pub(crate) fn reservation(self: &Arc<StorageAccount>) -> StorageReservation {
        StorageReservation {
            account: Arc::clone(self),
            bytes: 0,
        }
    }

    /// Returns an error if this many further bytes would not fit now.
    pub(crate) fn check(&self, bytes: u64) -> Result<(), UploadError> {
        self.lock().with(bytes).map(|_| ())
    }

    /// Gives back the bytes of files that have been deleted.
    pub(crate) fn release(&self, bytes: u64) {
        let mut state = self.lock();
        state.used = state.used.saturating_sub(bytes);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while the lock is held, so a poisoned lock still guards a valid number.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageReservation {
    /// Reserves further bytes. If they do not fit, it reserves nothing.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), UploadError> {
        let mut state = self.account.lock();
        state.used = state.with(bytes)?;
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
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
    use crate::uploads::limits::TenantParts;

    #[test]
    fn bytes_of_kept_files_stay_counted_and_others_are_given_back() {
        let limit = StorageLimit::of(&UploadLimits {
            stored_bytes: 100,
            ..UploadLimits::default()
        });
        let account = Arc::new(StorageAccount::new(limit, 40));
        let mut first = account.reservation();
        assert!(first.grow(50).is_ok());
        assert!(first.grow(11).is_err());
        assert!(account.check(10).is_ok() && account.check(11).is_err());
        drop(first);
        assert!(account.check(60).is_ok());
        let mut second = account.reservation();
        assert!(second.grow(60).is_ok());
        second.keep();
        assert!(account.check(1).is_err());
        account.release(60);
        assert!(account.check(60).is_ok());
    }

    #[test]
    fn a_new_limit_refuses_what_is_added_from_then_on_in_the_name_of_who_has_set_it() {
        let limits = UploadLimits {
            stored_bytes: 100,
            ..UploadLimits::default()
        };
        let account = Arc::new(StorageAccount::new(StorageLimit::of(&limits), 40));
        let refused = account.check(61);
        assert!(
            matches!(refused, Err(UploadError::StorageFull { limit: 100 })),
            "{refused:?}"
        );
        account.set_limit(StorageLimit::of(&UploadLimits {
            stored_bytes: 30,
            of_tenant: TenantParts {
                stored_bytes: true,
                models: false,
            },
            ..limits
        }));
        let mut reservation = account.reservation();
        let refused = reservation.grow(1);
        assert!(
            matches!(refused, Err(UploadError::OverTenantBytes { limit: 30 })),
            "{refused:?}"
        );
        account.release(20);
        assert!(reservation.grow(1).is_ok());
    }
}
