//! A model of the scheduling that Triton documents, written for clarity: one list, searched and sorted at every step.
//! Where the documents leave a question, its source answers it (`src/dynamic_batch_scheduler.cc` and
//! `src/scheduler_utils.cc` of triton-inference-server/core); the places quote it.
//!
//! It also has the further rules on sizes of the automatic choice, which Triton does not. It shares nothing with the
//! schedule but the policies. Times are milliseconds.

use super::super::super::policy::{BatchPolicy, TimeoutAction};
use std::time::Duration;

/// The properties that a request asks for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) rows: u32,
    pub(super) kind: Option<u32>,
    pub(super) row_elements: u64,
    pub(super) priority: u32,
    pub(super) timeout: Option<u64>,
}

/// A waiting request.
#[derive(Debug, Clone)]
struct Request {
    number: u64,
    asked: Asked,
    level: u32,
    arrived: u64,
    times_out: Option<u64>,
}

/// The waiting requests, in the order of their arrival.
pub(super) struct Reference {
    policy: BatchPolicy,
    capacity: usize,
    requests: Vec<Request>,
    rejected: Vec<u64>,
}

impl Reference {
    pub(super) fn new(policy: BatchPolicy, capacity: usize) -> Reference {
        Reference {
            policy,
            capacity,
            requests: Vec::new(),
            rejected: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn push(&mut self, number: u64, asked: &Asked, now: u64) -> bool {
        self.reject(now);
        let levels = self.policy.priority_levels;
        let level = if levels == 0 {
            0
        } else if asked.priority == 0 || asked.priority > levels {
            self.policy.default_priority_level.max(1).min(levels)
        } else {
            asked.priority
        };
        let queue = self.policy.queue_policy(level);
        let in_level = self.requests.iter().filter(|r| r.level == level).count();
        let is_full = queue
            .max_queue_size
            .is_some_and(|most| in_level >= most.get());
        if is_full || self.requests.len() >= self.capacity {
            return false;
        }
        let default = queue.default_timeout.map(millis);
        let own = asked
            .timeout
            .filter(|own| *own > 0 && queue.allow_timeout_override);
        // "if (override_timeout_us != 0 && override_timeout_us < timeout_us) { timeout_us = override_timeout_us; }", and
        // "if (timeout_us != 0)" the request times out. No override is less than a default of 0.
        let timeout = match (default, own) {
            (Some(default), Some(own)) if own < default => Some(own),
            (default, _) => default,
        };
        self.requests.push(Request {
            number,
            asked: asked.clone(),
            level,
            arrived: now,
            times_out: timeout.map(|timeout| now + timeout),
        });
        true
    }

    pub(super) fn remove(&mut self, number: u64) -> bool {
        let before = self.requests.len();
        self.requests.retain(|request| request.number != number);
        self.requests.len() < before
    }

    pub(super) fn take_rejected(&mut self, now: u64) -> Vec<u64> {
        self.reject(now);
        let mut rejected = std::mem::take(&mut self.rejected);
        rejected.sort_unstable();
        rejected
    }

    pub(super) fn take(&mut self, now: u64) -> Vec<u64> {
        self.reject(now);
        let Some((batch, until)) = self.batch(now) else {
            return Vec::new();
        };
        if until > now {
            return Vec::new();
        }
        self.requests
            .retain(|request| !batch.contains(&request.number));
        batch
    }

    /// Returns the time at which a batch is sent to a free instance, which is over if it is sent now.
    pub(super) fn outlook(&mut self, now: u64) -> Option<u64> {
        self.reject(now);
        self.batch(now).map(|(_, until)| until)
    }

    fn reject(&mut self, now: u64) {
        let policy = &self.policy;
        let (over, left): (Vec<Request>, Vec<Request>) =
            self.requests.drain(..).partition(|request| {
                let action = policy.queue_policy(request.level).timeout_action;
                action == TimeoutAction::Reject && request.times_out.is_some_and(|at| at <= now)
            });
        self.requests = left;
        self.rejected
            .extend(over.iter().map(|request| request.number));
    }

    /// Returns the requests in the order of their turns: by level, those in time before the others.
    fn in_order(&self, now: u64) -> Vec<&Request> {
        let mut ordered: Vec<&Request> = self.requests.iter().collect();
        ordered.sort_by_key(|request| match request.times_out {
            Some(at) if at <= now => (request.level, 1, at, request.number),
            _ => (request.level, 0, 0, request.number),
        });
        ordered
    }

    /// Returns the maximum number of rows of a batch.
    fn most(&self, row_elements: u64) -> u64 {
        let limits = &self.policy.sizes.limits;
        let above = limits
            .iter()
            .find(|limit| limit.row_elements >= row_elements);
        let below = limits
            .iter()
            .rfind(|limit| limit.row_elements < row_elements);
        let fits = |rows: &u64| {
            let bound = above.or(below);
            bound.is_none_or(|bound| {
                let elements = bound.row_elements * u64::from(bound.max_rows);
                let neighbours = above.into_iter().chain(below);
                *rows * row_elements <= elements
                    && neighbours.map(|one| u64::from(one.max_rows)).max() >= Some(*rows)
            })
        };
        let most = u64::from(self.policy.max_batch_size.get());
        (1..=most).rev().find(fits).unwrap_or(1)
    }

    /// Returns the next batch, and the time at which it is sent.
    fn batch(&self, now: u64) -> Option<(Vec<u64>, u64)> {
        let ordered = self.in_order(now);
        let first = ordered.first()?;
        let most = self.most(first.asked.row_elements);
        // The batches that whole requests form, each one request longer than the one before.
        let fits = |count: &usize| {
            let members = ordered.get(..*count).unwrap();
            let same = members
                .iter()
                .all(|member| member.asked.kind == first.asked.kind);
            *count == 1 || (same && first.asked.kind.is_some() && rows(members) <= most)
        };
        let largest = (1..=ordered.len()).take_while(fits).last()?;
        let delay = millis(self.policy.max_queue_delay);
        let oldest = ordered.iter().take(largest).map(|r| r.arrived).min()?;
        let is_over = delay > 0 && now >= oldest + delay;
        let is_preferred = |count: &usize| {
            let size = rows(ordered.get(..*count).unwrap());
            self.policy
                .preferred_batch_sizes
                .iter()
                .any(|one| u64::from(*one) == size)
        };
        // "adding this request would make the batch size larger than all of the preferred batch sizes, so mark the cursor
        // at this point", unless a preferred size was found before. Without preferred sizes, `max_batch_size` is the only
        // one.
        let preferred_sizes = self.policy.preferred_batch_sizes.iter();
        let largest_preferred = preferred_sizes.max().map_or(most, |size| u64::from(*size));
        let is_beyond = |count: &usize| {
            let longer = ordered.get(..*count + 1);
            longer.is_some_and(|longer| rows(longer) > largest_preferred)
        };
        let preferred = (1..=largest).rev().find(is_preferred);
        let preferred = preferred.or((1..=largest).find(is_beyond));
        let sizes = &self.policy.sizes;
        let is_allowed = |count: &usize| {
            let size = rows(ordered.get(..*count).unwrap());
            sizes.allowed.is_empty() || sizes.allowed.iter().any(|one| u64::from(*one) == size)
        };
        let numbers = |count: usize| -> Vec<u64> {
            let count = match (1..=count).rev().find(is_allowed) {
                Some(allowed) => allowed,
                None if sizes.keeps_others => count,
                None => 1,
            };
            ordered
                .iter()
                .take(count)
                .map(|request| request.number)
                .collect()
        };
        if let Some(count) = preferred.filter(|_| !is_over) {
            return Some((numbers(count), now));
        }
        // "if the current batch can't grow any larger then just immediately execute whatever is pending": `send_now ||
        // pending_batch_size_ >= max_preferred_batch_size_`.
        let size = rows(ordered.get(..largest).unwrap());
        let is_complete = largest < ordered.len()
            || size >= most
            || size >= largest_preferred
            || first.asked.kind.is_none();
        match is_complete || is_over || delay == 0 {
            true => Some((numbers(largest), now)),
            false => Some((numbers(largest), oldest + delay)),
        }
    }
}

fn rows(members: &[&Request]) -> u64 {
    members
        .iter()
        .map(|member| u64::from(member.asked.rows.max(1)))
        .sum()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}
