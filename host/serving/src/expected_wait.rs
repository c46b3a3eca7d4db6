//! Estimates the time that a call waits for its result behind the calls before it.
//!
//! A call that would probably end after its deadline is refused at once. An overloaded version therefore
//! still completes the calls that it admits, instead of starting work that ends too late. Owners are served in turns,
//! so that a call waits for those before it of its own owner, and for the parts of the others meanwhile.

use crate::moving_average::MovingAverage;
use crate::owner::Owner;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The multiple of the expected time that a call which has to wait must have left.
const MARGIN: u32 = 2;

/// The number of calls in flight and the recent mean duration of a call. Lifetime: a model version.
#[derive(Debug)]
pub(crate) struct ExpectedWait {
    /// The number of calls that run at the same time.
    parallel: usize,
    in_flight: AtomicUsize,
    /// The calls in flight of each owner other than the local one, without those that have none.
    of_owners: Mutex<Vec<OwnedCalls>>,
    /// The recent mean duration of a call.
    took: MovingAverage<3>,
    /// The recent mean time that a thread spends for one call. It is shorter if several calls are made together.
    share: MovingAverage<3>,
}

/// The error for a call that would probably end after its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the model has more requests than it can process in time")]
pub struct WouldMissDeadline;

/// The calls in flight of one owner.
#[derive(Debug, Clone, Copy)]
struct OwnedCalls {
    owner: Owner,
    calls: usize,
}

/// A call that waits or runs, counted as in flight until this value is dropped. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct InFlight {
    of: Arc<ExpectedWait>,
    owner: Owner,
    /// The number of calls that were in flight before this one.
    before: usize,
    /// The number of calls that are served before this one.
    ahead: usize,
}

impl ExpectedWait {
    /// Returns an estimate without calls, for `parallel` calls that run at the same time.
    pub(crate) fn new(parallel: usize) -> Arc<ExpectedWait> {
        Arc::new(ExpectedWait {
            parallel: parallel.max(1),
            in_flight: AtomicUsize::new(0),
            of_owners: Mutex::default(),
            took: MovingAverage::default(),
            share: MovingAverage::default(),
        })
    }

    /// Counts a call of an owner as in flight.
    pub(crate) fn begin(self: &Arc<ExpectedWait>, owner: Owner) -> InFlight {
        let before = self.in_flight.fetch_add(1, Relaxed);
        let ahead = match owner.is_local() {
            true => before,
            false => self.enter(owner).min(before),
        };
        InFlight {
            owner,
            before,
            ahead,
            of: Arc::clone(self),
        }
    }

    /// Counts a call of an owner other than the local one. Returns the number of calls that are served before it, if the
    /// owners that have some now keep having them.
    fn enter(&self, owner: Owner) -> usize {
        let mut owners = self.lock_owners();
        let position = owners.iter().position(|of| of.owner.id == owner.id);
        let position = position.unwrap_or_else(|| {
            owners.push(OwnedCalls { owner, calls: 0 });
            owners.len() - 1
        });
        let weights = owners.iter().map(|of| u64::from(of.owner.weight.max(1)));
        let all = weights.fold(0, u64::saturating_add);
        let Some(own) = owners.get_mut(position) else {
            return 0;
        };
        let before = u64::try_from(own.calls).unwrap_or(u64::MAX);
        own.calls = own.calls.saturating_add(1);
        let ahead = before.saturating_mul(all) / u64::from(owner.weight.max(1));
        usize::try_from(ahead).unwrap_or(usize::MAX)
    }

    fn leave(&self, owner: Owner) {
        let mut owners = self.lock_owners();
        if let Some(position) = owners.iter().position(|of| of.owner.id == owner.id)
            && let Some(own) = owners.get_mut(position)
        {
            own.calls = own.calls.saturating_sub(1);
            if own.calls == 0 {
                owners.swap_remove(position);
            }
        }
    }

    fn lock_owners(&self) -> MutexGuard<'_, Vec<OwnedCalls>> {
        // No code panics while the lock is held.
        self.of_owners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the measured duration of this many calls that were made together.
    pub(crate) fn record(&self, took: Duration, calls: usize) {
        self.took.add(took);
        let calls = u32::try_from(calls).unwrap_or(u32::MAX);
        self.share.add(took / calls.max(1));
    }

    /// Returns an error if a call that starts at `now`, after a wait, would probably end after `deadline`.
    ///
    /// # Errors
    /// Returns [`WouldMissDeadline`] if the mean duration of a call is longer than the remaining time.
    pub(crate) fn check_start(
        &self,
        now: Instant,
        deadline: Instant,
    ) -> Result<(), WouldMissDeadline> {
        match self.took.get() > deadline.saturating_duration_since(now) {
            true => Err(WouldMissDeadline),
            false => Ok(()),
        }
    }
}

impl InFlight {
    /// Returns whether the call has to wait for the end of another one.
    pub(crate) fn has_to_wait(&self) -> bool {
        self.before >= self.of.parallel
    }

    /// Returns an error if the call has to wait and might end after `deadline`. Calls can take longer than the
    /// mean, and a call that is refused only on its turn has waited for nothing, so twice the expected time
    /// must be left.
    ///
    /// # Errors
    /// Returns [`WouldMissDeadline`] if the calls before it leave too little time. A call that can start at once is
    /// never refused, however long the calls before it took.
    pub(crate) fn check_wait(&self, deadline: Instant) -> Result<(), WouldMissDeadline> {
        let turns = u32::try_from(self.ahead / self.of.parallel).unwrap_or(u32::MAX);
        let wait = self.of.share.get().saturating_mul(turns);
        let expected = wait.saturating_add(self.of.took.get());
        let needed = expected.saturating_mul(MARGIN);
        let remaining = deadline.saturating_duration_since(Instant::now());
        match self.has_to_wait() && needed > remaining {
            true => Err(WouldMissDeadline),
            false => Ok(()),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.of.in_flight.fetch_sub(1, Relaxed);
        if !self.owner.is_local() {
            self.of.leave(self.owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an estimate after 100 calls that each took `took`.
    fn calls_of(parallel: usize, took: Duration) -> Arc<ExpectedWait> {
        let wait = ExpectedWait::new(parallel);
        for _ in 0..100 {
            wait.record(took, 1);
        }
        wait
    }

    #[test]
    fn a_call_that_would_end_too_late_is_refused_before_it_waits() {
        let wait = calls_of(2, Duration::from_secs(4));
        let deadline = Instant::now() + Duration::from_secs(20);
        // Two calls run, and two wait one turn of 4 s before their own; a fifth would end after 12 s, and twice
        // that is too late.
        let _calls = [
            wait.begin(Owner::LOCAL),
            wait.begin(Owner::LOCAL),
            wait.begin(Owner::LOCAL),
        ];
        let fourth = wait.begin(Owner::LOCAL);
        assert_eq!(fourth.check_wait(deadline), Ok(()));
        assert_eq!(
            wait.begin(Owner::LOCAL).check_wait(deadline),
            Err(WouldMissDeadline)
        );
        // A call that is no longer in flight makes room for another one.
        drop(fourth);
        assert_eq!(wait.begin(Owner::LOCAL).check_wait(deadline), Ok(()));
    }

    #[test]
    fn calls_that_are_made_together_shorten_the_wait() {
        let wait = ExpectedWait::new(1);
        for _ in 0..100 {
            wait.record(Duration::from_secs(4), 8);
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        // Seven calls before it take 3.5 s and the call 4 s, of which twice the sum is left.
        let calls: Vec<InFlight> = (0..7).map(|_| wait.begin(Owner::LOCAL)).collect();
        assert_eq!(wait.begin(Owner::LOCAL).check_wait(deadline), Ok(()));
        drop(calls);
        let _calls: Vec<InFlight> = (0..20).map(|_| wait.begin(Owner::LOCAL)).collect();
        assert_eq!(
            wait.begin(Owner::LOCAL).check_wait(deadline),
            Err(WouldMissDeadline)
        );
    }

    #[test]
    fn a_call_that_can_start_at_once_is_never_refused() {
        let wait = calls_of(1, Duration::from_secs(100));
        let deadline = Instant::now() + Duration::from_secs(10);
        let call = wait.begin(Owner::LOCAL);
        assert!(!call.has_to_wait());
        assert_eq!(call.check_wait(deadline), Ok(()));
    }

    #[test]
    fn a_call_that_has_waited_too_long_is_refused_on_its_turn() {
        let wait = calls_of(1, Duration::from_secs(4));
        let arrived = Instant::now();
        let deadline = arrived + Duration::from_secs(10);
        assert_eq!(wait.check_start(arrived, deadline), Ok(()));
        let late = arrived + Duration::from_secs(7);
        assert_eq!(wait.check_start(late, deadline), Err(WouldMissDeadline));
    }
    #[test]
    fn the_calls_of_one_owner_do_not_keep_those_of_another_from_trying() {
        let wait = calls_of(1, Duration::from_secs(1));
        let deadline = Instant::now() + Duration::from_secs(10);
        let (noisy, quiet) = (Owner { id: 1, weight: 1 }, Owner { id: 2, weight: 1 });
        let flood: Vec<InFlight> = (0..100).map(|_| wait.begin(noisy)).collect();
        assert_eq!(
            wait.begin(noisy).check_wait(deadline),
            Err(WouldMissDeadline)
        );
        let first = wait.begin(quiet);
        assert!(first.has_to_wait());
        assert_eq!(first.check_wait(deadline), Ok(()));
        // Each call of its own is followed by one of the other owner, so that the fourth ends after 7 s at best.
        let _more = [wait.begin(quiet), wait.begin(quiet)];
        assert_eq!(
            wait.begin(quiet).check_wait(deadline),
            Err(WouldMissDeadline)
        );
        drop(flood);
        assert_eq!(wait.lock_owners().len(), 1);
    }
}
