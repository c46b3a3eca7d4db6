//! A stream whose items are made by successive futures.
//!
//! Each future returns the next item and the state for the one after it. No future is started before its
//! item is requested.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio_stream::Stream;

/// A future that returns the next item and the state after it, or `None` at the end.
pub(super) type Step<S, T> = Pin<Box<dyn Future<Output = Option<(T, S)>> + Send>>;

/// A stream that calls `step` for each item. Lifetime: one request.
pub(super) struct Unfold<S, T> {
    stage: Stage<S, T>,
    step: fn(S) -> Step<S, T>,
}

enum Stage<S, T> {
    /// The state for an item that has not been requested.
    Resting(S),
    Making(Step<S, T>),
    Over,
}

impl<S, T> Unfold<S, T> {
    pub(super) fn new(start: S, step: fn(S) -> Step<S, T>) -> Unfold<S, T> {
        Unfold {
            stage: Stage::Resting(start),
            step,
        }
    }
}

impl<S: Unpin, T> Stream for Unfold<S, T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut making = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Resting(state) => (self.step)(state),
            Stage::Making(making) => making,
            Stage::Over => return Poll::Ready(None),
        };
        let Poll::Ready(made) = making.as_mut().poll(cx) else {
            self.stage = Stage::Making(making);
            return Poll::Pending;
        };
        Poll::Ready(made.map(|(item, state)| {
            self.stage = Stage::Resting(state);
            item
        }))
    }
}

impl<S, T> fmt::Debug for Unfold<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unfold")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_stream::StreamExt;

    #[tokio::test]
    async fn items_come_until_there_is_no_next() {
        let down = |n: u32| -> Step<u32, u32> {
            Box::pin(async move {
                tokio::task::yield_now().await;
                n.checked_sub(1).map(|less| (n, less))
            })
        };
        let mut items = Unfold::new(2, down);
        assert_eq!(items.next().await, Some(2));
        assert_eq!(items.next().await, Some(1));
        assert_eq!(items.next().await, None);
        assert_eq!(items.next().await, None);
    }
}
