//! A shared bound on the bytes that all requests hold together: bodies, instances and responses.
//!
//! Each of these has its own limit, but a thousand of them at their limits exceed the memory of a
//! machine. Code that is about to hold bytes first grows a [`Reservation`], which fails if the budget is
//! used up. A reservation returns its bytes to the budget when it is dropped.
//!
//! A budget can be divided among owners: what one of them reserves counts in its [`ByteShare`], which is bounded by what
//! is left. This module does not know who an owner is, and a budget without a share is bounded by its capacity alone.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The smallest reservation for which the allocator is probed.
const MIN_PROBED_BYTES: usize = 1 << 20;

/// The largest reservation that may use the last bytes of a budget.
const SMALL_BYTES: usize = 1 << 20;

/// The divisor for the part of a budget that only small reservations may use: large requests that use up
/// the rest do not block small ones.
const KEPT_FOR_SMALL: usize = 16;

/// The multiple of the bytes left that one owner may reserve. With 7, one owner alone reserves at most 7/8 of the
/// budget, two 14/15 together, and so on, so that some bytes are always left for the others.
const SHARE_OF_LEFT: usize = 7;

/// The bytes that all requests may hold together, for everyone or for one owner. Lifetime: the process, or that of the
/// owner.
#[derive(Debug)]
pub struct MemoryBudget {
    pool: Arc<Pool>,
    /// The bytes of the owner; `None` for a budget that no share bounds.
    share: Option<ByteShare>,
}

/// The bytes of a budget, whoever reserves them.
#[derive(Debug)]
struct Pool {
    capacity: usize,
    left: AtomicUsize,
    /// The largest reservation that may grow now.
    largest: AtomicUsize,
}

/// The bytes that one owner has reserved in a [`MemoryBudget`]. Clones count the same bytes. Lifetime: that of the owner.
#[derive(Debug, Clone, Default)]
pub struct ByteShare(Arc<AtomicUsize>);

/// The bytes that one holder has reserved in a [`MemoryBudget`]. Lifetime: one request.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

// === impl ByteShare ===

impl ByteShare {
    /// Returns the number of bytes that the owner has reserved.
    pub fn reserved(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// Counts `bytes` that the owner reserves, after which `left` are left for all, or returns false and changes nothing.
    fn take(&self, bytes: usize, left: usize) -> bool {
        let reserved = self.0.fetch_add(bytes, Relaxed).saturating_add(bytes);
        let fits = is_within_share(reserved, left);
        if !fits {
            self.0.fetch_sub(bytes, Relaxed);
        }
        fits
    }
}

/// Returns whether an owner may reserve this number of bytes together while `left` are left for all.
fn is_within_share(reserved: usize, left: usize) -> bool {
    reserved <= left.saturating_mul(SHARE_OF_LEFT)
}

// === impl MemoryBudget ===

impl MemoryBudget {
    /// Creates a budget of `bytes`.
    pub fn new(bytes: usize) -> MemoryBudget {
        MemoryBudget {
            pool: Arc::new(Pool {
                capacity: bytes,
                left: AtomicUsize::new(bytes),
                largest: AtomicUsize::new(usize::MAX),
            }),
            share: None,
        }
    }

    /// Returns the same budget for the owner of `share`. What it reserves counts in both.
    pub fn for_owner(&self, share: &ByteShare) -> MemoryBudget {
        MemoryBudget {
            pool: Arc::clone(&self.pool),
            share: Some(share.clone()),
        }
    }

    /// Returns the total number of bytes in the budget.
    pub fn capacity(&self) -> usize {
        self.pool.capacity
    }

    /// Returns the number of bytes that are currently reserved, by all owners.
    pub fn reserved(&self) -> usize {
        self.pool
            .capacity
            .saturating_sub(self.pool.left.load(Relaxed))
    }

    /// Sets the size up to which reservations may grow from now on, whatever is left, for all owners. Larger ones keep what
    /// they have.
    pub fn set_largest_reservation(&self, bytes: usize) {
        self.pool.largest.store(bytes, Relaxed);
    }

    /// Returns whether `bytes` could be reserved now.
    pub fn has_room(&self, bytes: usize) -> bool {
        let Some(left) = self.pool.left.load(Relaxed).checked_sub(bytes) else {
            return false;
        };
        let is_shared = |share: &ByteShare| {
            let reserved = share.reserved().saturating_add(bytes);
            is_within_share(reserved, left)
        };
        bytes <= self.pool.largest.load(Relaxed)
            && self.share.as_ref().is_none_or(is_shared)
            && (bytes < MIN_PROBED_BYTES || can_allocate(bytes))
    }

    /// Creates an empty reservation.
    pub fn reservation(self: &Arc<MemoryBudget>) -> Reservation {
        Reservation {
            budget: Arc::clone(self),
            bytes: 0,
        }
    }
}

// === impl Reservation ===

impl Reservation {
    /// Reserves `bytes` more, or returns false and changes nothing. The last sixteenth of the budget is
    /// for reservations of at most 1 MiB, and an owner reserves at most seven times what is left.
    ///
    /// A growth of 1 MiB or more also fails if that much memory cannot be allocated, because the code
    /// that follows may abort the process instead of failing.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        if bytes >= MIN_PROBED_BYTES && !can_allocate(bytes) {
            return false;
        }
        let MemoryBudget { pool, share } = &*self.budget;
        let Pool {
            capacity,
            left,
            largest,
        } = &**pool;
        let grown = self.bytes.saturating_add(bytes);
        if grown > largest.load(Relaxed) {
            return false;
        }
        let kept = match grown <= SMALL_BYTES {
            true => 0,
            false => capacity / KEPT_FOR_SMALL,
        };
        let take = |left: usize| left.checked_sub(bytes).filter(|left| *left >= kept);
        let Ok(before) = left.fetch_update(Relaxed, Relaxed, take) else {
            return false;
        };
        if let Some(share) = share
            && !share.take(bytes, before.saturating_sub(bytes))
        {
            left.fetch_add(bytes, Relaxed);
            return false;
        }
        self.bytes += bytes;
        true
    }

    /// Releases `bytes`, or everything if less is reserved.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        let MemoryBudget { pool, share } = &*self.budget;
        if let Some(share) = share {
            share.0.fetch_sub(bytes, Relaxed);
        }
        pool.left.fetch_add(bytes, Relaxed);
    }

    /// Counts the bytes of this reservation, and those that it will have, in the share of another owner of the same budget.
    /// The bytes have been reserved, so the share may be exceeded by them.
    pub fn charge_to(&mut self, budget: &Arc<MemoryBudget>) {
        if Arc::ptr_eq(&self.budget, budget) {
            return;
        }
        if self.bytes > 0 {
            if let Some(share) = &budget.share {
                share.0.fetch_add(self.bytes, Relaxed);
            }
            if let Some(share) = &self.budget.share {
                share.0.fetch_sub(self.bytes, Relaxed);
            }
        }
        self.budget = Arc::clone(budget);
    }

    /// Returns the budget of this reservation.
    pub fn budget(&self) -> &Arc<MemoryBudget> {
        &self.budget
    }

    /// Returns the number of bytes that are reserved here.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Moves all bytes into a new reservation and leaves this one empty.
    pub fn split_off(&mut self) -> Reservation {
        let rest = self.budget.reservation();
        std::mem::replace(self, rest)
    }

    /// Takes over the bytes of another reservation of the same budget, whoever is its owner.
    pub fn join(&mut self, mut other: Reservation) {
        other.charge_to(&self.budget);
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Returns `content` as bytes that stay reserved until their last clone is dropped.
    pub fn keep_for(self, content: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(Reserved {
            content,
            _reservation: self,
        })
    }

    /// Releases all bytes of this reservation.
    pub fn release(&mut self) {
        self.shrink(self.bytes);
    }
}

/// Returns whether `bytes` could be allocated now. The pages are not touched, so this costs two system
/// calls.
fn can_allocate(bytes: usize) -> bool {
    let mut probe = Vec::<u8>::new();
    let outcome = probe.try_reserve_exact(bytes);
    // Prevents the compiler from removing the unused allocation.
    std::hint::black_box(probe.as_mut_ptr());
    outcome.is_ok()
}

/// Bytes and the reservation that accounts for them, dropped together.
struct Reserved<T> {
    content: T,
    _reservation: Reservation,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Reserved<T> {
    fn as_ref(&self) -> &[u8] {
        self.content.as_ref()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_above_the_largest_size_keep_what_they_have() {
        let budget = Arc::new(MemoryBudget::new(1000));
        let (mut large, mut small) = (budget.reservation(), budget.reservation());
        assert!(large.grow(200));
        budget.set_largest_reservation(100);
        assert!(!large.grow(1));
        assert!(small.grow(100));
        assert!(!small.grow(1));
        assert!(budget.has_room(100) && !budget.has_room(101));
        assert_eq!(budget.reserved(), 300);
        budget.set_largest_reservation(usize::MAX);
        assert!(large.grow(1));
    }

    #[test]
    fn the_last_of_the_budget_is_for_small_reservations() {
        let budget = Arc::new(MemoryBudget::new(160 << 20));
        let (mut large, mut small) = (budget.reservation(), budget.reservation());
        assert!(!large.grow(151 << 20));
        assert!(large.grow(150 << 20));
        assert!(!large.grow(1));
        assert!(small.grow(1 << 20));
        assert!(!small.grow(1), "it would not be small any more");
        assert!(budget.reservation().grow(1 << 20));
    }

    #[test]
    fn reserved_bytes_are_unavailable_until_released() {
        let budget = Arc::new(MemoryBudget::new(10));
        let (mut one, mut other) = (budget.reservation(), budget.reservation());
        assert!(one.grow(4) && one.grow(4));
        assert!(!other.grow(3));
        assert!(other.grow(2));
        assert_eq!(budget.reserved(), 10);
        other.join(one.split_off());
        drop(one);
        assert!(!other.grow(1));
        other.shrink(4);
        assert!(budget.reservation().grow(4));
        other.shrink(usize::MAX);
        assert_eq!((other.bytes(), budget.reserved()), (0, 0));
        drop(other);
        assert!(budget.reservation().grow(10));
    }

    #[test]
    fn no_owner_reserves_all_there_is_with_however_many_reservations() {
        let budget = MemoryBudget::new(800);
        let (greedy, also_greedy, quiet) = (
            ByteShare::default(),
            ByteShare::default(),
            ByteShare::default(),
        );
        let all = |share: &ByteShare| -> Vec<Reservation> {
            let owned = Arc::new(budget.for_owner(share));
            let reservations = (0..800).map_while(|_| {
                let mut reservation = owned.reservation();
                reservation.grow(1).then_some(reservation)
            });
            reservations.collect()
        };
        let first = all(&greedy);
        assert_eq!((first.len(), greedy.reserved()), (700, 700));
        let owned = Arc::new(budget.for_owner(&greedy));
        assert!(!owned.has_room(1));
        assert_eq!(budget.reserved(), 700, "a refusal changes nothing");
        let second = all(&also_greedy);
        assert_eq!(second.len(), 87);
        let owned = Arc::new(budget.for_owner(&quiet));
        assert!(owned.has_room(10) && owned.reservation().grow(10));
        drop((first, second));
        assert_eq!((budget.reserved(), greedy.reserved()), (0, 0));
    }

    #[test]
    fn without_owners_all_of_the_budget_can_be_reserved() {
        let budget = Arc::new(MemoryBudget::new(800));
        assert!(budget.has_room(800));
        assert!(budget.reservation().grow(800));
    }

    #[test]
    fn bytes_that_are_reserved_move_to_another_owner() {
        let everyone = Arc::new(MemoryBudget::new(1000));
        let (one, other) = (ByteShare::default(), ByteShare::default());
        let of_one = Arc::new(everyone.for_owner(&one));
        let of_other = Arc::new(everyone.for_owner(&other));
        let mut reservation = everyone.reservation();
        assert!(reservation.grow(100));
        reservation.charge_to(&of_one);
        assert_eq!((one.reserved(), everyone.reserved()), (100, 100));
        assert!(reservation.grow(10));
        let mut joined = of_other.reservation();
        assert!(joined.grow(5));
        joined.join(reservation);
        assert_eq!((one.reserved(), other.reserved()), (0, 115));
        assert_eq!(everyone.reserved(), 115);
        joined.charge_to(&everyone);
        assert_eq!((other.reserved(), everyone.reserved()), (0, 115));
        drop(joined);
        assert_eq!(everyone.reserved(), 0);
    }

    #[test]
    fn kept_bytes_are_reserved_until_the_last_clone_is_dropped() {
        let budget = Arc::new(MemoryBudget::new(10));
        let mut reservation = budget.reservation();
        assert!(reservation.grow(3));
        let bytes = reservation.keep_for(vec![1, 2, 3]);
        let slice = bytes.slice(1..2);
        drop(bytes);
        assert_eq!((slice.as_ref(), budget.reserved()), (&[2][..], 3));
        drop(slice);
        assert_eq!(budget.reserved(), 0);
    }
}
