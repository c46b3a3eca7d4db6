//! The time that the guests of a request have run so far, for requests that end without a result.
//!
//! A call that fails or is abandoned returns no usage, and its guest has used time nevertheless.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The time of all guests of a request. Lifetime: one request.
#[derive(Debug, Default)]
pub(crate) struct GuestTime {
    nanoseconds: AtomicU64,
}

impl GuestTime {
    /// Returns the time so far.
    pub(crate) fn get(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Relaxed))
    }

    /// Adds the time of a guest.
    pub(crate) fn add(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Relaxed);
    }
}

/// Runs a guest, and adds the time of each of its steps to `time`, if somebody reads it.
pub(crate) async fn measured<T>(
    time: Option<Arc<GuestTime>>,
    running: impl Future<Output = T>,
) -> T {
    let mut running = pin!(running);
    poll_fn(move |cx| {
        let started = time.as_ref().map(|_| Instant::now());
        let polled = running.as_mut().poll(cx);
        if let Some((time, started)) = time.as_ref().zip(started) {
            time.add(started.elapsed());
        }
        polled
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Poll, Waker};

    #[test]
    fn the_steps_of_a_guest_that_never_ends_are_counted() {
        let time = Arc::<GuestTime>::default();
        let mut steps = 0;
        let guest = poll_fn(|_| {
            let until = Instant::now() + Duration::from_millis(1);
            while Instant::now() < until {}
            steps += 1;
            Poll::<()>::Pending
        });
        {
            let mut running = pin!(measured(Some(Arc::clone(&time)), guest));
            let mut cx = Context::from_waker(Waker::noop());
            for _ in 0..3 {
                assert!(running.as_mut().poll(&mut cx).is_pending());
            }
        }
        assert_eq!(steps, 3);
        assert!(time.get() >= Duration::from_millis(3));
    }
}
