//! What the bodies of all requests may take together.
//!
//! Each body has a limit of its own, but a thousand of them at that limit are more than a machine has.
//! A body takes its share as its bytes come and gives it back when its request ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The bytes that are left. Lifetime: the process.
#[derive(Debug)]
pub(crate) struct BodyBudget {
    left: AtomicUsize,
}

/// What one body has taken of it. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<BodyBudget>,
    taken: usize,
}

impl BodyBudget {
    pub(crate) fn new(bytes: usize) -> BodyBudget {
        BodyBudget {
            left: AtomicUsize::new(bytes),
        }
    }

    /// A share of nothing yet.
    pub(crate) fn share(self: &Arc<BodyBudget>) -> Share {
        Share {
            budget: Arc::clone(self),
            taken: 0,
        }
    }
}

impl Share {
    /// Whether `bytes` more are left; if so they are taken.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let left = &self.budget.left;
        let taken = left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes));
        if taken.is_ok() {
            self.taken += bytes;
        }
        taken.is_ok()
    }

    /// All of this share as one of its own; here nothing is left.
    pub(crate) fn split_off(&mut self) -> Share {
        let rest = self.budget.share();
        std::mem::replace(self, rest)
    }

    /// Take over what another share of the same budget has.
    pub(crate) fn join(&mut self, mut other: Share) {
        self.taken += std::mem::take(&mut other.taken);
    }

    /// Give back what was taken so far.
    pub(crate) fn release(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        self.budget.left.fetch_add(taken, Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_body_holds_another_cannot_have_until_it_ends() {
        let budget = Arc::new(BodyBudget::new(10));
        let (mut one, mut other) = (budget.share(), budget.share());
        assert!(one.take(4) && one.take(4));
        assert!(!other.take(3));
        assert!(other.take(2));
        other.join(one.split_off());
        drop(one);
        assert!(!other.take(1));
        drop(other);
        assert!(budget.share().take(10));
    }
}
