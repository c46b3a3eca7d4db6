//! Estimates the time that a call waits for its result behind the calls before it.
//!
//! A call that would probably end after its deadline is refused at once. An overloaded version therefore
//! still completes the calls that it admits, instead of starting work that ends too late.

use crate::moving_average::MovingAverage;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The number of waiting calls and the recent mean duration of a call. Lifetime: a model version.
#[derive(Debug)]
pub(crate) struct ExpectedWait {
    /// The number of calls that run at the same time.
    parallel: usize,
    waiting: AtomicUsize,
    /// The recent mean duration of a call.
    took: MovingAverage<3>,
}

/// The error for a call that would probably end after its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the model has more requests than it can answer in time")]
pub struct Crowded;

/// A call that is counted as waiting until this value is dropped.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<ExpectedWait>);

impl ExpectedWait {
    /// Returns an estimate without calls, for `parallel` calls that run at the same time.
    pub(crate) fn new(parallel: usize) -> Arc<ExpectedWait> {
        Arc::new(ExpectedWait {
            parallel: parallel.max(1),
            waiting: AtomicUsize::new(0),
            took: MovingAverage::default(),
        })
    }

    /// Counts a call that starts to wait.
    ///
    /// # Errors
    /// Returns [`Crowded`] if the call would probably end after `deadline`.
    pub(crate) fn begin(self: &Arc<ExpectedWait>, deadline: Instant) -> Result<Waiting, Crowded> {
        let before = self.waiting.fetch_add(1, Relaxed);
        let waiting = Waiting(Arc::clone(self));
        let turns = u32::try_from(before.div_ceil(self.parallel) + 1).unwrap_or(u32::MAX);
        let expected = self.took.get().saturating_mul(turns);
        match expected > deadline.saturating_duration_since(Instant::now()) {
            true => Err(Crowded),
            false => Ok(waiting),
        }
    }

    /// Adds the measured duration of a call.
    pub(crate) fn record(&self, took: Duration) {
        self.took.add(took);
    }
}

impl Waiting {
    /// Ends the wait: the call starts at `now`.
    ///
    /// # Errors
    /// Returns [`Crowded`] if the call would probably end after `deadline`.
    pub(crate) fn end(self, now: Instant, deadline: Instant) -> Result<(), Crowded> {
        match self.0.took.get() > deadline.saturating_duration_since(now) {
            true => Err(Crowded),
            false => Ok(()),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an estimate after 100 calls that each took `took`.
    fn calls_of(parallel: usize, took: Duration) -> Arc<ExpectedWait> {
        let wait = ExpectedWait::new(parallel);
        for _ in 0..100 {
            wait.record(took);
        }
        wait
    }

    #[test]
    fn a_call_that_could_not_be_answered_in_time_is_refused_at_once() -> anyhow::Result<()> {
        let wait = calls_of(2, Duration::from_secs(4));
        let deadline = Instant::now() + Duration::from_secs(10);
        // The third call waits one turn of 4 s before its own turn; the fourth would end after 12 s.
        let _waiting = (
            wait.begin(deadline)?,
            wait.begin(deadline)?,
            wait.begin(deadline)?,
        );
        assert_eq!(wait.begin(deadline).err(), Some(Crowded));
        Ok(())
    }

    #[test]
    fn a_call_that_has_waited_too_long_is_refused_when_its_turn_comes() -> anyhow::Result<()> {
        let wait = calls_of(1, Duration::from_secs(4));
        let arrived = Instant::now();
        let deadline = arrived + Duration::from_secs(10);
        assert_eq!(wait.begin(deadline)?.end(arrived, deadline), Ok(()));
        let late = arrived + Duration::from_secs(7);
        assert_eq!(wait.begin(deadline)?.end(late, deadline), Err(Crowded));
        Ok(())
    }

    #[test]
    fn a_call_that_gives_up_waiting_is_no_longer_counted() -> anyhow::Result<()> {
        let wait = calls_of(1, Duration::from_secs(4));
        let deadline = Instant::now() + Duration::from_secs(10);
        for _ in 0..10 {
            drop(wait.begin(deadline)?);
        }
        Ok(())
    }
}
