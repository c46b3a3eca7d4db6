//! The accounts of the owners of one resource: the usage of each, relative to its weight.
//!
//! The resource is given to the waiting owner that has used the least (start-time fair queueing, Goyal, Vin and Cheng
//! 1996). Two owners that both have work all the time then differ, in use divided by weight, by at most the largest job
//! of each, whatever the sizes of the jobs are; deficit round robin bounds the difference by its quantum besides. The
//! cost of a job is known only once it has ended: it is charged as estimated when it starts, and corrected then.
//!
//! Invariant: being idle earns no credit. An owner whose work arrives when it has none continues from the clock, which
//! is the use of the owner that was served last. One that has work which may not run yet, because it is at a limit of
//! its own, falls behind the clock by [`MAX_LAG`] at most.
//!
//! Pure logic: there is no lock, no clock and no thread here.

use crate::owner::Owner;
use std::collections::HashMap;
use std::time::Duration;

/// The use of a resource divided by a weight, in units of 2^-16 ns. 128 bits do not overflow within the life of a
/// machine. It may be below 0 for a moment: parts of a job are moved to others before its cost has been charged.
type Used = i128;

/// A nanosecond of [`Used`]. It has fractions, so that small costs are not rounded away by large weights.
const ONE_NANOSECOND: Used = 1 << 16;

/// The time that an owner with work may be behind the clock. More would let one that was at a limit of its own keep
/// the others waiting for as long, once it has more work.
const MAX_LAG: Duration = Duration::from_millis(100);

/// The number of accounts from which those without work or debt are reused.
const MAX_IDLE_ACCOUNTS: usize = 64;

/// The use of one resource by each owner. Lifetime: the resource.
#[derive(Debug, Default)]
pub(crate) struct OwnerAccounts {
    accounts: Vec<Account>,
    index: HashMap<u32, usize>,
    /// The use of the owner that was served last.
    clock: Used,
    /// The number of accounts with jobs.
    busy: usize,
}

#[derive(Debug)]
struct Account {
    owner: Owner,
    used: Used,
    /// The number of its waiting and running jobs.
    jobs: usize,
    /// The number of users that keep the position of the account.
    users: usize,
    /// The clock of the second level: the used time of the owner's flow that was served last.
    flow_clock: Duration,
}

impl OwnerAccounts {
    /// Returns the position of the account of an owner, which stays the same until [`OwnerAccounts::close`].
    pub(crate) fn open(&mut self, owner: Owner) -> usize {
        if let Some(position) = self.index.get(&owner.id) {
            let position = *position;
            if let Some(account) = self.accounts.get_mut(position) {
                account.users = account.users.saturating_add(1);
                account.owner = owner;
            }
            return position;
        }
        let account = Account {
            owner,
            used: self.clock,
            jobs: 0,
            users: 1,
            flow_clock: Duration::ZERO,
        };
        let position = self.forgotten().unwrap_or(self.accounts.len());
        match self.accounts.get_mut(position) {
            Some(place) => {
                self.index.remove(&place.owner.id);
                *place = account;
            }
            None => self.accounts.push(account),
        }
        self.index.insert(owner.id, position);
        position
    }

    /// Records that a user needs the account no more. It is kept as long as the owner has debts.
    pub(crate) fn close(&mut self, position: usize) {
        if let Some(account) = self.accounts.get_mut(position) {
            account.users = account.users.saturating_sub(1);
        }
    }

    /// Adds waiting jobs of the owner, which has the weight that it has now.
    pub(crate) fn enter(&mut self, position: usize, (owner, jobs): (Owner, usize)) {
        let clock = self.clock;
        let Some(account) = self.accounts.get_mut(position) else {
            return;
        };
        if jobs == 0 {
            return;
        }
        account.owner = owner;
        let earliest = match account.jobs {
            0 => clock,
            _ => clock.saturating_sub(scaled(MAX_LAG, 1)),
        };
        account.used = account.used.max(earliest);
        if account.jobs == 0 {
            self.busy = self.busy.saturating_add(1);
        }
        account.jobs = account.jobs.saturating_add(jobs);
    }

    /// Removes jobs of the owner that have ended, or that are gone without having run.
    pub(crate) fn leave(&mut self, position: usize, jobs: usize) {
        let Some(account) = self.accounts.get_mut(position) else {
            return;
        };
        let had_jobs = account.jobs > 0;
        account.jobs = account.jobs.saturating_sub(jobs);
        if had_jobs && account.jobs == 0 {
            self.busy = self.busy.saturating_sub(1);
        }
    }

    /// Charges the start of a job.
    pub(crate) fn start(&mut self, position: usize, estimate: Duration) {
        if let Some(account) = self.accounts.get_mut(position) {
            self.clock = self.clock.max(account.used);
            account.charge(estimate);
        }
    }

    /// Replaces the estimated cost of a job by the measured one.
    pub(crate) fn correct(&mut self, position: usize, (estimate, cost): (Duration, Duration)) {
        if let Some(account) = self.accounts.get_mut(position) {
            account.charge(cost);
            account.refund(estimate);
        }
    }

    /// Moves a part of the cost of a job from the owner that it was charged to, to the owner that it was made for.
    pub(crate) fn transfer(&mut self, (from, to): (usize, Owner), cost: Duration) {
        if let Some(payer) = self.accounts.get_mut(from) {
            payer.refund(cost);
        }
        let position = self.open(to);
        if let Some(account) = self.accounts.get_mut(position) {
            if account.jobs == 0 {
                account.used = account.used.max(self.clock);
            }
            account.charge(cost);
        }
        self.close(position);
    }

    /// Returns the use of an owner, by which the owners with work are ordered.
    pub(crate) fn used(&self, position: usize) -> Used {
        let account = self.accounts.get(position);
        account.map_or(Used::MAX, |account| account.used)
    }

    /// Returns whether at most one owner has jobs, so that there is nothing to choose.
    pub(crate) fn has_one_owner(&self) -> bool {
        self.busy <= 1
    }

    /// Returns the clock of the flows of the owner.
    pub(crate) fn flow_clock(&self, position: usize) -> Duration {
        let account = self.accounts.get(position);
        account.map_or(Duration::ZERO, |account| account.flow_clock)
    }

    /// Moves the clock of the flows of the owner to the used time of the one that is served.
    pub(crate) fn advance_flow_clock(&mut self, position: usize, used: Duration) {
        if let Some(account) = self.accounts.get_mut(position) {
            account.flow_clock = account.flow_clock.max(used);
        }
    }

    /// Returns an account that may be reused, once there are many.
    fn forgotten(&self) -> Option<usize> {
        if self.accounts.len() < MAX_IDLE_ACCOUNTS {
            return None;
        }
        let is_forgotten = |account: &Account| {
            account.users == 0 && account.jobs == 0 && account.used <= self.clock
        };
        self.accounts.iter().position(is_forgotten)
    }
}

impl Account {
    fn charge(&mut self, cost: Duration) {
        self.used = self.used.saturating_add(scaled(cost, self.owner.weight));
    }

    fn refund(&mut self, cost: Duration) {
        self.used = self.used.saturating_sub(scaled(cost, self.owner.weight));
    }
}

fn scaled(cost: Duration, weight: u32) -> Used {
    let cost = Used::try_from(cost.as_nanos()).unwrap_or(Used::MAX);
    cost.saturating_mul(ONE_NANOSECOND) / Used::from(weight.max(1))
}

#[cfg(test)]
mod tests;
