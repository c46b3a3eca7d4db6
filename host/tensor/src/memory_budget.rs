//! A shared bound on the bytes that all requests hold together: bodies, instances and responses.
//!
//! Each of these has its own limit, but a thousand of them at their limits exceed the memory of a
//! machine. Code that is about to hold bytes first grows a [`Reservation`], which fails if the budget is
//! used up. A reservation returns its bytes to the budget when it is dropped.

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

/// The bytes that all requests may hold together. Lifetime: the process.
#[derive(Debug)]
pub struct MemoryBudget {
    capacity: usize,
    left: AtomicUsize,
    /// The largest reservation that may grow now.
    largest: AtomicUsize,
}

/// The bytes that one holder has reserved in a [`MemoryBudget`]. Lifetime: one request.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

impl MemoryBudget {
    /// Creates a budget of `bytes`.
    pub fn new(bytes: usize) -> MemoryBudget {
        MemoryBudget {
            capacity: bytes,
            left: AtomicUsize::new(bytes),
            largest: AtomicUsize::new(usize::MAX),
        }
    }

    /// Returns the total number of bytes in the budget.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns the number of bytes that are currently reserved.
    pub fn reserved(&self) -> usize {
        self.capacity.saturating_sub(self.left.load(Relaxed))
    }

    /// Sets the size up to which reservations may grow from now on, whatever is left. Larger ones keep what they have.
    pub fn set_largest_reservation(&self, bytes: usize) {
        self.largest.store(bytes, Relaxed);
    }

    /// Returns whether `bytes` could be reserved now.
    pub fn has_room(&self, bytes: usize) -> bool {
        let fits = bytes <= self.left.load(Relaxed) && bytes <= self.largest.load(Relaxed);
        fits && (bytes < MIN_PROBED_BYTES || can_allocate(bytes))
    }

    /// Creates an empty reservation.
    pub fn reservation(self: &Arc<MemoryBudget>) -> Reservation {
        Reservation {
            budget: Arc::clone(self),
            bytes: 0,
        }
    }
}

impl Reservation {
    /// Reserves `bytes` more, or returns false and changes nothing. The last sixteenth of the budget is
    /// for reservations of at most 1 MiB.
    ///
    /// A growth of 1 MiB or more also fails if that much memory cannot be allocated, because the code
    /// that follows may abort the process instead of failing.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        if bytes >= MIN_PROBED_BYTES && !can_allocate(bytes) {
            return false;
        }
        let MemoryBudget {
            capacity,
            left,
            largest,
        } = &*self.budget;
        let grown = self.bytes.saturating_add(bytes);
        if grown > largest.load(Relaxed) {
            return false;
        }
        let kept = match grown <= SMALL_BYTES {
            true => 0,
            false => capacity / KEPT_FOR_SMALL,
        };
        let take = |left: usize| left.checked_sub(bytes).filter(|left| *left >= kept);
        let taken = left.fetch_update(Relaxed, Relaxed, take);
        if taken.is_ok() {
            self.bytes += bytes;
        }
        taken.is_ok()
    }

    /// Releases `bytes`, or everything if less is reserved.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.budget.left.fetch_add(bytes, Relaxed);
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

    /// Takes over the bytes of another reservation of the same budget.
    pub fn join(&mut self, mut other: Reservation) {
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
