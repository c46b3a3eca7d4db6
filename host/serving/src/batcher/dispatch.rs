//! The turns of a graph on the threads of the pool, each of which computes one batch of the waiting requests.
//!
//! A turn is submitted when a batch is ready and fewer turns than threads are on their way. It takes what is ready
//! when it begins, so that requests which arrive in the meantime still join. Invariant: after every change of the
//! schedule (an arrival, a batch that is taken, a turn that ends, the end of a delay), either no batch is ready or as
//! many turns as threads are on their way. An incomplete batch that is held occupies no thread.

use super::completion_order::CompletionOrder;
use super::delay_timer::{Wake, wake_at};
use super::execution::{Delivery, Entry, Executor};
use super::schedule::{Arrival, Outlook, Schedule};
use super::turn::{Member, RunningBatch, Turn};
use crate::worker_pool::WorkerQueue;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;
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
    /// The turns that have been submitted and have not ended, without abandoned ones.
    turns: usize,
    /// The time at which the timer wakes the dispatcher.
    alarm: Option<Instant>,
}

/// The things to do after a change of the state, without its lock.
#[must_use]
struct FollowUp {
    rejected: Vec<Entry>,
    needs_turn: bool,
    alarm: Option<Instant>,
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
                turns: 0,
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
            state.turns = state.turns.saturating_sub(1);
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

    /// Returns what must follow a change of the state.
    fn follow_up(&self, state: &mut State, now: Instant) -> FollowUp {
        let rejected = state.schedule.take_rejected(now);
        let is_ready = state.schedule.outlook(now) == Outlook::Ready;
        let needs_turn = is_ready && state.turns < self.queue.threads();
        if needs_turn {
            state.turns += 1;
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
            needs_turn,
            alarm,
        }
    }

    fn carry_out(&self, follow_up: FollowUp) {
        let FollowUp {
            rejected,
            needs_turn,
            alarm,
        } = follow_up;
        for entry in rejected {
            entry.finish(Err(ComputeError::QueueTimeout), &mut Delivery::send);
        }
        if needs_turn {
            self.submit_turn();
        }
        if let Some(at) = alarm {
            let itself: Weak<dyn Wake> = Weak::<Dispatcher>::clone(&self.itself);
            wake_at(at, itself);
        }
    }

    /// Submits a turn that is counted already.
    fn submit_turn(&self) {
        let turn = Arc::new(Turn::default());
        let (own, dispatcher) = (Arc::clone(&turn), Weak::clone(&self.itself));
        let submitted = self.queue.submit(move || {
            if let Some(dispatcher) = dispatcher.upgrade() {
                dispatcher.take_turn(&own);
            }
        });
        match submitted {
            Ok(ticket) => turn.set_ticket(ticket),
            // There is room for as many turns as are counted; the next change submits another one.
            Err(_) => {
                let (mut state, _) = self.lock();
                state.turns = state.turns.saturating_sub(1);
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
        let entries = state.schedule.take(now);
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
        match &self.order {
            None => self.executor.execute(entries, &batch, &mut Delivery::send),
            Some(_) => {
                let mut deliveries = Vec::with_capacity(entries.len());
                let mut keep = |delivery: Delivery| deliveries.push(delivery);
                self.executor.execute(entries, &batch, &mut keep);
                self.deliver_in_order(&batch, deliveries);
            }
        }
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
            state.turns = state.turns.saturating_sub(1);
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
