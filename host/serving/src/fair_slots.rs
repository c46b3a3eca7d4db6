//! A bounded number of slots that owners wait for in turns.
//!
//! A slot that becomes free goes to the waiting owner that has held slots for the shortest time by its weight
//! ([`owner_accounts`](crate::owner_accounts)); the requests of one owner wait in the order of their arrival. With a
//! single owner this is a semaphore. A request that gives up its wait leaves the queue at once. An owner may be bounded to a
//! part of the slots, and then waits for its own ones while others are free.

use crate::owner::Owner;
use crate::owner_accounts::OwnerAccounts;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The number of lanes above which those without requests are removed.
const MAX_IDLE_LANES: usize = 8;

/// The slots and the requests that wait for one. Lifetime: the resource.
#[derive(Debug)]
pub(crate) struct FairSlots {
    count: usize,
    /// The number of slots that one owner may hold.
    most: usize,
    state: Mutex<State>,
}

/// One slot, which becomes free when this is dropped. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct FairSlot {
    /// `None` once the slot has been passed on.
    of: Option<Arc<FairSlots>>,
    owner: Owner,
    since: Instant,
    /// The time that the owner has been charged.
    estimate: Duration,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    accounts: OwnerAccounts,
    lanes: Vec<Lane>,
    next_number: u64,
    /// The recent mean time for which a slot is held.
    mean: Duration,
}

/// The requests of one owner.
#[derive(Debug)]
struct Lane {
    owner: Owner,
    account: usize,
    /// The number of slots that the owner holds.
    held: usize,
    /// The channels to the requests that wait, in the order of their arrival.
    waiting: BTreeMap<u64, oneshot::Sender<FairSlot>>,
}

/// A request that waits. Dropping it leaves the queue. Lifetime: one request.
struct WaitingRequest<'a> {
    of: &'a FairSlots,
    owner: Owner,
    number: u64,
}

// === impl FairSlots ===

impl FairSlots {
    /// Returns `count` free slots.
    pub(crate) fn new(count: usize) -> Arc<FairSlots> {
        FairSlots::shared(count, count)
    }

    /// Returns `count` free slots, of which one owner may hold `most`.
    pub(crate) fn shared(count: usize, most: usize) -> Arc<FairSlots> {
        Arc::new(FairSlots {
            count,
            most,
            state: Mutex::default(),
        })
    }

    /// Returns the number of slots that are held now.
    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.lock().used
    }

    /// Returns a slot if one is free.
    pub(crate) fn try_acquire(self: &Arc<FairSlots>, owner: Owner) -> Option<FairSlot> {
        self.start(&mut self.lock(), owner)
    }

    /// Waits for a slot, which becomes free when another one is dropped.
    pub(crate) async fn acquire(self: &Arc<FairSlots>, owner: Owner) -> FairSlot {
        loop {
            let (waiting, receiver) = {
                let mut state = self.lock();
                if let Some(slot) = self.start(&mut state, owner) {
                    return slot;
                }
                let (sender, receiver) = oneshot::channel();
                let number = state.enqueue(owner, sender);
                let waiting = WaitingRequest {
                    of: self,
                    owner,
                    number,
                };
                (waiting, receiver)
            };
            // The sender is dropped only with the slots, which outlive their users.
            let received = receiver.await;
            drop(waiting);
            if let Ok(slot) = received {
                return slot;
            }
        }
    }

    /// Takes a free slot. While one is free, a request waits only if its owner holds all that it may.
    fn start(self: &Arc<FairSlots>, state: &mut State, owner: Owner) -> Option<FairSlot> {
        if state.used >= self.count || state.held(owner) >= self.most {
            return None;
        }
        state.used += 1;
        let position = state.lane(owner);
        let estimate = state.mean;
        if let Some(lane) = state.lanes.get_mut(position) {
            state.accounts.enter(lane.account, (owner, 1));
            state.accounts.start(lane.account, estimate);
            lane.held += 1;
        }
        Some(self.slot(owner, estimate))
    }

    fn slot(self: &Arc<FairSlots>, owner: Owner, estimate: Duration) -> FairSlot {
        FairSlot {
            of: Some(Arc::clone(self)),
            owner,
            since: Instant::now(),
            estimate,
        }
    }

    /// Charges the owner of a slot for the time that it was held, and passes the slot on.
    fn release(self: &Arc<FairSlots>, slot: &FairSlot) {
        let held = slot.since.elapsed();
        let mut state = self.lock();
        state.mean = (state.mean.saturating_mul(7).saturating_add(held)) / 8;
        state.end(slot.owner, (slot.estimate, held));
        loop {
            let Some((owner, waiting)) = state.next(self.most) else {
                state.used = state.used.saturating_sub(1);
                return;
            };
            let next = self.slot(owner, state.mean);
            // Sending only wakes the waiting task.
            match waiting.send(next) {
                Ok(()) => return,
                // The request has gone. Its slot was not used, and goes to the next one.
                Err(mut unused) => {
                    unused.of = None;
                    state.end(owner, (unused.estimate, Duration::ZERO));
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    /// Returns the position of the lane of an owner.
    fn lane(&mut self, owner: Owner) -> usize {
        let mut lanes = self.lanes.iter();
        if let Some(position) = lanes.position(|lane| lane.owner.id == owner.id) {
            return position;
        }
        if self.lanes.len() >= MAX_IDLE_LANES {
            let accounts = &mut self.accounts;
            self.lanes.retain(|lane| {
                let is_used = lane.held > 0 || !lane.waiting.is_empty();
                if !is_used {
                    accounts.close(lane.account);
                }
                is_used
            });
        }
        self.lanes.push(Lane {
            owner,
            account: self.accounts.open(owner),
            held: 0,
            waiting: BTreeMap::new(),
        });
        self.lanes.len() - 1
    }

    fn enqueue(&mut self, owner: Owner, sender: oneshot::Sender<FairSlot>) -> u64 {
        let number = self.next_number;
        self.next_number = number.wrapping_add(1);
        let position = self.lane(owner);
        if let Some(lane) = self.lanes.get_mut(position) {
            lane.waiting.insert(number, sender);
            self.accounts.enter(lane.account, (owner, 1));
        }
        number
    }

    /// Returns the number of slots that an owner holds.
    fn held(&self, owner: Owner) -> usize {
        let mut lanes = self.lanes.iter();
        let lane = lanes.find(|lane| lane.owner.id == owner.id);
        lane.map_or(0, |lane| lane.held)
    }

    /// Removes the request that is next, and charges its owner the start of a slot. An owner may hold `most` slots.
    fn next(&mut self, most: usize) -> Option<(Owner, oneshot::Sender<FairSlot>)> {
        let State {
            accounts, lanes, ..
        } = self;
        let waiting = lanes
            .iter_mut()
            .filter(|lane| !lane.waiting.is_empty() && lane.held < most);
        let lane = waiting.min_by_key(|lane| accounts.used(lane.account))?;
        let (_, sender) = lane.waiting.pop_first()?;
        accounts.start(lane.account, self.mean);
        lane.held += 1;
        Some((lane.owner, sender))
    }

    /// Records that an owner holds a slot no more.
    fn end(&mut self, owner: Owner, (estimate, held): (Duration, Duration)) {
        let mut lanes = self.lanes.iter_mut();
        if let Some(lane) = lanes.find(|lane| lane.owner.id == owner.id) {
            lane.held = lane.held.saturating_sub(1);
            self.accounts.correct(lane.account, (estimate, held));
            self.accounts.leave(lane.account, 1);
        }
    }
}

impl Drop for WaitingRequest<'_> {
    fn drop(&mut self) {
        let mut state = self.of.lock();
        let State {
            accounts, lanes, ..
        } = &mut *state;
        let lane = lanes.iter_mut().find(|lane| lane.owner.id == self.owner.id);
        if let Some(lane) = lane
            && lane.waiting.remove(&self.number).is_some()
        {
            accounts.leave(lane.account, 1);
        }
    }
}

impl Drop for FairSlot {
    fn drop(&mut self) {
        if let Some(of) = self.of.take() {
            of.release(self);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    type Acquiring<'a> = Pin<Box<dyn Future<Output = FairSlot> + 'a>>;

    fn poll(future: &mut Acquiring<'_>) -> Poll<FairSlot> {
        let mut cx = Context::from_waker(Waker::noop());
        future.as_mut().poll(&mut cx)
    }

    /// Returns waiting requests of an owner.
    fn waiting(slots: &Arc<FairSlots>, owner: Owner, count: usize) -> Vec<Acquiring<'_>> {
        let requests = (0..count).map(|_| {
            let mut acquiring: Acquiring<'_> = Box::pin(slots.acquire(owner));
            assert!(poll(&mut acquiring).is_pending());
            acquiring
        });
        requests.collect()
    }

    const NOISY: Owner = Owner { id: 1, weight: 1 };
    const QUIET: Owner = Owner { id: 2, weight: 1 };

    #[test]
    fn a_slot_goes_to_the_request_that_has_waited_for_the_longest() {
        let slots = FairSlots::new(1);
        let first = slots.try_acquire(Owner::LOCAL).unwrap();
        assert!(slots.try_acquire(Owner::LOCAL).is_none());
        let mut requests = waiting(&slots, Owner::LOCAL, 3);
        drop(first);
        assert_eq!(slots.used(), 1);
        for request in &mut requests {
            assert!(
                matches!(poll(request), Poll::Ready(_)),
                "the last is dropped"
            );
        }
        assert_eq!(slots.used(), 0);
    }

    #[test]
    fn the_requests_of_one_owner_do_not_wait_for_those_of_another() {
        let slots = FairSlots::new(1);
        let held = slots.try_acquire(NOISY).unwrap();
        let mut flood = waiting(&slots, NOISY, 100);
        let mut quiet = waiting(&slots, QUIET, 1);
        drop(held);
        let slot = match poll(&mut quiet[0]) {
            Poll::Ready(slot) => slot,
            Poll::Pending => panic!("the flood was served first"),
        };
        assert!(poll(&mut flood[0]).is_pending());
        drop(slot);
        assert!(poll(&mut flood[0]).is_ready());
    }

    #[test]
    fn an_owner_at_its_bound_waits_for_its_own_slots_only() {
        let slots = FairSlots::shared(4, 2);
        let mut held = vec![
            slots.try_acquire(NOISY).unwrap(),
            slots.try_acquire(NOISY).unwrap(),
        ];
        assert!(slots.try_acquire(NOISY).is_none());
        let mut flood = waiting(&slots, NOISY, 3);
        // Two are free, and go to others at once.
        let quiet = slots.try_acquire(QUIET).unwrap();
        drop(quiet);
        assert!(poll(&mut flood[0]).is_pending());
        assert_eq!(slots.used(), 2);
        held.pop();
        let first = match poll(&mut flood[0]) {
            Poll::Ready(slot) => slot,
            Poll::Pending => panic!("its own slot is free"),
        };
        assert!(poll(&mut flood[1]).is_pending());
        assert_eq!(slots.used(), 2);
        drop((first, held));
        // Each is dropped at once, and passed on.
        assert!(poll(&mut flood[1]).is_ready());
        assert!(poll(&mut flood[2]).is_ready());
        assert_eq!(slots.used(), 0);
    }

    #[test]
    fn a_request_that_leaves_is_not_counted_and_loses_no_slot() {
        let slots = FairSlots::new(1);
        let held = slots.try_acquire(NOISY).unwrap();
        let mut requests = waiting(&slots, NOISY, 3);
        drop(requests.remove(0));
        assert_eq!(slots.lock().lanes[0].waiting.len(), 2);
        drop(held);
        // This one has its slot already, and passes it on.
        drop(requests.remove(0));
        assert!(poll(&mut requests[0]).is_ready());
        assert_eq!(slots.used(), 0);
        assert!(slots.lock().accounts.has_one_owner());
    }

    #[test]
    fn the_lanes_of_owners_without_requests_are_removed() {
        let slots = FairSlots::new(1);
        for id in 0..1000 {
            assert!(slots.try_acquire(Owner { id, weight: 1 }).is_some());
        }
        assert!(slots.lock().lanes.len() <= MAX_IDLE_LANES);
        assert_eq!(slots.used(), 0);
    }
}
