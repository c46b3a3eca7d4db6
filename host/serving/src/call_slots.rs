//! A bounded number of call_slots for the calls of one model version, for which owners wait in turns.
//!
//! A call that would probably wait beyond its deadline is refused at once. The estimate uses the number
//! of waiting calls and the time that call_slots were recently held.

use crate::expected_wait::{ExpectedWait, InFlight, WouldMissDeadline};
use crate::fair_slots::{FairSlot, FairSlots};
use crate::owner::Owner;
use std::sync::Arc;
use std::time::Instant;

/// The call_slots of a model version. Lifetime: a model version.
#[derive(Debug)]
pub(crate) struct CallSlots {
    free: Arc<FairSlots>,
    /// The expected wait for a place, by the time that call_slots were recently held.
    wait: Arc<ExpectedWait>,
}

/// One place, which becomes free when it is dropped. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct CallSlot {
    of: Arc<CallSlots>,
    since: Instant,
    _permit: FairSlot,
    _in_flight: InFlight,
}

impl CallSlots {
    /// Returns `count` call_slots, at least 1.
    pub(crate) fn new(count: usize) -> Arc<CallSlots> {
        let count = count.max(1);
        Arc::new(CallSlots {
            free: FairSlots::new(count),
            wait: ExpectedWait::new(count),
        })
    }

    /// Waits for a place for a call of an owner. The caller bounds the wait by `deadline`.
    ///
    /// # Errors
    /// Returns [`WouldMissDeadline`] if the wait would probably outlast `deadline`, or if it has left too little time.
    pub(crate) async fn acquire(
        self: &Arc<CallSlots>,
        owner: Owner,
        deadline: Instant,
    ) -> Result<CallSlot, WouldMissDeadline> {
        let call = self.wait.begin(owner);
        if let Some(permit) = self.free.try_acquire(owner) {
            return Ok(self.place(permit, call));
        }
        call.check_wait(deadline)?;
        let permit = self.free.acquire(owner).await;
        self.wait.check_start(Instant::now(), deadline)?;
        Ok(self.place(permit, call))
    }

    fn place(self: &Arc<CallSlots>, permit: FairSlot, call: InFlight) -> CallSlot {
        CallSlot {
            of: Arc::clone(self),
            since: Instant::now(),
            _permit: permit,
            _in_flight: call,
        }
    }
}

impl Drop for CallSlot {
    fn drop(&mut self) {
        self.of.wait.record(self.since.elapsed(), 1);
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

    /// Returns call_slots after 100 calls that each held one for `held`.
    fn held_for(count: usize, held: Duration) -> Arc<CallSlots> {
        let call_slots = CallSlots::new(count);
        for _ in 0..100 {
            call_slots.wait.record(held, 1);
        }
        call_slots
    }

    #[tokio::test]
    async fn a_slot_is_free_again_after_its_call() -> anyhow::Result<()> {
        let call_slots = CallSlots::new(1);
        let deadline = Instant::now() + Duration::from_secs(60);
        let first = call_slots.acquire(Owner::LOCAL, deadline).await?;
        let mut second = pin!(call_slots.acquire(Owner::LOCAL, deadline));
        assert!(poll(second.as_mut()).is_pending());
        drop(first);
        assert!(matches!(poll(second.as_mut()), Poll::Ready(Ok(_))));
        Ok(())
    }

    #[tokio::test]
    async fn a_call_that_would_miss_its_deadline_is_refused_at_once() -> anyhow::Result<()> {
        let call_slots = held_for(2, Duration::from_secs(4));
        let deadline = Instant::now() + Duration::from_secs(20);
        let _taken = (
            call_slots.acquire(Owner::LOCAL, deadline).await?,
            call_slots.acquire(Owner::LOCAL, deadline).await?,
        );
        // The two waiting calls wait a turn of 4 s and take one themselves; a third would end after 12 s, and twice that is too late.
        let (mut first, mut second) = (
            pin!(call_slots.acquire(Owner::LOCAL, deadline)),
            pin!(call_slots.acquire(Owner::LOCAL, deadline)),
        );
        assert!(poll(first.as_mut()).is_pending());
        assert!(poll(second.as_mut()).is_pending());
        assert_eq!(
            call_slots.acquire(Owner::LOCAL, deadline).await.err(),
            Some(WouldMissDeadline)
        );
        Ok(())
    }

    #[tokio::test]
    async fn a_free_slot_is_granted_whatever_was_measured() -> anyhow::Result<()> {
        let call_slots = held_for(1, Duration::from_secs(100));
        let deadline = Instant::now() + Duration::from_secs(10);
        assert!(call_slots.acquire(Owner::LOCAL, deadline).await.is_ok());
        Ok(())
    }

    #[tokio::test]
    async fn a_call_that_gives_up_waiting_is_no_longer_counted() -> anyhow::Result<()> {
        let call_slots = held_for(1, Duration::from_secs(4));
        let deadline = Instant::now() + Duration::from_secs(20);
        let _taken = call_slots.acquire(Owner::LOCAL, deadline).await?;
        {
            let mut waiting = pin!(call_slots.acquire(Owner::LOCAL, deadline));
            assert!(poll(waiting.as_mut()).is_pending());
            assert_eq!(
                call_slots.acquire(Owner::LOCAL, deadline).await.err(),
                Some(WouldMissDeadline)
            );
        }
        let mut next = pin!(call_slots.acquire(Owner::LOCAL, deadline));
        assert!(poll(next.as_mut()).is_pending());
        Ok(())
    }
}
