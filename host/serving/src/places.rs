//! A bounded number of places for the calls of one model version, first come, first served.
//!
//! A call that would probably wait beyond its deadline is refused at once. The estimate uses the number
//! of waiting calls and the time that places were recently held.

use crate::expected_wait::{Crowded, ExpectedWait, InFlight};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of a model version. Lifetime: a model version.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    /// The expected wait for a place, by the time that places were recently held.
    wait: Arc<ExpectedWait>,
}

/// One place, which becomes free when it is dropped. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct Place {
    of: Arc<Places>,
    since: Instant,
    _permit: OwnedSemaphorePermit,
    _in_flight: InFlight,
}

impl Places {
    /// Returns `count` places, at least 1. A count above the limit of a semaphore is no bound in practice.
    pub(crate) fn new(count: usize) -> Arc<Places> {
        let count = count.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Places {
            free: Arc::new(Semaphore::new(count)),
            wait: ExpectedWait::new(count),
        })
    }

    /// Waits for a place. The caller bounds the wait by `deadline`.
    ///
    /// # Errors
    /// Returns [`Crowded`] if the wait would probably outlast `deadline`, or if it has left too little time.
    pub(crate) async fn enter(self: &Arc<Places>, deadline: Instant) -> Result<Place, Crowded> {
        let free = Arc::clone(&self.free);
        let call = self.wait.begin();
        if let Ok(permit) = Arc::clone(&free).try_acquire_owned() {
            return Ok(self.place(permit, call));
        }
        call.check_wait(deadline)?;
        // The semaphore is never closed; if it were, no place would be available either.
        let permit = free.acquire_owned().await.map_err(|_| Crowded)?;
        self.wait.check_start(Instant::now(), deadline)?;
        Ok(self.place(permit, call))
    }

    fn place(self: &Arc<Places>, permit: OwnedSemaphorePermit, call: InFlight) -> Place {
        Place {
            of: Arc::clone(self),
            since: Instant::now(),
            _permit: permit,
            _in_flight: call,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.wait.record(self.since.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Returns places after 100 calls that each held one for `held`.
    fn held_for(count: usize, held: Duration) -> Arc<Places> {
        let places = Places::new(count);
        for _ in 0..100 {
            places.wait.record(held);
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
        // The two waiting calls wait a turn of 4 s and take one themselves; a third would end after 12 s.
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
    async fn a_call_that_gives_up_waiting_is_no_longer_counted() -> anyhow::Result<()> {
        let places = held_for(1, Duration::from_secs(4));
        let deadline = Instant::now() + Duration::from_secs(10);
        let _taken = places.enter(deadline).await?;
        {
            let mut waiting = pin!(places.enter(deadline));
            assert!(poll(waiting.as_mut()).is_pending());
            assert_eq!(places.enter(deadline).await.err(), Some(Crowded));
        }
        let mut next = pin!(places.enter(deadline));
        assert!(poll(next.as_mut()).is_pending());
        Ok(())
    }
}
