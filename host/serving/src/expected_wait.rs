//! Estimates how long a call has to wait for its result behind those that came before it.
//!
//! A call that would probably end after its deadline is refused at once. Under more load than it can bear a
//! version so goes on to answer what it admits, instead of beginning work that is late before it ends.

use crate::moving_average::MovingAverage;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The calls that have not begun yet, and how long the last ones took. Lifetime: a model version.
#[derive(Debug)]
pub(crate) struct ExpectedWait {
    /// Calls that are made at once.
    parallel: usize,
    waiting: AtomicUsize,
    /// How long a call took lately.
    took: MovingAverage<3>,
}

/// As many calls wait already as can be answered before the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the model has more requests than it can answer in time")]
pub struct Crowded;

/// Counts a call that waits for as long as it does.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<ExpectedWait>);

impl ExpectedWait {
    /// No calls yet, of which `parallel` are going to be made at once.
    pub(crate) fn new(parallel: usize) -> Arc<ExpectedWait> {
        Arc::new(ExpectedWait {
            parallel: parallel.max(1),
            waiting: AtomicUsize::new(0),
            took: MovingAverage::default(),
        })
    }

    /// Counts a call that begins to wait.
    ///
    /// # Errors
    /// [`Crowded`] if it would probably end after `deadline`.
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

    /// Adds how long a call took.
    pub(crate) fn record(&self, took: Duration) {
        self.took.add(took);
    }
}

impl Waiting {
    /// Ends the wait: the call begins at `now`.
    ///
    /// # Errors
    /// [`Crowded`] if it would probably end after `deadline`.
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

    /// Calls that have taken so long lately.
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
        // The third waits for a turn of 4 s before its own; the fourth would be answered after 12 s.
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
