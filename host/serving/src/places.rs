//! A bounded number of places for the calls of one model version, given first come, first served.
//!
//! A call that would have to wait beyond its deadline is refused at once: by the time that places were
//! held lately and the calls that wait already. Under more load than it can bear a version so goes on to answer
//! what it admits, instead of beginning work that is late before it ends.

use crate::moving_average::MovingAverage;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places. Lifetime: a model version.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    count: usize,
    waiting: AtomicUsize,
    /// How long a place was held lately.
    held: MovingAverage<3>,
}

/// One place, given back when dropped. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct Place {
    of: Arc<Places>,
    since: Instant,
    _permit: OwnedSemaphorePermit,
}

/// As many calls wait already as can be answered before the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the model has more requests than it can answer in time")]
pub struct Crowded;

/// Counts a call that waits for as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl Places {
    /// So many places; more than a semaphore counts are no bound at all.
    pub(crate) fn new(count: usize) -> Arc<Places> {
        let count = count.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Places {
            free: Arc::new(Semaphore::new(count)),
            count,
            waiting: AtomicUsize::new(0),
            held: MovingAverage::default(),
        })
    }

    /// Waits for a place. The caller bounds the wait by `deadline`.
    ///
    /// # Errors
    /// [`Crowded`] if the wait would probably outlast `deadline`, or has left too little time.
    pub(crate) async fn enter(self: &Arc<Places>, deadline: Instant) -> Result<Place, Crowded> {
        let free = Arc::clone(&self.free);
        if let Ok(permit) = Arc::clone(&free).try_acquire_owned() {
            return Ok(self.place(permit));
        }
        let waiting = Waiting::new(&self.waiting);
        if self.expected_wait() > deadline.saturating_duration_since(Instant::now()) {
            return Err(Crowded);
        }
        // Never closed; were it, there would be no place either.
        let permit = free.acquire_owned().await.map_err(|_| Crowded)?;
        drop(waiting);
        if self.held.get() > deadline.saturating_duration_since(Instant::now()) {
            return Err(Crowded);
        }
        Ok(self.place(permit))
    }

    fn place(self: &Arc<Places>, permit: OwnedSemaphorePermit) -> Place {
        Place {
            of: Arc::clone(self),
            since: Instant::now(),
            _permit: permit,
        }
    }

    /// How long the last of those who wait now will probably wait for its answer.
    fn expected_wait(&self) -> Duration {
        let turns = self.waiting.load(Relaxed).div_ceil(self.count) + 1;
        let turns = u32::try_from(turns).unwrap_or(u32::MAX);
        self.held.get().saturating_mul(turns)
    }
}

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Waiting<'a> {
        waiting.fetch_add(1, Relaxed);
        Waiting(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.held.add(self.since.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Places that have been held for so long lately.
    fn held_for(count: usize, held: Duration) -> Arc<Places> {
        let places = Places::new(count);
        for _ in 0..100 {
            places.held.add(held);
        }
        places
    }

    #[tokio::test]
    async fn a_place_is_had_again_when_it_was_given_back() -> anyhow::Result<()> {
        let places = Places::new(1);
        let deadline = Instant::now() + Duration::from_secs(60);
        let first = places.enter(deadline).await?;
        let mut second = pin!(places.enter(deadline));
        assert!(poll(second.as_mut()).is_pending());
        drop(first);
        assert!(matches!(poll(second.as_mut()), Poll::Ready(Ok(_))));
        Ok(())
    }

    #[tokio::test]
    async fn who_could_not_be_answered_in_time_is_refused_at_once() -> anyhow::Result<()> {
        let places = held_for(2, Duration::from_secs(4));
        let deadline = Instant::now() + Duration::from_secs(10);
        let _taken = (places.enter(deadline).await?, places.enter(deadline).await?);
        // Two wait for a turn of 4 s and have one themselves; a third would be answered after 12 s.
        let (mut first, mut second) = (pin!(places.enter(deadline)), pin!(places.enter(deadline)));
        assert!(poll(first.as_mut()).is_pending());
        assert!(poll(second.as_mut()).is_pending());
        assert_eq!(places.enter(deadline).await.err(), Some(Crowded));
        Ok(())
    }

    #[tokio::test]
    async fn a_free_place_is_given_whatever_was_measured() -> anyhow::Result<()> {
        let places = held_for(1, Duration::from_secs(100));
        let deadline = Instant::now() + Duration::from_secs(10);
        assert!(places.enter(deadline).await.is_ok());
        Ok(())
    }

    #[tokio::test]
    async fn who_gives_up_waiting_is_counted_no_more() -> anyhow::Result<()> {
        let places = Places::new(1);
        let deadline = Instant::now() + Duration::from_secs(10);
        let _taken = places.enter(deadline).await?;
        {
            let mut waiting = pin!(places.enter(deadline));
            assert!(poll(waiting.as_mut()).is_pending());
            assert_eq!(places.waiting.load(Relaxed), 1);
        }
        assert_eq!(places.waiting.load(Relaxed), 0);
        Ok(())
    }
}
