//! The owner of work: the party that shares the server with others, such as a tenant.
//!
//! Everything that is queued or measured has an owner. Between the owners that have work, each resource is shared by their
//! weights and by measured cost ([`owner_accounts`](crate::owner_accounts)); an [`OwnerShare`] bounds what one of them
//! may have admitted. Owners are plain numbers that callers assign. Without tenants, all work belongs
//! to [`Owner::LOCAL`], which no share bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use wisp_sandbox::compute::Payer;
use wisp_tensor::ByteShare;

/// A party that work belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The number of the owner. No two owners that exist at the same time have the same one.
    pub id: u32,
    /// The part of each resource that the owner gets, relative to the weights of the others that want it. 0 counts
    /// as 1.
    pub weight: u32,
}

/// An owner, its requests that hold a permit, and the memory that they have reserved. Lifetime: as the owner, so that it is kept when the owner's
/// settings are loaded again.
#[derive(Debug)]
pub struct OwnerShare {
    owner: Owner,
    /// The same for all weights that the owner has had.
    admitted: Arc<AtomicUsize>,
    memory: ByteShare,
}

/// One request of an owner, counted until this value is dropped. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct OwnedRequest(Arc<OwnerShare>);

impl Owner {
    /// The owner of all work of a server without tenants, and of the server's own work.
    pub const LOCAL: Owner = Owner { id: 0, weight: 1 };

    /// Returns whether this is the owner without a share, regardless of its weight.
    pub fn is_local(self) -> bool {
        self.id == Owner::LOCAL.id
    }
}

impl Default for Owner {
    fn default() -> Owner {
        Owner::LOCAL
    }
}

impl From<Owner> for Payer {
    fn from(owner: Owner) -> Payer {
        Payer {
            id: owner.id,
            weight: owner.weight,
            ..Payer::default()
        }
    }
}

impl From<&Payer> for Owner {
    fn from(payer: &Payer) -> Owner {
        Owner {
            id: payer.id,
            weight: payer.weight,
        }
    }
}

impl OwnerShare {
    /// Returns the share of an owner without requests.
    pub fn new(owner: Owner) -> Arc<OwnerShare> {
        Arc::new(OwnerShare {
            owner,
            admitted: Arc::default(),
            memory: ByteShare::default(),
        })
    }

    /// Returns the share with another weight, which counts the same requests.
    pub(crate) fn with_weight(&self, weight: u32) -> Arc<OwnerShare> {
        let owner = Owner {
            weight,
            ..self.owner
        };
        Arc::new(OwnerShare {
            owner,
            admitted: Arc::clone(&self.admitted),
            memory: self.memory.clone(),
        })
    }

    /// Returns the memory that the requests of the owner have reserved.
    pub fn memory(&self) -> &ByteShare {
        &self.memory
    }

    /// Returns the owner.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Returns the number of its requests that hold a permit now.
    pub fn admitted(&self) -> usize {
        self.admitted.load(Relaxed)
    }

    /// Counts a request, and returns the number of those before it.
    pub(crate) fn enter(self: Arc<OwnerShare>) -> (OwnedRequest, usize) {
        let before = self.admitted.fetch_add(1, Relaxed);
        (OwnedRequest(self), before)
    }
}

impl OwnedRequest {
    /// Returns the owner of the request.
    pub(crate) fn owner(&self) -> Owner {
        self.0.owner
    }
}

impl Drop for OwnedRequest {
    fn drop(&mut self) {
        self.0.admitted.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_until_it_ends() {
        let share = OwnerShare::new(Owner { id: 3, weight: 2 });
        let (first, before) = Arc::clone(&share).enter();
        assert_eq!((before, first.owner().id), (0, 3));
        let (second, before) = Arc::clone(&share).enter();
        assert_eq!((before, share.admitted()), (1, 2));
        drop((first, second));
        assert_eq!(share.admitted(), 0);
    }

    #[test]
    fn a_share_with_another_weight_has_the_requests_of_before() {
        let share = OwnerShare::new(Owner { id: 3, weight: 2 });
        let (before, _) = Arc::clone(&share).enter();
        let heavier = share.with_weight(5);
        assert_eq!(heavier.owner(), Owner { id: 3, weight: 5 });
        let (_after, others) = Arc::clone(&heavier).enter();
        assert_eq!((others, share.admitted()), (1, 2));
        drop(before);
        assert_eq!(heavier.admitted(), 1);
    }

    #[test]
    fn only_the_local_owner_has_no_share() {
        assert!(Owner::default().is_local());
        assert!(Owner { id: 0, weight: 9 }.is_local());
        assert!(!Owner { id: 1, weight: 1 }.is_local());
    }

    #[test]
    fn an_owner_is_the_payer_of_its_computations() {
        let owner = Owner { id: 7, weight: 4 };
        assert_eq!(Owner::from(&Payer::from(owner)), owner);
    }
}
