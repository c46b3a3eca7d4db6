//! The waiting requests of one graph, and the choice of those that are computed together.
//!
//! The rules are Triton's. Requests wait in levels of priority, in the order of their arrival. A batch begins with the
//! first request, and takes those after it up to the first that does not fit: one that would exceed the maximum size,
//! or has other sizes besides the rows. A request is never split, and one that follows never passes it. The batch is
//! sent at once if it cannot grow, or has a preferred size, or its oldest request has waited for the delay. With
//! preferred sizes, a batch does not wait to grow beyond the largest of them.
//!
//! A policy of the automatic choice has further rules: the maximum depends on the size of the rows, and a batch that is
//! sent has the largest of the allowed sizes that its first requests form. Without such a size, the first request is
//! sent alone, unless the backend keeps what it prepares for others.
//!
//! The requests of several owners wait in *lanes* of their own. A batch is led by one owner: its requests come first,
//! whatever priorities the others name, and those of the others fill what is left. The pool of threads decides which
//! owner leads.
//!
//! Pure logic: there is no clock and no thread here. Callers pass the time in, and a schedule returns when it must
//! be looked at again.

use super::policy::{BatchPolicy, TimeoutAction};
use crate::owner::Owner;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// The multiple of the free places that the requests of one owner may have. The local owner may have all places.
const SHARE_OF_FREE: usize = 7;

/// The waiting requests of one graph.
#[derive(Debug)]
pub(crate) struct Schedule<T> {
    policy: BatchPolicy,
    /// The number of requests that may wait, in all lanes.
    capacity: usize,
    /// The requests by owner. Every lane has requests.
    lanes: Vec<Lane<T>>,
    length: usize,
    next_id: u64,
    /// A time before which no request times out; `None` if none does.
    next_timeout: Option<Instant>,
    rejected: Vec<T>,
}

/// A request that arrives.
#[derive(Debug)]
pub(crate) struct Arrival<T> {
    /// The number of rows. A request without rows counts as one.
    pub(crate) rows: u32,
    /// The property that all requests of a batch have in common; `None` if the request is computed alone.
    pub(crate) kind: Option<Vec<u32>>,
    /// The number of elements of a row, which is the same for all requests of a kind.
    pub(crate) row_elements: u64,
    /// The level that the request names; 0 if it names none.
    pub(crate) priority: u32,
    /// The time that the request asks for.
    pub(crate) timeout: Option<Duration>,
    pub(crate) owner: Owner,
    pub(crate) item: T,
}

/// The state of a schedule at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// No request waits.
    Empty,
    /// A batch is sent as soon as a thread is free.
    Ready,
    /// An incomplete batch is held until this time.
    Held(Instant),
}

/// The waiting requests of one owner.
#[derive(Debug)]
struct Lane<T> {
    owner: Owner,
    levels: BTreeMap<u32, Level<T>>,
    length: usize,
}

/// The waiting requests of one level.
#[derive(Debug)]
struct Level<T> {
    active: VecDeque<Waiting<T>>,
    /// The requests that have timed out and wait for all others.
    delayed: VecDeque<Waiting<T>>,
}

#[derive(Debug)]
struct Waiting<T> {
    id: u64,
    rows: u64,
    kind: Option<Vec<u32>>,
    row_elements: u64,
    arrived: Instant,
    times_out: Option<Instant>,
    item: T,
}

/// The first requests of a schedule that would be sent, and the time until which they are held.
#[derive(Debug, Clone, Copy)]
struct Plan {
    count: usize,
    held_until: Option<Instant>,
}

// === impl Schedule ===

impl<T> Schedule<T> {
    /// Returns a schedule without requests, of which at most `capacity` may wait.
    pub(crate) fn new(policy: BatchPolicy, capacity: usize) -> Schedule<T> {
        Schedule {
            policy,
            capacity,
            lanes: Vec::new(),
            length: 0,
            next_id: 0,
            next_timeout: None,
            rejected: Vec::new(),
        }
    }

    /// Returns the number of waiting requests.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Adds a request and returns its number, or returns the request if too many wait.
    pub(crate) fn push(&mut self, arrival: Arrival<T>, now: Instant) -> Result<u64, T> {
        self.time_out(now);
        let level = self.policy.level(arrival.priority);
        let queue_policy = self.policy.queue_policy(level);
        let owner = arrival.owner;
        let position = self.lane(owner);
        let lane = position.and_then(|position| self.lanes.get(position));
        let own = lane.map_or(0, |lane| lane.length);
        let most = queue_policy.max_queue_size;
        let is_level_full = most.is_some_and(|most| {
            let waiting: usize = self.lanes.iter().map(|lane| lane.level_len(level)).sum();
            let own = lane.map_or(0, |lane| lane.level_len(level));
            !has_room((owner, own), waiting, most.get())
        });
        if is_level_full || !has_room((owner, own), self.length, self.capacity) {
            return Err(arrival.item);
        }
        let timeout = queue_policy.timeout(arrival.timeout);
        let times_out = timeout.and_then(|timeout| now.checked_add(timeout));
        self.next_timeout = earlier(self.next_timeout, times_out);
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        let position = position.unwrap_or_else(|| {
            self.lanes.push(Lane::new(owner));
            self.lanes.len() - 1
        });
        let Some(lane) = self.lanes.get_mut(position) else {
            return Err(arrival.item);
        };
        lane.owner = owner;
        lane.length += 1;
        let level = lane.levels.entry(level).or_default();
        level.active.push_back(Waiting {
            id,
            rows: u64::from(arrival.rows.max(1)),
            kind: arrival.kind,
            row_elements: arrival.row_elements,
            arrived: now,
            times_out,
            item: arrival.item,
        });
        self.length += 1;
        Ok(id)
    }

    /// Removes a request that still waits.
    pub(crate) fn remove(&mut self, id: u64) -> Option<T> {
        let removed = self.lanes.iter_mut().find_map(|lane| lane.remove(id))?;
        self.length -= 1;
        self.drop_empty_lanes();
        Some(removed)
    }

    /// Removes and returns the requests that have timed out and are rejected for it.
    pub(crate) fn take_rejected(&mut self, now: Instant) -> Vec<T> {
        self.time_out(now);
        std::mem::take(&mut self.rejected)
    }

    /// Returns an owner that can lead a batch which would be sent at `now`, among those that are not `excluded`.
    pub(crate) fn leader(
        &mut self,
        now: Instant,
        mut excluded: impl FnMut(Owner) -> bool,
    ) -> Option<Owner> {
        self.time_out(now);
        let mut lanes = self.lanes.iter().enumerate();
        let found = lanes.find(|(position, lane)| {
            !excluded(lane.owner) && self.outlook_of(*position, now) == Outlook::Ready
        });
        found.map(|(_, lane)| lane.owner)
    }

    /// Removes and returns the requests of the batch that is sent at `now`; none if there is no such batch. The owner
    /// leads the batch if it has requests, and another one otherwise.
    pub(crate) fn take(&mut self, leader: Owner, now: Instant) -> Vec<T> {
        self.time_out(now);
        let lead = self.lane(leader).unwrap_or(0);
        match self.plan(lead, now) {
            Some(Plan {
                count,
                held_until: None,
            }) => self.remove_first(lead, count),
            _ => Vec::new(),
        }
    }

    /// Returns the next time at which the schedule changes without an arrival.
    pub(crate) fn next_change(&mut self, now: Instant) -> Option<Instant> {
        self.time_out(now);
        if self.length == 0 {
            return None;
        }
        let mut next = self.next_timeout;
        for lead in 0..self.lanes.len() {
            if let Outlook::Held(until) = self.outlook_of(lead, now) {
                next = earlier(next, Some(until));
            }
        }
        next
    }

    /// Returns the outlook of a batch that this lane leads.
    fn outlook_of(&self, lead: usize, now: Instant) -> Outlook {
        match self.plan(lead, now) {
            None => Outlook::Empty,
            Some(plan) => plan.held_until.map_or(Outlook::Ready, Outlook::Held),
        }
    }

    /// Returns the position of the lane of an owner.
    fn lane(&self, owner: Owner) -> Option<usize> {
        let mut lanes = self.lanes.iter();
        lanes.position(|lane| lane.owner.id == owner.id)
    }

    /// Rejects or delays the requests that have timed out.
    fn time_out(&mut self, now: Instant) {
        if self.next_timeout.is_none_or(|next| now < next) {
            return;
        }
        self.next_timeout = None;
        for lane in &mut self.lanes {
            for (number, level) in &mut lane.levels {
                let action = self.policy.queue_policy(*number).timeout_action;
                let mut active = VecDeque::with_capacity(level.active.len());
                let mut delayed = Vec::new();
                for waiting in level.active.drain(..) {
                    match (waiting.times_out, action) {
                        (Some(at), TimeoutAction::Reject) if at <= now => {
                            self.length -= 1;
                            lane.length -= 1;
                            self.rejected.push(waiting.item);
                        }
                        (Some(at), TimeoutAction::Delay) if at <= now => delayed.push(waiting),
                        (times_out, _) => {
                            self.next_timeout = earlier(self.next_timeout, times_out);
                            active.push_back(waiting);
                        }
                    }
                }
                level.active = active;
                // In the order of their timeouts, however often the schedule is looked at.
                delayed.sort_by_key(|waiting| waiting.times_out);
                level.delayed.extend(delayed);
            }
            lane.levels.retain(|_, level| level.len() > 0);
        }
        self.drop_empty_lanes();
    }

    /// Returns the batch that the first requests form at `now` if this lane leads it; `None` if none waits.
    ///
    /// The rules for preferred sizes follow `GetDynamicBatch` in Triton's `dynamic_batch_scheduler.cc`: "adding this
    /// request would make the batch size larger than all of the preferred batch sizes, so mark the cursor at this point"
    /// if no preferred size was reached before, and the pending batch is sent if it reaches `max_preferred_batch_size_`.
    /// Once the delay has passed, neither counts, and all requests that fit are sent. Without preferred sizes, Triton
    /// takes the maximum size for the only one.
    fn plan(&self, lead: usize, now: Instant) -> Option<Plan> {
        let mut requests = self.requests(lead);
        let first = requests.next()?;
        let most = self.policy.max_rows(first.row_elements);
        let (mut count, mut rows, mut oldest) = (1, first.rows, first.arrived);
        let preferred_sizes = self.policy.preferred_batch_sizes.iter();
        let goal = preferred_sizes.max().map_or(most, |size| u64::from(*size));
        let mut preferred = self.is_preferred(rows).then_some(count);
        let mut can_grow = first.kind.is_some() && rows < most;
        while can_grow {
            let Some(next) = requests.next() else {
                break;
            };
            let together = rows + next.rows;
            if together > goal {
                preferred = preferred.or(Some(count));
            }
            if next.kind != first.kind || together > most {
                can_grow = false;
                break;
            }
            count += 1;
            rows = together;
            oldest = oldest.min(next.arrived);
            if self.is_preferred(rows) {
                preferred = Some(count);
            }
            can_grow = rows < most;
        }
        let delay = self.policy.max_queue_delay;
        // A delay beyond the range of the clock is none.
        let until = oldest.checked_add(delay);
        let is_over = until.is_some_and(|until| until <= now);
        let plan = match preferred {
            Some(count) if delay.is_zero() || !is_over => Plan {
                count: self.allowed_count(lead, count),
                held_until: None,
            },
            _ if !can_grow || rows >= goal || is_over => Plan {
                count: self.allowed_count(lead, count),
                held_until: None,
            },
            _ => Plan {
                count,
                held_until: until,
            },
        };
        Some(plan)
    }

    /// Returns the number of the first requests, up to `count`, that have the largest allowed size together. If they have
    /// none, the backend must prepare for the first one anyway, and may as well prepare for all.
    fn allowed_count(&self, lead: usize, count: usize) -> usize {
        let sizes = &self.policy.sizes;
        if sizes.allowed.is_empty() {
            return count;
        }
        let (mut largest, mut rows) = (None, 0_u64);
        for (before, request) in self.requests(lead).take(count).enumerate() {
            rows = rows.saturating_add(request.rows);
            if sizes.allows(rows) {
                largest = Some(before + 1);
            }
        }
        // However many rows the first request has, it is not split.
        let without = if sizes.keeps_others { count } else { 1 };
        largest.unwrap_or(without)
    }

    fn is_preferred(&self, rows: u64) -> bool {
        let mut sizes = self.policy.preferred_batch_sizes.iter();
        sizes.any(|size| u64::from(*size) == rows)
    }

    /// Iterates over all requests in the order in which they join a batch that this lane leads.
    fn requests(&self, lead: usize) -> impl Iterator<Item = &Waiting<T>> {
        let others = self.lanes.iter().enumerate();
        let others = others.filter(move |(position, _)| *position != lead);
        let lanes = self.lanes.get(lead).into_iter();
        let lanes = lanes.chain(others.map(|(_, lane)| lane));
        lanes.flat_map(|lane| {
            let levels = lane.levels.values();
            levels.flat_map(|level| level.active.iter().chain(&level.delayed))
        })
    }

    fn remove_first(&mut self, lead: usize, count: usize) -> Vec<T> {
        let mut removed = Vec::with_capacity(count);
        if let Some(lane) = self.lanes.get_mut(lead) {
            lane.remove_first(count, &mut removed);
        }
        for (position, lane) in self.lanes.iter_mut().enumerate() {
            if position != lead {
                lane.remove_first(count, &mut removed);
            }
        }
        self.length -= removed.len();
        self.drop_empty_lanes();
        removed
    }

    fn drop_empty_lanes(&mut self) {
        self.lanes.retain(|lane| lane.length > 0);
    }
}

// === impl Lane ===

impl<T> Lane<T> {
    fn new(owner: Owner) -> Lane<T> {
        Lane {
            owner,
            levels: BTreeMap::new(),
            length: 0,
        }
    }

    /// Returns the number of requests of a level.
    fn level_len(&self, level: u32) -> usize {
        self.levels.get(&level).map_or(0, Level::len)
    }

    fn remove(&mut self, id: u64) -> Option<T> {
        let found = self.levels.iter_mut().find_map(|(number, level)| {
            let removed = level.remove(id)?;
            Some((*number, removed))
        });
        let (number, removed) = found?;
        self.length -= 1;
        if self.level_len(number) == 0 {
            self.levels.remove(&number);
        }
        Some(removed)
    }

    /// Moves the first requests to `removed`, until it has `count`.
    fn remove_first(&mut self, count: usize, removed: &mut Vec<T>) {
        while removed.len() < count {
            let Some(mut level) = self.levels.first_entry() else {
                break;
            };
            match level.get_mut().pop() {
                Some(waiting) => {
                    self.length -= 1;
                    removed.push(waiting.item);
                }
                None => {
                    level.remove();
                }
            }
        }
        self.levels.retain(|_, level| level.len() > 0);
    }
}

// === impl Level ===

impl<T> Level<T> {
    fn len(&self) -> usize {
        self.active.len() + self.delayed.len()
    }

    fn pop(&mut self) -> Option<Waiting<T>> {
        let active = self.active.pop_front();
        active.or_else(|| self.delayed.pop_front())
    }

    fn remove(&mut self, id: u64) -> Option<T> {
        for queue in [&mut self.active, &mut self.delayed] {
            if let Some(position) = queue.iter().position(|waiting| waiting.id == id) {
                return queue.remove(position).map(|waiting| waiting.item);
            }
        }
        None
    }
}

impl<T> Default for Level<T> {
    fn default() -> Level<T> {
        Level {
            active: VecDeque::new(),
            delayed: VecDeque::new(),
        }
    }
}

/// Returns whether an owner with `own` of the `waiting` requests may have another one, of `most`.
fn has_room((owner, own): (Owner, usize), waiting: usize, most: usize) -> bool {
    let free = most.saturating_sub(waiting);
    free > 0 && (owner.is_local() || own < free.saturating_mul(SHARE_OF_FREE))
}

/// Returns the earlier of two times, of which either may be missing.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests;
