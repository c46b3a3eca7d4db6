//! The requests of a tenant that wait for their turn within its concurrency, in the order in which they came.
//!
//! A request waits before its body is read. One whose client goes leaves the queue, and a place that it has been offered
//! goes to the next one.

use super::{OverQuota, Quota, QuotaPermit, Turn, limits};
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;
use tokio::time::timeout_at;

/// The bytes of a request that waits. Its body is bounded where it is read.
const UNREAD: u64 = 0;

/// The outcome of a first attempt.
enum Entry {
    Admitted(QuotaPermit),
    Waiting(Waiting),
}

/// The place of a request in the queue. Lifetime: until it has its turn.
struct Waiting(Arc<Quota>);

impl Quota {
    /// Admits a request as [`Quota::admit`] does. If only the concurrency stands against it, and the queue of the tenant has
    /// a place, it waits for its turn until `deadline`.
    ///
    /// # Errors
    /// Returns the first limit that the request would exceed, the concurrency if it has waited in vain.
    pub async fn admit_in_turn(
        self: &Arc<Quota>,
        deadline: tokio::time::Instant,
    ) -> Result<QuotaPermit, OverQuota> {
        let waiting = match self.enter()? {
            Entry::Admitted(permit) => return Ok(permit),
            Entry::Waiting(waiting) => waiting,
        };
        loop {
            let mut freed = pin!(self.freed.notified());
            // Before the attempt, so that a place that becomes free after it is not missed.
            freed.as_mut().enable();
            match waiting.try_turn() {
                Ok(permit) => return Ok(permit),
                Err(refusal) if refusal.limit == limits::CONCURRENCY => {
                    if timeout_at(deadline, freed).await.is_err() {
                        return Err(self.refused(refusal));
                    }
                }
                Err(refusal) => {
                    // The place is for the next one.
                    self.freed.notify_one();
                    return Err(self.refused(refusal));
                }
            }
        }
    }

    /// Admits a request, or gives it a place in the queue.
    fn enter(self: &Arc<Quota>) -> Result<Entry, OverQuota> {
        let mut state = self.lock();
        match state.admit(Instant::now(), UNREAD, Turn::New) {
            Ok(estimate) => Ok(Entry::Admitted(self.permit(estimate))),
            Err(refusal) => {
                let places = state.limits.queue.unwrap_or(0);
                let is_full = state.current.waiting >= places;
                if refusal.limit != limits::CONCURRENCY || is_full {
                    return Err(state.refuse(refusal));
                }
                state.current.waiting = state.current.waiting.saturating_add(1);
                Ok(Entry::Waiting(Waiting(Arc::clone(self))))
            }
        }
    }

    /// Counts a refusal.
    fn refused(&self, refusal: OverQuota) -> OverQuota {
        self.lock().refuse(refusal)
    }
}

impl Waiting {
    fn try_turn(&self) -> Result<QuotaPermit, OverQuota> {
        let admitted = self.0.lock().admit(Instant::now(), UNREAD, Turn::Next);
        admitted.map(|estimate| self.0.permit(estimate))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.current.waiting = state.current.waiting.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::Limits;
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    type Admission<'a> = Pin<Box<dyn Future<Output = Result<QuotaPermit, OverQuota>> + 'a>>;

    fn poll(future: &mut Admission<'_>) -> Poll<Result<QuotaPermit, OverQuota>> {
        future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
    }

    fn quota(queue: Option<u64>) -> Arc<Quota> {
        Quota::new(Limits {
            concurrency: Some(1),
            queue,
            ..Limits::default()
        })
    }

    fn ask(quota: &Arc<Quota>) -> Admission<'_> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        Box::pin(quota.admit_in_turn(deadline))
    }

    /// Returns the limit that has refused the request, once it is known.
    fn refused(future: &mut Admission<'_>) -> Option<&'static str> {
        match poll(future) {
            Poll::Ready(Err(refusal)) => Some(refusal.limit),
            _ => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_have_their_turns_in_order_and_the_queue_is_bounded() -> anyhow::Result<()> {
        let quota = quota(Some(2));
        let first = ask(&quota).await?;
        let (mut second, mut third, mut fourth) = (ask(&quota), ask(&quota), ask(&quota));
        assert!(poll(&mut second).is_pending() && poll(&mut third).is_pending());
        assert_eq!(refused(&mut fourth), Some(limits::CONCURRENCY));
        assert_eq!((quota.usage().requests, quota.usage().waiting), (1, 2));
        drop(first);
        assert!(poll(&mut third).is_pending(), "it is not its turn");
        // One that has just come is behind those that wait.
        let mut late = ask(&quota);
        assert_eq!(refused(&mut late), Some(limits::CONCURRENCY));
        let Poll::Ready(Ok(second)) = poll(&mut second) else {
            anyhow::bail!("its turn has come");
        };
        drop(second);
        assert!(matches!(poll(&mut third), Poll::Ready(Ok(_))));
        assert_eq!((quota.usage().requests, quota.usage().waiting), (0, 0));
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_has_gone_gives_its_turn_to_the_next_one() -> anyhow::Result<()> {
        let quota = quota(Some(2));
        let first = ask(&quota).await?;
        let (mut second, mut third) = (ask(&quota), ask(&quota));
        assert!(poll(&mut second).is_pending() && poll(&mut third).is_pending());
        drop(first);
        drop(second);
        assert!(matches!(poll(&mut third), Poll::Ready(Ok(_))));
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_no_longer_than_its_deadline_and_a_higher_limit_ends_the_wait()
    -> anyhow::Result<()> {
        let quota = quota(Some(1));
        let _first = ask(&quota).await?;
        // The clock goes on as soon as nothing else can.
        let refusal = ask(&quota).await.err();
        let limit = refusal.map(|refusal| refusal.limit);
        assert_eq!(limit, Some(limits::CONCURRENCY));
        assert_eq!(quota.usage().waiting, 0);
        let mut second = ask(&quota);
        assert!(poll(&mut second).is_pending());
        quota.set_limits(Limits {
            concurrency: Some(2),
            ..Limits::default()
        });
        assert!(matches!(poll(&mut second), Poll::Ready(Ok(_))));
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_queue_nothing_waits() -> anyhow::Result<()> {
        let quota = quota(None);
        let first = ask(&quota).await?;
        let mut second = ask(&quota);
        assert_eq!(refused(&mut second), Some(limits::CONCURRENCY));
        drop(first);
        assert!(ask(&quota).await.is_ok());
        Ok(())
    }
}
