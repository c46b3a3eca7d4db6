//! A turn of a graph on a thread of the pool, and the batch that is computed in it.

use crate::owner::Owner;
use crate::worker_pool::Ticket;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use wisp_backend::Cancellation;

/// A job that takes one batch. Lifetime: one batch.
#[derive(Default)]
pub(super) struct Turn {
    /// The owner that leads the batch.
    owner: Owner,
    state: Mutex<TurnState>,
}

#[derive(Default)]
struct TurnState {
    /// `None` until the job has been submitted, which may be after it has begun.
    ticket: Option<Ticket>,
    is_abandoned: bool,
    has_ended: bool,
}

/// A batch that has been taken for computation. Lifetime: one batch.
pub(super) struct RunningBatch {
    pub(super) cancellation: Cancellation,
    pub(super) turn: Arc<Turn>,
    /// The number of the batch, if results are delivered in order.
    pub(super) order: Option<u64>,
    /// The number of members that wait for a result.
    members: AtomicUsize,
    /// Set if a member has its result, which may not be delivered yet.
    has_results: AtomicBool,
}

/// The part that a request has in a batch, which its caller and the batch share. Lifetime: one request.
#[derive(Default)]
pub(super) struct Member {
    /// Set once the member has its result, or nobody waits for it.
    has_left: AtomicBool,
    /// The batch, once the request has been taken.
    batch: OnceLock<Arc<RunningBatch>>,
}

// === impl Turn ===

impl Turn {
    /// Returns a turn of an owner.
    pub(super) fn new(owner: Owner) -> Turn {
        Turn {
            owner,
            ..Turn::default()
        }
    }

    /// Returns the owner that leads the batch of the turn.
    pub(super) fn owner(&self) -> Owner {
        self.owner
    }

    /// Keeps the ticket of the job. A turn that nobody waits for any more is abandoned now.
    pub(super) fn set_ticket(&self, ticket: Ticket) {
        let mut state = self.lock();
        match state.is_abandoned {
            false => state.ticket = Some(ticket),
            true => {
                drop(state);
                ticket.abandon();
            }
        }
    }

    /// Records that nobody waits for the turn. Returns whether it did before the turn ended.
    pub(super) fn give_up(&self) -> bool {
        let mut state = self.lock();
        let is_first = !state.is_abandoned && !state.has_ended;
        state.is_abandoned |= is_first;
        is_first
    }

    /// Lets another thread take the place of the one that runs the job.
    pub(super) fn abandon(&self) {
        let ticket = self.lock().ticket.take();
        if let Some(ticket) = ticket {
            ticket.abandon();
        }
    }

    /// Records the end of the turn. Returns whether it was still waited for.
    pub(super) fn end(&self) -> bool {
        let mut state = self.lock();
        state.has_ended = true;
        !state.is_abandoned
    }

    fn lock(&self) -> MutexGuard<'_, TurnState> {
        // No code panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl RunningBatch ===

impl RunningBatch {
    /// Returns a batch of this many members, which is computed in this turn.
    pub(super) fn new(turn: &Arc<Turn>, members: usize, order: Option<u64>) -> Arc<RunningBatch> {
        Arc::new(RunningBatch {
            cancellation: Cancellation::new(),
            turn: Arc::clone(turn),
            order,
            members: AtomicUsize::new(members),
            has_results: AtomicBool::new(false),
        })
    }
}

impl RunningBatch {
    /// Returns whether a member has its result, once no member waits for one.
    pub(super) fn has_results(&self) -> bool {
        self.has_results.load(SeqCst)
    }
}

// === impl Member ===

impl Member {
    /// Records the batch of the member.
    pub(super) fn join(&self, batch: &Arc<RunningBatch>) {
        // A request is taken once.
        let _ = self.batch.set(Arc::clone(batch));
    }

    /// Records that the member has its result.
    pub(super) fn finish(&self) {
        if let Some(batch) = self.batch.get()
            && !self.has_left.swap(true, SeqCst)
        {
            batch.has_results.store(true, SeqCst);
            batch.members.fetch_sub(1, SeqCst);
        }
    }

    /// Records that nobody waits for the result. Returns the batch if it has no other member that is waited for.
    pub(super) fn leave(&self) -> Option<&Arc<RunningBatch>> {
        let batch = self.batch.get()?;
        if self.has_left.swap(true, SeqCst) {
            return None;
        }
        (batch.members.fetch_sub(1, SeqCst) == 1).then_some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_left_with_the_last_member_that_waits() {
        let batch = RunningBatch::new(&Arc::default(), 3, None);
        let members: [Member; 3] = Default::default();
        for member in &members {
            assert!(member.leave().is_none());
            member.join(&batch);
        }
        let [answered, gone, last] = members;
        answered.finish();
        assert!(answered.leave().is_none());
        assert!(gone.leave().is_none());
        assert!(gone.leave().is_none());
        assert!(last.leave().is_some());
        last.finish();
    }

    #[test]
    fn a_turn_is_given_up_once_and_not_after_its_end() {
        let turn = Turn::default();
        assert!(turn.give_up());
        assert!(!turn.give_up());
        assert!(!turn.end());
        let turn = Turn::default();
        assert!(turn.end());
        assert!(!turn.give_up());
    }
}
