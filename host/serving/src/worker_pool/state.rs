//! The queues of a pool and its thread counts, which determine the next job and the thread that is woken, started or
//! ended.
//!
//! Each job has an owner. Of the owners with jobs that may run, the one that has used the least of the threads by its
//! weight is served, by the measured time of its jobs ([`owner_accounts`](crate::owner_accounts)); its queues take
//! turns. An owner other than the local one occupies three quarters of the threads at most: a computation is not
//! interrupted, and there are more threads than cores, so this costs no time.
//!
//! The state is changed under one lock and starts no thread itself. Invariant: while jobs may run, as many threads
//! are on their way, or all threads that there may be are busy.

use crate::owner::Owner;
use crate::owner_accounts::OwnerAccounts;
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Condvar};
use std::time::Duration;

/// The number of lanes of a queue above which those without jobs are removed.
const MAX_IDLE_LANES: usize = 8;

/// The progress of a job that waits in its queue. All changes of the progress are made while the pool is locked.
pub(super) const QUEUED: u8 = 0;
/// The progress of a job that a thread runs.
const RUNNING: u8 = 1;
/// The progress of a job that runs on a thread which no longer counts.
const ABANDONED: u8 = 2;
/// The progress of a job that has ended.
const ENDED: u8 = 3;

/// The limits of a queue.
#[derive(Debug, Clone, Copy)]
pub struct WorkerOptions {
    /// The number of jobs that run at the same time.
    pub threads: NonZeroUsize,
    /// The number of jobs that may wait, for each owner.
    pub queue: usize,
}

type Job = Box<dyn FnOnce() + Send>;

/// A waiting job and its progress.
pub(super) struct Queued {
    pub(super) job: Job,
    pub(super) progress: Arc<AtomicU8>,
}

/// A job that a thread has taken from its queue.
pub(super) struct Taken {
    pub(super) job: Job,
    pub(super) running: Running,
}

/// A job that runs.
pub(super) struct Running {
    /// The index of its queue.
    pub(super) queue: usize,
    pub(super) progress: Arc<AtomicU8>,
    owner: Owner,
    /// The time that the owner has been charged for it.
    estimate: Duration,
}

/// The state of a pool, of which changes are made under its lock.
#[derive(Default)]
pub(super) struct State {
    /// The queues, by index; `None` if the queue has been removed.
    queues: Vec<Option<QueueState>>,
    free: Vec<usize>,
    /// The indices of the queues with jobs that may run, in the order of their turns.
    ready: VecDeque<usize>,
    /// The number of jobs that may run now, in all queues, regardless of the shares of their owners.
    runnable: usize,
    /// The use of the threads by each owner.
    accounts: OwnerAccounts,
    /// The number of threads that each owner occupies, by the position of its account.
    occupied: Vec<usize>,
    /// The sleeping threads. The last one has slept for the shortest time.
    pub(super) sleeping: Vec<Arc<Sleeper>>,
    /// The number of threads that have been woken or started, and do not have the lock yet. Each takes a job if
    /// there is one.
    pub(super) waking: usize,
    /// The number of threads, without those whose job has been abandoned.
    pub(super) threads: usize,
    /// The maximum number of threads.
    most: usize,
    /// Set once the pool has been dropped.
    pub(super) closed: bool,
}

/// The jobs of one queue.
struct QueueState {
    options: WorkerOptions,
    /// The jobs by owner.
    lanes: Vec<Lane>,
    /// The number of waiting jobs in all lanes.
    waiting: usize,
    running: usize,
    /// The mean time of a job, which is charged when one starts.
    mean: Duration,
    /// The number of jobs that run on threads which no longer count. Other jobs replace as many of them as may
    /// run at the same time; the rest keep theirs.
    abandoned: usize,
    /// The queue's part of [`State::runnable`].
    runnable: usize,
    /// Set once the queue has been dropped by its user. The state is removed with the last job.
    closed: bool,
}

/// The jobs of one owner in a queue.
struct Lane {
    owner: Owner,
    account: usize,
    jobs: VecDeque<Queued>,
    /// The numbers of running jobs on threads that count, and on those that do not.
    running: usize,
    abandoned: usize,
}

/// A thread that waits for work, or has been woken. Lifetime: a thread.
#[derive(Default)]
pub(super) struct Sleeper {
    pub(super) wake: Condvar,
    /// Set by the thread that has removed this one from the sleeping ones.
    pub(super) is_woken: AtomicBool,
}

/// The thread that the waiting jobs need.
pub(super) enum Call {
    Nobody,
    Sleeper(Arc<Sleeper>),
    /// A thread that is counted, and must be started.
    NewThread,
}

/// The next step of a thread after a job.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Continues,
    Ends,
}

// === impl State ===

impl State {
    /// Returns the state of a pool without queues that starts `kept` threads, of at most `most`.
    pub(super) fn new(kept: usize, most: usize) -> State {
        State {
            waking: kept,
            threads: kept,
            most: most.max(kept),
            ..State::default()
        }
    }

    /// Adds a queue without jobs, and returns its index.
    pub(super) fn add(&mut self, options: WorkerOptions) -> usize {
        self.most = self.most.max(options.threads.get());
        let queue = Some(QueueState {
            options,
            lanes: Vec::new(),
            waiting: 0,
            running: 0,
            mean: Duration::ZERO,
            abandoned: 0,
            runnable: 0,
            closed: false,
        });
        match self.free.pop() {
            Some(index) => {
                self.queues[index] = queue;
                index
            }
            None => {
                self.queues.push(queue);
                self.queues.len() - 1
            }
        }
    }

    /// Adds a job of an owner to a queue, or returns it if as many jobs of the owner wait there as may.
    pub(super) fn push(
        &mut self,
        (index, owner): (usize, Owner),
        job: Queued,
    ) -> Result<(), Queued> {
        let Some(queue) = self.queues[index].as_mut() else {
            return Err(job);
        };
        let position = match queue.lane(owner) {
            Some(position) => position,
            None => queue.open_lane(owner, &mut self.accounts),
        };
        let lane = &mut queue.lanes[position];
        if lane.jobs.len() >= queue.options.queue {
            return Err(job);
        }
        lane.owner = owner;
        lane.jobs.push_back(job);
        queue.waiting += 1;
        self.accounts.enter(lane.account, (owner, 1));
        if self.occupied.len() <= lane.account {
            self.occupied.resize(lane.account + 1, 0);
        }
        self.refresh(index);
        Ok(())
    }

    /// Updates the number of jobs that may run, after a change of the queue.
    fn refresh(&mut self, index: usize) {
        let Some(queue) = self.queues[index].as_mut() else {
            return;
        };
        let runnable = queue.waiting.min(queue.free_places());
        let before = std::mem::replace(&mut queue.runnable, runnable);
        self.runnable = self.runnable - before + runnable;
        match (before > 0, runnable > 0) {
            (false, true) => self.ready.push_back(index),
            (true, false) => self.ready.retain(|ready| *ready != index),
            _ => {}
        }
    }

    /// Takes the next job.
    pub(super) fn take(&mut self) -> Option<Taken> {
        let (turn, position) = self.next()?;
        let index = self.ready.remove(turn)?;
        let queue = self.queues[index].as_mut()?;
        // Counted again, and put last, if there are others.
        self.runnable -= std::mem::take(&mut queue.runnable);
        let lane = &mut queue.lanes[position];
        let Queued { job, progress } = lane.jobs.pop_front()?;
        lane.running += 1;
        queue.waiting -= 1;
        queue.running += 1;
        progress.store(RUNNING, Relaxed);
        self.accounts.start(lane.account, queue.mean);
        self.occupied[lane.account] += 1;
        let running = Running {
            queue: index,
            progress,
            owner: lane.owner,
            estimate: queue.mean,
        };
        self.refresh(index);
        Some(Taken { job, running })
    }

    /// Returns the place of the next queue among the turns, and the position of the lane whose job is next.
    fn next(&self) -> Option<(usize, usize)> {
        if self.accounts.has_one_owner() {
            let queue = self.queues[*self.ready.front()?].as_ref()?;
            let first = queue.lanes.iter().position(|lane| !lane.jobs.is_empty())?;
            return self.may_run(&queue.lanes[first]).then_some((0, first));
        }
        let mut next = None;
        for (turn, index) in self.ready.iter().enumerate() {
            let Some(queue) = &self.queues[*index] else {
                continue;
            };
            for (position, lane) in queue.lanes.iter().enumerate() {
                if lane.jobs.is_empty() || !self.may_run(lane) {
                    continue;
                }
                let used = self.accounts.used(lane.account);
                if next.is_none_or(|(least, _)| used < least) {
                    next = Some((used, (turn, position)));
                }
            }
        }
        next.map(|(_, found)| found)
    }

    /// Returns whether the owner of the lane may occupy another thread.
    fn may_run(&self, lane: &Lane) -> bool {
        // At least one, if there is only one thread.
        let share = self.most - self.most / 4;
        lane.owner.is_local() || self.occupied[lane.account] < share
    }

    /// Returns the thread for a job that may run and for which no other thread is on its way.
    pub(super) fn call(&mut self) -> Call {
        if self.waking >= self.runnable || self.next().is_none() {
            return Call::Nobody;
        }
        if let Some(sleeper) = self.sleeping.pop() {
            self.waking += 1;
            sleeper.is_woken.store(true, Relaxed);
            return Call::Sleeper(sleeper);
        }
        if self.threads < self.most {
            self.waking += 1;
            self.threads += 1;
            return Call::NewThread;
        }
        Call::Nobody
    }

    /// Stops counting a new thread that could not be started. Returns the thread that takes its place: one may have
    /// gone to sleep while the new one was expected. Does not return [`Call::NewThread`].
    pub(super) fn not_started(&mut self) -> Call {
        self.waking -= 1;
        self.threads -= 1;
        match self.sleeping.is_empty() {
            true => Call::Nobody,
            false => self.call(),
        }
    }

    /// Stops counting the thread of a running job of the owner. Returns whether it did.
    pub(super) fn abandon(&mut self, (index, owner): (usize, Owner), progress: &AtomicU8) -> bool {
        // The queue of a running job is not removed, so that the index is still its own.
        if progress.load(Relaxed) != RUNNING {
            return false;
        }
        let Some(queue) = self.queues[index].as_mut() else {
            return false;
        };
        if queue.closed {
            return false;
        }
        progress.store(ABANDONED, Relaxed);
        queue.running -= 1;
        queue.abandoned += 1;
        if let Some(position) = queue.lane(owner) {
            let lane = &mut queue.lanes[position];
            lane.running = lane.running.saturating_sub(1);
            lane.abandoned += 1;
            let occupied = &mut self.occupied[lane.account];
            *occupied = occupied.saturating_sub(1);
        }
        self.threads -= 1;
        self.refresh(index);
        true
    }

    /// Records the end of a job that took this time, and returns the course of its thread. A thread that no longer
    /// counts continues if it is needed, or if fewer than `kept` are left.
    pub(super) fn ended(&mut self, job: &Running, took: Duration, kept: usize) -> Next {
        let was_abandoned = job.progress.load(Relaxed) == ABANDONED;
        job.progress.store(ENDED, Relaxed);
        let index = job.queue;
        let Some(queue) = self.queues[index].as_mut() else {
            return Next::Continues;
        };
        let is_counted = !was_abandoned && !queue.closed;
        match is_counted {
            true => queue.running -= 1,
            false => queue.abandoned -= 1,
        }
        queue.mean = (queue.mean.saturating_mul(7).saturating_add(took)) / 8;
        if let Some(position) = queue.lane(job.owner) {
            let lane = &mut queue.lanes[position];
            if is_counted {
                lane.running = lane.running.saturating_sub(1);
                let occupied = &mut self.occupied[lane.account];
                *occupied = occupied.saturating_sub(1);
            } else {
                lane.abandoned = lane.abandoned.saturating_sub(1);
            }
            self.accounts.correct(lane.account, (job.estimate, took));
            self.accounts.leave(lane.account, 1);
        }
        match queue.closed && queue.abandoned == 0 {
            true => self.remove(index),
            false => self.refresh(index),
        }
        if is_counted {
            return Next::Continues;
        }
        let has_work = self.runnable > self.waking && self.threads < self.most;
        match has_work || self.threads < kept {
            true => {
                self.threads += 1;
                Next::Continues
            }
            false => Next::Ends,
        }
    }

    /// Charges `to` a part of the time of a running job that `from` is charged.
    pub(super) fn transfer(&mut self, (from, to): (Owner, Owner), cost: Duration) {
        let position = self.accounts.open(from);
        self.accounts.transfer((position, to), cost);
        self.accounts.close(position);
    }

    /// Closes a queue. Returns its waiting jobs, which the caller drops outside the lock. The results of running jobs are not
    /// needed, so their threads no longer count.
    pub(super) fn close(&mut self, index: usize) -> Vec<Queued> {
        let Some(queue) = self.queues[index].as_mut() else {
            return Vec::new();
        };
        let mut jobs = Vec::with_capacity(queue.waiting);
        for lane in &mut queue.lanes {
            self.accounts.leave(lane.account, lane.jobs.len());
            jobs.extend(lane.jobs.drain(..));
            let running = std::mem::take(&mut lane.running);
            lane.abandoned += running;
            let occupied = &mut self.occupied[lane.account];
            *occupied = occupied.saturating_sub(running);
        }
        queue.waiting = 0;
        let running = std::mem::take(&mut queue.running);
        queue.abandoned += running;
        queue.closed = true;
        let is_idle = queue.abandoned == 0;
        self.threads -= running;
        self.refresh(index);
        if is_idle {
            self.remove(index);
        }
        jobs
    }

    fn remove(&mut self, index: usize) {
        if let Some(queue) = self.queues[index].take() {
            for lane in &queue.lanes {
                self.accounts.close(lane.account);
            }
        }
        self.free.push(index);
    }
}

// === impl QueueState ===

impl QueueState {
    /// Returns the number of further jobs that may run at the same time.
    fn free_places(&self) -> usize {
        let places = self.options.threads.get();
        let kept = self.abandoned.saturating_sub(places);
        places.saturating_sub(self.running + kept)
    }

    /// Returns the position of the lane of an owner.
    fn lane(&self, owner: Owner) -> Option<usize> {
        self.lanes.iter().position(|lane| lane.owner.id == owner.id)
    }

    /// Adds a lane for an owner, and returns its position.
    fn open_lane(&mut self, owner: Owner, accounts: &mut OwnerAccounts) -> usize {
        if self.lanes.len() >= MAX_IDLE_LANES {
            self.lanes.retain(|lane| {
                let is_used = !lane.jobs.is_empty() || lane.running > 0 || lane.abandoned > 0;
                if !is_used {
                    accounts.close(lane.account);
                }
                is_used
            });
        }
        self.lanes.push(Lane {
            owner,
            account: accounts.open(owner),
            jobs: VecDeque::new(),
            running: 0,
            abandoned: 0,
        });
        self.lanes.len() - 1
    }
}

#[cfg(test)]
mod tests;
