//! The requests whose bodies are still arriving, in a bounded number.
//!
//! A request gets its permit when its body is complete, so that slow bodies keep no other request out. While
//! it waits for its bytes, it is counted here. If there are too many, the request that has waited the longest
//! is ended in favour of the newest. A flood of bodies that never arrive therefore ends its own requests.

use crate::infer::BodyError;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::sync::oneshot;

/// All requests that wait for their bodies. Lifetime: the process.
#[derive(Debug)]
pub struct Readers {
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// The waiting requests, in the order of their start. Dropping a sender ends the wait.
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
}

/// One request that waits for its body. The future completes when the request must make
/// room. Lifetime: one request.
#[derive(Debug)]
pub struct Reader {
    of: Arc<Readers>,
    number: u64,
    ended: oneshot::Receiver<()>,
}

impl Readers {
    /// Returns a set of at most `max` requests, and of at least one.
    pub fn new(max: usize) -> Arc<Readers> {
        Arc::new(Readers {
            max: max.max(1),
            state: Mutex::default(),
        })
    }

    /// Returns the number of requests that wait now.
    pub fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Adds a waiting request. If there are too many, the oldest is ended.
    pub fn enter(self: &Arc<Readers>) -> Reader {
        let (end, ended) = oneshot::channel();
        let mut state = self.lock();
        let oldest = match state.waiting.len() >= self.max {
            true => state.waiting.pop_first(),
            false => None,
        };
        let number = state.next;
        state.next += 1;
        state.waiting.insert(number, end);
        drop(state);
        // Wakes the task of the oldest request, and therefore happens outside the lock.
        drop(oldest);
        Reader {
            of: Arc::clone(self),
            number,
            ended,
        }
    }

    /// Reads a body, which is counted if it has to wait.
    pub(crate) async fn read<T>(
        self: &Arc<Readers>,
        reading: impl Future<Output = Result<T, BodyError>>,
    ) -> Result<T, BodyError> {
        let mut reading = pin!(reading);
        // Most bodies arrive with their head.
        if let Poll::Ready(read) = poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await {
            return read;
        }
        let reader = self.enter();
        tokio::select! {
            biased;
            read = reading => read,
            () = reader => Err(BodyError::MadeRoom),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Future for Reader {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // No value is ever sent: the sender is dropped.
        let _ = ready!(Pin::new(&mut self.ended).poll(cx));
        Poll::Ready(())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let ended = self.of.lock().waiting.remove(&self.number);
        drop(ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    #[tokio::test]
    async fn the_oldest_of_too_many_makes_room() {
        let readers = Readers::new(2);
        let (first, second, third) = (readers.enter(), readers.enter(), readers.enter());
        first.await;
        tokio::select! {
            biased;
            () = second => panic!("there is room for two"),
            () = third => panic!("there is room for two"),
            () = ready(()) => {}
        }
        assert!(readers.lock().waiting.is_empty(), "all have gone");
    }

    #[tokio::test]
    async fn a_body_that_is_there_is_not_counted_and_one_that_is_not_may_have_to_make_room() {
        let readers = Readers::new(1);
        let _waiting = readers.enter();
        assert_eq!(readers.read(ready(Ok(7))).await, Ok(7));
        assert_eq!(readers.lock().waiting.len(), 1);
        let newest = async {
            tokio::task::yield_now().await;
            drop(readers.enter());
        };
        let (read, ()) = tokio::join!(readers.read(pending::<Result<(), _>>()), newest);
        assert_eq!(read, Err(BodyError::MadeRoom));
    }
}
