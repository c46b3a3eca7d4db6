//! The requests whose bodies are still arriving, in a bounded number.
//!
//! A request gets its permit when its body is complete, so that slow bodies keep no other request out. While
//! it waits for its bytes, it is counted here. If there are too many, the request that has waited the longest
//! is ended in favour of the newest. A flood of bodies that never arrive therefore ends its own requests.

use crate::body::BodyError;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::sync::oneshot;

/// All requests that wait for their bodies. Lifetime: the process.
#[derive(Debug)]
pub(crate) struct Readers {
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// The number of requests that were ended since the start.
    evicted: u64,
    /// The waiting requests, in the order of their start. Dropping a sender ends the wait.
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
}

/// The right of one request to wait for its body, which its head has been granted. Lifetime: one request.
#[derive(Debug)]
pub struct ReadingSlot {
    readers: Arc<Readers>,
    /// The time at which the right was granted.
    granted: Instant,
    /// Set from the first wait to the complete body.
    waiting: Option<Waiting>,
}

/// One request that waits for its body, counted until this value is dropped. Lifetime: one request.
#[derive(Debug)]
struct Waiting {
    readers: Arc<Readers>,
    number: u64,
    /// Completes when the request must make room.
    evicted: oneshot::Receiver<()>,
}

impl Readers {
    /// Returns a set of at most `max` requests, and of at least one.
    pub(crate) fn new(max: usize) -> Arc<Readers> {
        Arc::new(Readers {
            max: max.max(1),
            state: Mutex::default(),
        })
    }

    /// Returns the number of requests that wait now.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Returns the number of requests that were ended since the start.
    pub(crate) fn evicted(&self) -> u64 {
        self.lock().evicted
    }

    /// Grants a request the right to wait for its body.
    pub(crate) fn grant(self: &Arc<Readers>) -> ReadingSlot {
        ReadingSlot {
            readers: Arc::clone(self),
            granted: Instant::now(),
            waiting: None,
        }
    }

    /// Adds a waiting request. If there are too many, the oldest is ended.
    fn enter(self: &Arc<Readers>) -> Waiting {
        let (evict, evicted) = oneshot::channel();
        let mut state = self.lock();
        let oldest = match state.waiting.len() >= self.max {
            true => state.waiting.pop_first(),
            false => None,
        };
        state.evicted = state.evicted.saturating_add(u64::from(oldest.is_some()));
        let number = state.next;
        state.next += 1;
        state.waiting.insert(number, evict);
        drop(state);
        // Wakes the task of the oldest request, and therefore happens outside the lock.
        drop(oldest);
        Waiting {
            readers: Arc::clone(self),
            number,
            evicted,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadingSlot {
    /// Returns the time at which the right was granted.
    pub(crate) fn granted(&self) -> Instant {
        self.granted
    }

    /// Returns a slot for another message of the same request, granted now.
    pub fn next_message(&self) -> ReadingSlot {
        self.readers.grant()
    }

    /// Counts the request as waiting. Completes when it must make room for newer ones.
    pub fn poll_evicted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let readers = &self.readers;
        let waiting = self.waiting.get_or_insert_with(|| readers.enter());
        // No value is ever sent: the sender is dropped.
        Pin::new(&mut waiting.evicted).poll(cx).map(|_| ())
    }

    /// Ends the wait: the body is complete.
    pub fn complete(&mut self) {
        self.waiting = None;
    }

    /// Reads a body. The request is counted only if it has to wait, since most bodies arrive with their
    /// head.
    pub(crate) async fn read<T>(
        mut self,
        reading: impl Future<Output = Result<T, BodyError>>,
    ) -> Result<T, BodyError> {
        let mut reading = pin!(reading);
        poll_fn(|cx| {
            if let Poll::Ready(read) = reading.as_mut().poll(cx) {
                return Poll::Ready(read);
            }
            self.poll_evicted(cx).map(|()| Err(BodyError::Evicted))
        })
        .await
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let evict = self.readers.lock().waiting.remove(&self.number);
        drop(evict);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use std::task::Waker;

    fn is_evicted(slot: &mut ReadingSlot) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        slot.poll_evicted(&mut cx).is_ready()
    }

    #[test]
    fn the_oldest_of_too_many_waiting_requests_is_evicted() {
        let readers = Readers::new(2);
        let [mut first, mut second, mut third] = [(); 3].map(|()| readers.grant());
        for slot in [&mut first, &mut second, &mut third] {
            assert!(!is_evicted(slot));
        }
        assert!(is_evicted(&mut first));
        assert!(!is_evicted(&mut second));
        assert!(!is_evicted(&mut third));
        drop((first, second, third));
        assert_eq!((readers.waiting(), readers.evicted()), (0, 1));
    }

    #[test]
    fn a_complete_body_is_no_longer_counted() {
        let readers = Readers::new(1);
        let mut slot = readers.grant();
        assert_eq!(readers.waiting(), 0);
        assert!(!is_evicted(&mut slot));
        assert_eq!(readers.waiting(), 1);
        slot.complete();
        assert_eq!(readers.waiting(), 0);
    }

    #[tokio::test]
    async fn a_body_is_counted_only_while_it_is_incomplete() {
        let readers = Readers::new(1);
        let mut waiting = readers.grant();
        assert!(!is_evicted(&mut waiting));
        assert_eq!(readers.grant().read(ready(Ok(7))).await, Ok(7));
        assert_eq!(readers.waiting(), 1);
        let newest = async {
            tokio::task::yield_now().await;
            assert!(!is_evicted(&mut readers.grant()));
        };
        let reading = readers.grant().read(pending::<Result<(), _>>());
        let (read, ()) = tokio::join!(reading, newest);
        assert_eq!(read, Err(BodyError::Evicted));
    }
}
