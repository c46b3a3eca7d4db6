//! The turns of a graph on the threads of the pool, each of which computes one batch of the waiting requests.
//!
//! A turn is submitted when a batch is ready and fewer turns than threads are on their way. It takes what is ready
//! when it begins, so that requests which arrive in the meantime still join. Invariant: after every change of the
//! schedule (an arrival, a batch that is taken, a turn that ends, the end of a delay), each owner either has no batch
//! ready, or as many turns as threads are on their way for it. An incomplete batch that is held occupies no thread.
//!
//! A turn belongs to an owner, which leads its batch, so that the pool chooses between the owners of all graphs. The
//! owner is charged the time of the turn, except for the parts of others in its batch, by their rows.

use super::completion_order::CompletionOrder;
use super::delay_timer::{Wake, wake_at};
use super::execution::{Delivery, Entry, Executor};
use super::schedule::{Arrival, Schedule};
use super::turn::{Member, RunningBatch, Turn};
use crate::owner::Owner;
use crate::worker_pool::WorkerQueue;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use wisp_sandbox::compute::ComputeError;

/// The waiting requests of a graph and its turns. Lifetime: a model version.
pub(super) struct Dispatcher {
    itself: Weak<Dispatcher>,
    state: Mutex<State>,
    queue: WorkerQueue,
    executor: Arc<Executor>,
    /// The results that wait for those before them; `None` if results are delivered as they come.
    order: Option<Mutex<CompletionOrder<Delivery>>>,
    /// Set if the timer wakes the dispatcher.
    has_timer: bool,
    /// The number of waiting requests, which is read without the lock.
    waiting: AtomicUsize,
}

/// The settings of a dispatcher.
pub(super) struct DispatcherParts {
    pub(super) schedule: Schedule<Entry>,
    pub(super) queue: WorkerQueue,
    pub(super) executor: Arc<Executor>,
    pub(super) preserve_ordering: bool,
    pub(super) has_timer: bool,
}

struct State {
    schedule: Schedule<Entry>,
    /// The turns of each owner that have been submitted and have not ended, without abandoned ones.
    turns: TurnCounts,
    /// The time at which the timer wakes the dispatcher.
    alarm: Option<Instant>,
}

/// The things to do after a change of the state, without its lock.
#[must_use]
struct FollowUp {
    rejected: Vec<Entry>,
    /// The owner that needs another turn.
    turn_of: Option<Owner>,
    /// The other owners that have a batch ready and no turn.
    turns_of_others: Vec<Owner>,
    alarm: Option<Instant>,
}

/// The numbers of turns by the number of their owner, without those that have none.
#[derive(Default)]
struct TurnCounts(Vec<(u32, usize)>);

/// The rows of an owner in a batch.
struct OwnedRows {
    owner: Owner,
    rows: u32,
}

/// Ends a turn when it is dropped.
struct RunningTurn<'a> {
    dispatcher: &'a Dispatcher,
    turn: &'a Turn,
}

// === impl Dispatcher ===

impl Dispatcher {
    pub(super) fn new(parts: DispatcherParts) -> Arc<Dispatcher> {
        let DispatcherParts {
            schedule,
            queue,
            executor,
            preserve_ordering,
            has_timer,
        } = parts;
        Arc::new_cyclic(|itself| Dispatcher {
            itself: Weak::clone(itself),
            state: Mutex::new(State {
                schedule,
                turns: TurnCounts::default(),
                alarm: None,
            }),
            queue,
            executor,
            order: preserve_ordering.then(Mutex::default),
            has_timer,
            waiting: AtomicUsize::new(0),
        })
    }

    /// Returns whether requests wait. The number may have changed since.
    pub(super) fn has_waiting(&self) -> bool {
        self.waiting.load(Relaxed) > 0
    }

    /// Adds a request to the schedule and returns its number.
    ///
    /// # Errors
    /// Returns [`ComputeError::QueueFull`] if too many requests wait.
    pub(super) fn submit(&self, arrival: Arrival<Entry>) -> Result<u64, ComputeError> {
        let (mut state, now) = self.lock();
        let pushed = state.schedule.push(arrival, now);
        let follow_up = self.follow_up(&mut state, now);
        drop(state);
        self.carry_out(follow_up);
        // Outside the lock, the entry that was refused is dropped here.
        pushed.map_err(|_entry| ComputeError::QueueFull)
    }

    /// Removes a request whose caller has gone. A batch that is computed is cancelled with its last member.
    pub(super) fn leave(&self, number: u64, member: &Member) {
        let (mut state, now) = self.lock();
        let removed = state.schedule.remove(number);
        let follow_up = self.follow_up(&mut state, now);
        drop(state);
        self.carry_out(follow_up);
        if removed.is_none()
            && let Some(batch) = member.leave()
        {
            self.abandon(batch);
        }
    }

    /// Cancels a batch that nobody waits for, and gives its place to another.
    fn abandon(&self, batch: &RunningBatch) {
        batch.cancellation.cancel();
        if batch.turn.give_up() {
            let (mut state, now) = self.lock();
            state.turns.remove(batch.turn.owner());
            let follow_up = self.follow_up(&mut state, now);
            drop(state);
            batch.turn.abandon();
            self.carry_out(follow_up);
        }
        // A batch with results delivers them itself.
        if !batch.has_results() {
            self.deliver_in_order(batch, Vec::new());
        }
    }

    /// Returns the state and the time. The time is read under the lock: it is then never before the arrival of a
    /// request in the schedule, which would seem to be held and would wait for a change that does not come.
    fn lock(&self) -> (MutexGuard<'_, State>, Instant) {
        // No code panics while the lock is held, so a poisoned lock still guards a consistent state.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state, Instant::now())
    }

    /// Returns the actions that a change of the state requires.
    fn follow_up(&self, state: &mut State, now: Instant) -> FollowUp {
        let rejected = state.schedule.take_rejected(now);
        let State {
            schedule, turns, ..
        } = state;
        let turn_of = schedule.leader(now, |owner| turns.of(owner) >= self.queue.threads());
        let mut turns_of_others = Vec::new();
        if let Some(owner) = turn_of {
            turns.add(owner);
            // Several may be ready at the end of a delay, and no owner waits for the turns of another.
            while let Some(other) = schedule.leader(now, |owner| turns.of(owner) > 0) {
                turns.add(other);
                turns_of_others.push(other);
            }
        }
        let mut alarm = None;
        if self.has_timer {
            let set = state.alarm;
            alarm = state.schedule.next_change(now);
            alarm = alarm.filter(|at| set.is_none_or(|set| *at < set || set <= now));
            state.alarm = alarm.or(set);
        }
        self.waiting.store(state.schedule.len(), Relaxed);
        FollowUp {
            rejected,
            turn_of,
            turns_of_others,
            alarm,
        }
    }

    fn carry_out(&self, follow_up: FollowUp) {
        let FollowUp {
            rejected,
            turn_of,
            turns_of_others,
            alarm,
        } = follow_up;
        for entry in rejected {
            entry.finish(Err(ComputeError::QueueTimeout), &mut Delivery::send);
        }
        for owner in turn_of.into_iter().chain(turns_of_others) {
            self.submit_turn(owner);
        }
        if let Some(at) = alarm {
            let itself: Weak<dyn Wake> = Weak::<Dispatcher>::clone(&self.itself);
            wake_at(at, itself);
        }
    }

    /// Submits a turn that is counted already.
    fn submit_turn(&self, owner: Owner) {
        let turn = Arc::new(Turn::new(owner));
        let (own, dispatcher) = (Arc::clone(&turn), Weak::clone(&self.itself));
        let submitted = self.queue.submit_for(owner, move || {
            if let Some(dispatcher) = dispatcher.upgrade() {
                dispatcher.take_turn(&own);
            }
        });
        match submitted {
            Ok(ticket) => turn.set_ticket(ticket),
            // There is room for as many turns as are counted; the next change submits another one.
            Err(_) => {
                let (mut state, _) = self.lock();
                state.turns.remove(owner);
            }
        }
    }

    /// Computes the batch that is ready, if it still is.
    fn take_turn(&self, turn: &Arc<Turn>) {
        let _running = RunningTurn {
            dispatcher: self,
            turn,
        };
        let (mut state, now) = self.lock();
        let entries = state.schedule.take(turn.owner(), now);
        let order = match (&self.order, entries.is_empty()) {
            (Some(order), false) => Some(lock_order(order).begin()),
            _ => None,
        };
        let batch = RunningBatch::new(turn, entries.len(), order);
        // Under the lock, so that a caller that leaves finds its request in the schedule or in the batch.
        for entry in &entries {
            entry.member.join(&batch);
        }
        let follow_up = self.follow_up(&mut state, now);
        drop(state);
        self.carry_out(follow_up);
        if entries.is_empty() {
            return;
        }
        let others = rows_of_others(&entries, turn.owner());
        self.execute(entries, &batch);
        self.charge_others(turn.owner(), (others, now.elapsed()));
    }

    /// Computes a batch and delivers its results.
    fn execute(&self, entries: Vec<Entry>, batch: &RunningBatch) {
        match &self.order {
            None => self.executor.execute(entries, batch, &mut Delivery::send),
            Some(_) => {
                let mut deliveries = Vec::with_capacity(entries.len());
                let mut keep = |delivery: Delivery| deliveries.push(delivery);
                self.executor.execute(entries, batch, &mut keep);
                self.deliver_in_order(batch, deliveries);
            }
        }
    }

    /// Charges the owners of a batch that another one leads for their parts of its time.
    fn charge_others(
        &self,
        leader: Owner,
        (others, took): (Option<(Vec<OwnedRows>, u32)>, Duration),
    ) {
        let Some((others, all)) = others else {
            return;
        };
        let parts = others.into_iter().map(|OwnedRows { owner, rows }| {
            let part = took.saturating_mul(rows) / all.max(1);
            (owner, part)
        });
        let parts: Vec<(Owner, Duration)> = parts.collect();
        self.queue.split_cost(leader, &parts);
    }

    /// Ends a batch whose results have a place among others, and delivers all those that may be delivered now.
    fn deliver_in_order(&self, batch: &RunningBatch, deliveries: Vec<Delivery>) {
        if let (Some(order), Some(number)) = (&self.order, batch.order) {
            let mut order = lock_order(order);
            // Sent under the lock, so that no thread overtakes another. Sending only wakes the caller.
            for delivery in order.finish(number, deliveries) {
                delivery.send();
            }
        }
    }

    fn end_turn(&self, turn: &Turn) {
        let (mut state, now) = self.lock();
        if turn.end() {
            state.turns.remove(turn.owner());
        }
        let follow_up = self.follow_up(&mut state, now);
        drop(state);
        self.carry_out(follow_up);
    }
}

impl Wake for Dispatcher {
    fn wake(self: Arc<Dispatcher>) {
        let (mut state, now) = self.lock();
        state.alarm = state.alarm.filter(|at| *at > now);
        let follow_up = self.follow_up(&mut state, now);
        drop(state);
        self.carry_out(follow_up);
    }
}

impl Drop for RunningTurn<'_> {
    fn drop(&mut self) {
        self.dispatcher.end_turn(self.turn);
    }
}

impl TurnCounts {
    /// Returns the number of turns of an owner.
    fn of(&self, owner: Owner) -> usize {
        let found = self.0.iter().find(|(id, _)| *id == owner.id);
        found.map_or(0, |(_, turns)| *turns)
    }

    fn add(&mut self, owner: Owner) {
        match self.0.iter_mut().find(|(id, _)| *id == owner.id) {
            Some((_, turns)) => *turns += 1,
            None => self.0.push((owner.id, 1)),
        }
    }

    fn remove(&mut self, owner: Owner) {
        if let Some((_, turns)) = self.0.iter_mut().find(|(id, _)| *id == owner.id) {
            *turns = turns.saturating_sub(1);
        }
        // One place stays, so that the turns of a single owner allocate nothing.
        if self.0.len() > 1 {
            self.0.retain(|(_, turns)| *turns > 0);
        }
    }
}

/// Returns the rows of the owners other than the leader of a batch, and the number of all rows; `None` if there are no
/// other owners.
fn rows_of_others(entries: &[Entry], leader: Owner) -> Option<(Vec<OwnedRows>, u32)> {
    if entries.iter().all(|entry| entry.owner.id == leader.id) {
        return None;
    }
    let mut others: Vec<OwnedRows> = Vec::new();
    let mut all: u32 = 0;
    for entry in entries {
        let rows = entry.rows.max(1);
        all = all.saturating_add(rows);
        if entry.owner.id == leader.id {
            continue;
        }
        match others.iter_mut().find(|of| of.owner.id == entry.owner.id) {
            Some(of) => of.rows = of.rows.saturating_add(rows),
            None => others.push(OwnedRows {
                owner: entry.owner,
                rows,
            }),
        }
    }
    Some((others, all))
}

fn lock_order(
    order: &Mutex<CompletionOrder<Delivery>>,
) -> MutexGuard<'_, CompletionOrder<Delivery>> {
    // No code panics while the lock is held.
    order.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispatcher")
            .field("queue", &self.queue)
            .field("executor", &self.executor)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}
