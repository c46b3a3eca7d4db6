//! The flows of a pool, with their jobs, their order and their usage.
//!
//! The choice has two levels. Of the owners with a job that may run, the one that has used the least by its weight
//! ([`owner_accounts`](crate::owner_accounts)) is served; of the flows with jobs of this owner, the one that has used
//! the least for it. The jobs of one owner in one flow are a *lane*, which is bounded on its own. With a single owner,
//! only the second level chooses.
//!
//! The state is changed under one lock and starts no thread. It does not depend on the type of a job.

use crate::owner::Owner;
use crate::owner_accounts::OwnerAccounts;
use std::collections::VecDeque;
use std::time::Duration;

/// The mean processor time of a call above which a flow is one of long jobs.
const LONG_CALL: Duration = Duration::from_millis(1);

/// The mean processor time of a call below which a flow of long jobs becomes one of short jobs again.
const SHORT_CALL: Duration = Duration::from_micros(500);

/// The number of lanes of a flow above which those without jobs are removed.
const MAX_IDLE_LANES: usize = 8;

/// The class of a flow, by the mean processor time of its calls, and of the threads that run them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Class {
    #[default]
    Short,
    Long,
}

/// The flows of a pool, and the sleeping threads. `J` is a job.
pub(super) struct State<J> {
    /// The flows, by index; `None` if the flow has been removed.
    flows: Vec<Option<FlowState<J>>>,
    free: Vec<usize>,
    /// The state of each class, by [`Class`].
    classes: [ClassState; 2],
    pub(super) closed: bool,
}

/// The state that the flows and threads of one class share.
#[derive(Default)]
struct ClassState {
    /// The indices of the flows that have a job and may run it.
    ready: Vec<usize>,
    /// The use of the threads of the class by each owner.
    accounts: OwnerAccounts,
    /// The number of sleeping threads that have not been notified yet. A count that is too high costs a
    /// system call for each surplus thread; one that is too low would lose a wake-up. A thread counts
    /// itself again each time that it goes to sleep.
    sleeping: usize,
}

struct FlowState<J> {
    class: Class,
    /// The jobs by owner.
    lanes: Vec<Lane<J>>,
    /// The number of waiting jobs in all lanes.
    waiting: usize,
    running: usize,
    /// The mean processor time of its jobs, which is charged when a job starts and corrected when it ends.
    mean: Duration,
    /// The mean processor time that a call has used at the end of a job, which determines the class. A job
    /// alone would not: the polls of a long call are short if its thread rarely gets a processor.
    mean_call: Duration,
    /// Set once no handle is left; the state is removed with the last running job.
    orphaned: bool,
}

/// The jobs of one owner in a flow.
struct Lane<J> {
    owner: Owner,
    /// The accounts of the owner, by [`Class`].
    accounts: [usize; 2],
    jobs: VecDeque<J>,
    running: usize,
    /// The processor time that the owner has used in the flow, on the clock of its flows in their class.
    used: Duration,
}

/// A job that a thread has taken from the queue.
pub(super) struct Taken<J> {
    pub(super) job: J,
    pub(super) charge: Charge,
}

/// The processor time of a job that has ended.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) job: Duration,
    /// The time of the call up to the end of this job.
    pub(super) call: Duration,
}

/// The estimated time that an owner and a flow were charged for a running job.
pub(super) struct Charge {
    pub(super) flow: usize,
    pub(super) owner: Owner,
    pub(super) estimate: Duration,
    /// The class of the thread that runs the job.
    pub(super) class: Class,
}

/// The class with a sleeping thread that must be notified, if any.
pub(super) type Notified = Option<Class>;

// === impl State ===

impl<J> Default for State<J> {
    fn default() -> State<J> {
        State {
            flows: Vec::new(),
            free: Vec::new(),
            classes: Default::default(),
            closed: false,
        }
    }
}

impl<J> State<J> {
    /// Adds a flow without jobs, and returns its index.
    pub(super) fn add(&mut self) -> usize {
        let flow = Some(FlowState::default());
        match self.free.pop() {
            Some(index) => {
                self.flows[index] = flow;
                index
            }
            None => {
                self.flows.push(flow);
                self.flows.len() - 1
            }
        }
    }

    /// Adds a job of an owner to a flow, of which the owner may have `limit` waiting, and the flow `threads` running.
    /// Returns the class of which a sleeping thread must be notified, or the job if there is no room.
    pub(super) fn push(
        &mut self,
        (index, owner): (usize, Owner),
        job: J,
        (limit, threads): (usize, usize),
    ) -> Result<Notified, J> {
        let State { flows, classes, .. } = self;
        let Some(flow) = flows[index].as_mut() else {
            return Err(job);
        };
        let position = match flow.lane(owner) {
            Some(position) => position,
            None => flow.open_lane(owner, classes),
        };
        let class = &mut classes[flow.class as usize];
        let lane = &mut flow.lanes[position];
        if lane.jobs.len() >= limit {
            return Err(job);
        }
        let account = lane.accounts[flow.class as usize];
        if lane.jobs.is_empty() && lane.running == 0 {
            lane.used = lane.used.max(class.accounts.flow_clock(account));
        }
        lane.owner = owner;
        lane.jobs.push_back(job);
        class.accounts.enter(account, (owner, 1));
        if flow.waiting == 0 && flow.running < threads {
            class.ready.push(index);
        }
        // If the flow already runs all the jobs that it may, the thread that ends one of them takes the next.
        let is_first = flow.running + flow.waiting < threads;
        flow.waiting += 1;
        let wakes = is_first && class.sleeping > 0;
        if wakes {
            class.sleeping -= 1;
        }
        Ok(wakes.then_some(flow.class))
    }

    /// Takes the next job of a class. A flow may have `threads` jobs running.
    pub(super) fn take(&mut self, class: Class, threads: usize) -> Option<Taken<J>> {
        let (first, position) = self.next(class)?;
        let State { flows, classes, .. } = self;
        let ClassState {
            ready, accounts, ..
        } = &mut classes[class as usize];
        let index = ready[first];
        let flow = flows[index].as_mut()?;
        let lane = &mut flow.lanes[position];
        let job = lane.jobs.pop_front()?;
        let account = lane.accounts[class as usize];
        accounts.advance_flow_clock(account, lane.used);
        accounts.start(account, flow.mean);
        lane.used = lane.used.saturating_add(flow.mean);
        lane.running += 1;
        flow.running += 1;
        flow.waiting -= 1;
        let charge = Charge {
            flow: index,
            owner: lane.owner,
            estimate: flow.mean,
            class,
        };
        if flow.waiting == 0 || flow.running >= threads {
            ready.swap_remove(first);
        }
        Some(Taken { job, charge })
    }

    /// Returns the position of the next flow among the ready ones, and of the lane whose job is next.
    fn next(&self, class: Class) -> Option<(usize, usize)> {
        let ClassState {
            ready, accounts, ..
        } = &self.classes[class as usize];
        let mut next = None;
        for (position, index) in ready.iter().enumerate() {
            let Some(flow) = &self.flows[*index] else {
                continue;
            };
            for (number, lane) in flow.lanes.iter().enumerate() {
                if lane.jobs.is_empty() {
                    continue;
                }
                let used = (accounts.used(lane.accounts[class as usize]), lane.used);
                if next.is_none_or(|(least, _)| used < least) {
                    next = Some((used, (position, number)));
                }
            }
        }
        next.map(|(_, found)| found)
    }

    /// Charges an owner and a flow the processor time of a job. Returns the class whose threads must be notified, if the
    /// flow has waiting jobs that the calling thread does not take.
    pub(super) fn ended(&mut self, charge: Charge, times: Times, threads: usize) -> Notified {
        let index = charge.flow;
        let State { flows, classes, .. } = self;
        let flow = flows[index].as_mut()?;
        let was_full = flow.running >= threads;
        flow.running -= 1;
        if let Some(position) = flow.lane(charge.owner) {
            let lane = &mut flow.lanes[position];
            lane.running = lane.running.saturating_sub(1);
            lane.used = lane
                .used
                .saturating_add(times.job)
                .saturating_sub(charge.estimate);
            let accounts = &mut classes[charge.class as usize].accounts;
            let account = lane.accounts[charge.class as usize];
            accounts.correct(account, (charge.estimate, times.job));
            accounts.leave(account, 1);
        }
        flow.mean = (flow.mean * 7 + times.job) / 8;
        flow.mean_call = flow.mean_call.saturating_mul(7).saturating_add(times.call) / 8;
        if flow.orphaned {
            if flow.running == 0 {
                self.remove(index);
            }
            return None;
        }
        let class = flow.class.of_mean(flow.mean_call);
        let moves = class != flow.class;
        if moves {
            flow.change_class(class, index, classes);
        }
        if flow.waiting == 0 || !(moves || was_full) {
            return None;
        }
        let class_state = &mut classes[class as usize];
        class_state.ready.push(index);
        // The calling thread takes a job of its own class next. Threads of another class do not see this job end.
        let notifies = moves || class != charge.class;
        if notifies {
            class_state.sleeping = 0;
        }
        notifies.then_some(class)
    }

    /// Records that no handle of a flow is left. Returns its waiting jobs, which the caller drops without the lock.
    pub(super) fn orphan(&mut self, index: usize) -> Vec<J> {
        let State { flows, classes, .. } = self;
        let Some(flow) = flows[index].as_mut() else {
            return Vec::new();
        };
        let class = &mut classes[flow.class as usize];
        class.forget(index);
        let mut dropped = Vec::with_capacity(flow.waiting);
        for lane in &mut flow.lanes {
            let account = lane.accounts[flow.class as usize];
            class.accounts.leave(account, lane.jobs.len());
            dropped.extend(lane.jobs.drain(..));
        }
        flow.waiting = 0;
        flow.orphaned = true;
        if flow.running == 0 {
            self.remove(index);
        }
        dropped
    }

    /// Counts a thread of the class as sleeping.
    pub(super) fn sleeps(&mut self, class: Class) {
        self.classes[class as usize].sleeping += 1;
    }

    fn remove(&mut self, index: usize) {
        let State { flows, classes, .. } = self;
        if let Some(flow) = flows[index].take() {
            for lane in &flow.lanes {
                lane.close(classes);
            }
        }
        self.free.push(index);
    }
}

// === impl FlowState ===

impl<J> FlowState<J> {
    /// Returns the position of the lane of an owner.
    fn lane(&self, owner: Owner) -> Option<usize> {
        self.lanes.iter().position(|lane| lane.owner.id == owner.id)
    }

    /// Adds a lane for an owner, and returns its position.
    fn open_lane(&mut self, owner: Owner, classes: &mut [ClassState; 2]) -> usize {
        if self.lanes.len() >= MAX_IDLE_LANES {
            self.lanes.retain(|lane| {
                let is_used = !lane.jobs.is_empty() || lane.running > 0;
                if !is_used {
                    lane.close(classes);
                }
                is_used
            });
        }
        let accounts = [Class::Short, Class::Long].map(|class| {
            let accounts = &mut classes[class as usize].accounts;
            accounts.open(owner)
        });
        self.lanes.push(Lane {
            owner,
            accounts,
            jobs: VecDeque::new(),
            running: 0,
            used: Duration::ZERO,
        });
        self.lanes.len() - 1
    }

    /// Moves the flow to another class. It is not ready there yet.
    fn change_class(&mut self, class: Class, index: usize, classes: &mut [ClassState; 2]) {
        let before = std::mem::replace(&mut self.class, class);
        classes[before as usize].forget(index);
        for lane in &mut self.lanes {
            let jobs = lane.jobs.len();
            let [old, new] = [before, class].map(|class| lane.accounts[class as usize]);
            let accounts = &mut classes[before as usize].accounts;
            accounts.leave(old, jobs);
            // The clocks of the classes are unrelated, so only the lead over the others is kept.
            let lead = lane.used.saturating_sub(accounts.flow_clock(old));
            let accounts = &mut classes[class as usize].accounts;
            accounts.enter(new, (lane.owner, jobs));
            lane.used = accounts.flow_clock(new).saturating_add(lead);
        }
    }
}

impl<J> Default for FlowState<J> {
    fn default() -> FlowState<J> {
        FlowState {
            class: Class::default(),
            lanes: Vec::new(),
            waiting: 0,
            running: 0,
            mean: Duration::ZERO,
            mean_call: Duration::ZERO,
            orphaned: false,
        }
    }
}

impl<J> Lane<J> {
    /// Gives the accounts of the lane up.
    fn close(&self, classes: &mut [ClassState; 2]) {
        for (class, account) in classes.iter_mut().zip(self.accounts) {
            class.accounts.close(account);
        }
    }
}

impl ClassState {
    /// Removes a flow from the ready ones.
    fn forget(&mut self, flow: usize) {
        self.ready.retain(|ready| *ready != flow);
    }
}

impl Class {
    /// Returns the class for the current mean time of the calls of a flow that was in this class.
    fn of_mean(self, mean: Duration) -> Class {
        match self {
            Class::Short if mean > LONG_CALL => Class::Long,
            Class::Long if mean < SHORT_CALL => Class::Short,
            unchanged => unchanged,
        }
    }
}

#[cfg(test)]
mod tests;
