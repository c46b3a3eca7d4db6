//! A bounded queue between the requests and a thread that reports about them.
//!
//! Adding an event never waits: without room, the event is dropped and counted. The thread takes events in batches,
//! waits a moment so that a batch fills, and ends when the queue is closed and empty. The queue is used by
//! [`crate::payload_log`], and by the server for its spans.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A bounded queue of events. Lifetime: the process.
#[derive(Debug)]
pub struct EventQueue<T> {
    limits: QueueLimits,
    state: Mutex<State<T>>,
    changed: Condvar,
    written: AtomicU64,
    dropped: AtomicU64,
}

/// The limits of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// The most events that wait.
    pub events: usize,
    /// The most bytes that the waiting events may hold.
    pub bytes: usize,
    /// The most events of a batch.
    pub batch: usize,
    /// The time that the first event of a batch waits for further ones.
    pub linger: Duration,
}

/// The counts of a queue since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueCounts {
    /// The events that have reached their destination.
    pub written: u64,
    /// The events that had no room, or did not reach their destination.
    pub dropped: u64,
}

#[derive(Debug)]
struct State<T> {
    /// The events, with the bytes that they hold.
    events: VecDeque<(usize, T)>,
    bytes: usize,
    closed: bool,
}

impl<T> EventQueue<T> {
    pub fn new(limits: QueueLimits) -> EventQueue<T> {
        EventQueue {
            limits,
            state: Mutex::new(State {
                events: VecDeque::new(),
                bytes: 0,
                closed: false,
            }),
            changed: Condvar::new(),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Adds an event that holds this number of bytes. Returns false, and counts it as dropped, if there is no room.
    pub fn push(&self, event: T, bytes: usize) -> bool {
        let mut state = self.lock();
        let total = state.bytes.saturating_add(bytes);
        if state.closed || state.events.len() >= self.limits.events || total > self.limits.bytes {
            drop(state);
            self.count_dropped(1);
            return false;
        }
        state.bytes = total;
        state.events.push_back((bytes, event));
        let waiting = state.events.len();
        drop(state);
        // The thread waits for the first event, and then for a full batch.
        if waiting == 1 || waiting == self.limits.batch {
            self.changed.notify_one();
        }
        true
    }

    /// Returns the next events once there are some, or `None` when the queue is closed and empty. Blocks the thread.
    pub fn next_batch(&self) -> Option<Vec<T>> {
        let mut state = self.lock();
        while state.events.is_empty() {
            if state.closed {
                return None;
            }
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let deadline = Instant::now().checked_add(self.limits.linger);
        while !state.closed && state.events.len() < self.limits.batch {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let Some(left) = left.filter(|left| !left.is_zero()) else {
                break;
            };
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let count = state.events.len().min(self.limits.batch.max(1));
        let taken: Vec<(usize, T)> = state.events.drain(..count).collect();
        let held = taken.iter().map(|(bytes, _)| *bytes);
        let held = held.fold(0, usize::saturating_add);
        state.bytes = state.bytes.saturating_sub(held);
        Some(taken.into_iter().map(|(_, event)| event).collect())
    }

    /// Accepts no further events. The waiting ones can still be taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Counts events that have reached their destination.
    pub fn count_written(&self, events: usize) {
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        self.written.fetch_add(events, Relaxed);
    }

    /// Counts events that are lost.
    pub fn count_dropped(&self, events: usize) {
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        self.dropped.fetch_add(events, Relaxed);
    }

    /// Returns the counts since the start.
    pub fn counts(&self) -> QueueCounts {
        QueueCounts {
            written: self.written.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No code panics while the lock is held, so a poisoned lock still guards a consistent state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(events: usize, batch: usize) -> EventQueue<u32> {
        EventQueue::new(QueueLimits {
            events,
            bytes: 100,
            batch,
            linger: Duration::ZERO,
        })
    }

    #[test]
    fn an_event_without_room_is_dropped_and_counted() {
        let queue = queue(2, 10);
        assert!(queue.push(1, 0));
        assert!(queue.push(2, 0));
        assert!(!queue.push(3, 0));
        assert_eq!(queue.next_batch(), Some(vec![1, 2]));
        assert!(queue.push(4, 0));
        queue.count_written(2);
        let expected = QueueCounts {
            written: 2,
            dropped: 1,
        };
        assert_eq!(queue.counts(), expected);
    }

    #[test]
    fn the_bytes_of_waiting_events_are_limited() {
        let queue = queue(10, 1);
        assert!(queue.push(1, 60));
        assert!(!queue.push(2, 41));
        assert!(queue.push(3, 40));
        assert!(!queue.push(4, usize::MAX));
        assert_eq!(queue.next_batch(), Some(vec![1]));
        assert!(queue.push(5, 60));
        assert_eq!(queue.counts().dropped, 2);
    }

    #[test]
    fn a_batch_has_at_most_its_number_of_events() {
        let queue = queue(10, 2);
        for event in 0..3 {
            queue.push(event, 1);
        }
        assert_eq!(queue.next_batch(), Some(vec![0, 1]));
        assert_eq!(queue.next_batch(), Some(vec![2]));
    }

    #[test]
    fn a_closed_queue_ends_after_its_events() {
        let queue = queue(10, 10);
        queue.push(1, 1);
        queue.close();
        assert!(!queue.push(2, 1));
        assert_eq!(queue.next_batch(), Some(vec![1]));
        assert_eq!(queue.next_batch(), None);
    }

    #[test]
    fn a_full_batch_does_not_wait_for_more_events() {
        let queue = EventQueue::new(QueueLimits {
            events: 10,
            bytes: 100,
            batch: 2,
            linger: Duration::from_secs(3600),
        });
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| queue.next_batch());
            queue.push(1, 1);
            queue.push(2, 1);
            assert_eq!(taken.join().unwrap(), Some(vec![1, 2]));
            let taken = scope.spawn(|| queue.next_batch());
            queue.push(3, 1);
            queue.close();
            assert_eq!(taken.join().unwrap(), Some(vec![3]));
        });
    }
}
