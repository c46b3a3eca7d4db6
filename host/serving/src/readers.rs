//! The requests whose bodies are still arriving, in a bounded number.
//!
//! A request gets its permit when its body is complete, so that slow bodies keep no other request out. While
//! it waits for its bytes, it is counted here. If there are too many, the request that has waited the longest
//! is ended in favour of the newest. A flood of bodies that never arrive therefore ends its own requests. Among several
//! owners, it is a request of the one that has the most by its weight.

use crate::body::BodyError;
use crate::owner::{Owner, OwnerShare};
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
    /// The number of waiting requests of all owners.
    count: usize,
    /// The waiting requests by the number of their owner.
    owners: BTreeMap<u32, OwnedReaders>,
}

/// The waiting requests of one owner.
#[derive(Debug)]
struct OwnedReaders {
    weight: u32,
    /// The requests in the order of their start. Dropping a sender ends the wait.
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
}

/// The right of one request to wait for its body, which its head has been granted. Lifetime: one request.
#[derive(Debug)]
pub struct ReadingSlot {
    readers: Arc<Readers>,
    /// The owner of the request; `None` for the local one.
    owner: Option<Arc<OwnerShare>>,
    /// The time at which the right was granted.
    granted: Instant,
    /// Set from the first wait to the complete body.
    waiting: Option<Waiting>,
}

/// One request that waits for its body, counted until this value is dropped. Lifetime: one request.
#[derive(Debug)]
struct Waiting {
    readers: Arc<Readers>,
    owner: Owner,
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
        self.lock().count
    }

    /// Returns the number of requests that were ended since the start.
    pub(crate) fn evicted(&self) -> u64 {
        self.lock().evicted
    }

    /// Grants a request of an owner the right to wait for its body. `None` is the local owner.
    pub(crate) fn grant(self: &Arc<Readers>, owner: Option<Arc<OwnerShare>>) -> ReadingSlot {
        ReadingSlot {
            readers: Arc::clone(self),
            owner,
            granted: Instant::now(),
            waiting: None,
        }
    }

    /// Adds a waiting request. If there are too many, the oldest of an owner is ended.
    fn enter(self: &Arc<Readers>, owner: Owner) -> Waiting {
        let (evict, evicted) = oneshot::channel();
        let mut state = self.lock();
        let oldest = match state.count >= self.max {
            true => state.evict_for(owner),
            false => None,
        };
        state.evicted = state.evicted.saturating_add(u64::from(oldest.is_some()));
        let number = state.next;
        state.next += 1;
        state.insert(owner, (number, evict));
        drop(state);
        // Wakes the task of the oldest request, and therefore happens outside the lock.
        drop(oldest);
        Waiting {
            readers: Arc::clone(self),
            owner,
            number,
            evicted,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, owner: Owner, (number, evict): (u64, oneshot::Sender<()>)) {
        let readers = self.owners.entry(owner.id).or_insert_with(|| OwnedReaders {
            weight: owner.weight,
            waiting: BTreeMap::new(),
        });
        readers.weight = owner.weight;
        readers.waiting.insert(number, evict);
        self.count += 1;
    }

    /// Removes a request that still waits.
    fn remove(&mut self, owner: Owner, number: u64) -> Option<oneshot::Sender<()>> {
        let readers = self.owners.get_mut(&owner.id)?;
        let removed = readers.waiting.remove(&number)?;
        self.count = self.count.saturating_sub(1);
        // The local owner keeps its place, so that its requests allocate none.
        if readers.waiting.is_empty() && !owner.is_local() {
            self.owners.remove(&owner.id);
        }
        Some(removed)
    }

    /// Removes the oldest request of the owner that has the most by its weight, with a new one of `newest`, which is
    /// chosen among equals.
    fn evict_for(&mut self, newest: Owner) -> Option<oneshot::Sender<()>> {
        let load = |(id, readers): &(&u32, &OwnedReaders)| {
            let is_newest = **id == newest.id;
            let waiting = readers.waiting.len().saturating_add(usize::from(is_newest));
            let waiting = u64::try_from(waiting).unwrap_or(u64::MAX);
            let weighted = waiting.saturating_mul(u64::from(u32::MAX));
            (weighted / u64::from(readers.weight.max(1)), is_newest)
        };
        let owners = self.owners.iter();
        let (id, readers) = owners
            .filter(|(_, readers)| !readers.waiting.is_empty())
            .max_by_key(load)?;
        let (owner, number) = (*id, *readers.waiting.keys().next()?);
        let owner = Owner {
            id: owner,
            weight: readers.weight,
        };
        self.remove(owner, number)
    }
}

impl ReadingSlot {
    /// Returns the owner of the request; `None` for the local one.
    pub(crate) fn owner(&self) -> Option<Arc<OwnerShare>> {
        self.owner.clone()
    }

    /// Returns the time at which the right was granted.
    pub(crate) fn granted(&self) -> Instant {
        self.granted
    }

    /// Returns a slot for another message of the same request, granted now.
    pub fn next_message(&self) -> ReadingSlot {
        self.readers.grant(self.owner.clone())
    }

    /// Counts the request as waiting. Completes when it must make room for newer ones.
    pub fn poll_evicted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let readers = &self.readers;
        let owner = self.owner.as_ref().map_or(Owner::LOCAL, |of| of.owner());
        let waiting = self.waiting.get_or_insert_with(|| readers.enter(owner));
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
        let evict = self.readers.lock().remove(self.owner, self.number);
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
        let [mut first, mut second, mut third] = [(); 3].map(|()| readers.grant(None));
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
        let mut slot = readers.grant(None);
        assert_eq!(readers.waiting(), 0);
        assert!(!is_evicted(&mut slot));
        assert_eq!(readers.waiting(), 1);
        slot.complete();
        assert_eq!(readers.waiting(), 0);
    }

    #[tokio::test]
    async fn a_body_is_counted_only_while_it_is_incomplete() {
        let readers = Readers::new(1);
        let mut waiting = readers.grant(None);
        assert!(!is_evicted(&mut waiting));
        assert_eq!(readers.grant(None).read(ready(Ok(7))).await, Ok(7));
        assert_eq!(readers.waiting(), 1);
        let newest = async {
            tokio::task::yield_now().await;
            assert!(!is_evicted(&mut readers.grant(None)));
        };
        let reading = readers.grant(None).read(pending::<Result<(), _>>());
        let (read, ()) = tokio::join!(reading, newest);
        assert_eq!(read, Err(BodyError::Evicted));
    }
    #[test]
    fn a_flood_of_one_owner_ends_its_own_requests_and_not_those_of_others() {
        let readers = Readers::new(4);
        let noisy = OwnerShare::new(Owner { id: 1, weight: 1 });
        let quiet = OwnerShare::new(Owner { id: 2, weight: 1 });
        let mut old = readers.grant(Some(quiet));
        assert!(!is_evicted(&mut old));
        let mut flood: Vec<ReadingSlot> = Vec::new();
        for _ in 0..10 {
            let mut slot = readers.grant(Some(Arc::clone(&noisy)));
            assert!(!is_evicted(&mut slot));
            flood.push(slot);
        }
        assert!(!is_evicted(&mut old), "it is the oldest of all");
        let evicted = flood.iter_mut().map(is_evicted);
        assert_eq!(evicted.filter(|evicted| *evicted).count(), 7);
        assert_eq!((readers.waiting(), readers.evicted()), (4, 7));
        drop((old, flood));
        assert_eq!(readers.waiting(), 0);
        assert!(readers.lock().owners.is_empty());
    }

    #[test]
    fn an_owner_of_a_larger_weight_may_have_more_waiting_requests() {
        let readers = Readers::new(6);
        let light = OwnerShare::new(Owner { id: 1, weight: 1 });
        let heavy = OwnerShare::new(Owner { id: 2, weight: 2 });
        let mut slots = Vec::new();
        for _ in 0..20 {
            for share in [&light, &heavy] {
                let mut slot = readers.grant(Some(Arc::clone(share)));
                assert!(!is_evicted(&mut slot));
                slots.push(slot);
            }
        }
        let state = readers.lock();
        let waiting = |id: u32| state.owners.get(&id).map(|of| of.waiting.len());
        assert_eq!((waiting(1), waiting(2)), (Some(2), Some(4)));
        drop(state);
    }
}
