//! The settings of a batcher, with the names and meanings of Triton's `dynamic_batching`.
//!
//! The defaults are Triton's for a `dynamic_batching` with nothing set, which is greedy: a free thread takes as many
//! waiting requests as fit and never waits for more.

use super::batch_sizes::BatchSizes;
use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

/// The maximum number of rows of a batch, unless a policy sets it.
const DEFAULT_MAX_BATCH_SIZE: NonZeroU32 = NonZeroU32::MIN.saturating_add(31);

/// The rules by which the requests for one graph are joined.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchPolicy {
    /// The maximum number of rows of a batch. A request with as many rows or more runs alone.
    pub max_batch_size: NonZeroU32,
    /// The sizes that are sent at once when the waiting requests reach them; others are then only sent if none of
    /// these can be reached. A batch is not held to grow beyond the largest of them.
    pub preferred_batch_sizes: Vec<u32>,
    /// The further rules on sizes of the automatic choice. A policy that is set has none.
    pub sizes: BatchSizes,
    /// The time for which an incomplete batch is held in expectation of further requests, from the arrival of its
    /// oldest one.
    pub max_queue_delay: Duration,
    /// Set if responses leave in the order in which the requests were taken for computation.
    pub preserve_ordering: bool,
    /// The number of priority levels, of which 1 is the highest; 0 for a single level, which ignores the priorities of requests.
    pub priority_levels: u32,
    /// The level of requests that name none.
    pub default_priority_level: u32,
    /// The policy of the levels that have none of their own.
    pub default_queue_policy: QueuePolicy,
    /// The policies of single levels.
    pub priority_queue_policies: BTreeMap<u32, QueuePolicy>,
}

/// The limits on the waiting requests of one priority level.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct QueuePolicy {
    /// The consequence of a timeout.
    pub timeout_action: TimeoutAction,
    /// The time after which a request that still waits has timed out; `None` if it never does.
    pub default_timeout: Option<Duration>,
    /// Set if a request may lower the time for itself. It has no effect without a time of the policy.
    pub allow_timeout_override: bool,
    /// The number of requests that may wait; `None` if only the bound of the whole queue counts.
    pub max_queue_size: Option<NonZeroUsize>,
}

/// The consequence of a request that has waited for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeoutAction {
    /// The request fails.
    #[default]
    Reject,
    /// The request waits for all requests of its level, and of higher ones, that have not timed out.
    Delay,
}

// === impl BatchPolicy ===

impl Default for BatchPolicy {
    fn default() -> BatchPolicy {
        BatchPolicy {
            max_batch_size: DEFAULT_MAX_BATCH_SIZE,
            preferred_batch_sizes: Vec::new(),
            sizes: BatchSizes::default(),
            max_queue_delay: Duration::ZERO,
            preserve_ordering: false,
            priority_levels: 0,
            default_priority_level: 0,
            default_queue_policy: QueuePolicy::default(),
            priority_queue_policies: BTreeMap::new(),
        }
    }
}

impl BatchPolicy {
    /// Returns the policy of a graph whose requests are computed one by one, in the order of their arrival.
    pub fn one_by_one() -> BatchPolicy {
        BatchPolicy {
            max_batch_size: NonZeroU32::MIN,
            ..BatchPolicy::default()
        }
    }

    /// Returns the level of a request. As in Triton, a request that names no level of the model has the default one.
    pub fn level(&self, priority: u32) -> u32 {
        match self.priority_levels {
            0 => 0,
            levels if (1..=levels).contains(&priority) => priority,
            levels => self.default_priority_level.clamp(1, levels),
        }
    }

    /// Returns the maximum number of rows of a batch whose rows have this number of elements.
    pub(crate) fn max_rows(&self, row_elements: u64) -> u64 {
        let most = u64::from(self.max_batch_size.get());
        let measured = self.sizes.max_rows(row_elements);
        measured.map_or(most, |measured| most.min(measured))
    }

    /// Returns the policy of a level.
    pub fn queue_policy(&self, level: u32) -> &QueuePolicy {
        let own = self.priority_queue_policies.get(&level);
        own.unwrap_or(&self.default_queue_policy)
    }

    /// Returns whether every request takes its place in the queue, even if a thread is free: it may be held, or its
    /// response has a place among others.
    pub fn needs_queue(&self) -> bool {
        self.preserve_ordering || !self.max_queue_delay.is_zero()
    }

    /// Returns whether the queue changes without an arrival, at the end of a delay or of a timeout.
    pub fn needs_timer(&self) -> bool {
        let has_timeouts = |policy: &QueuePolicy| policy.default_timeout.is_some();
        let mut own = self.priority_queue_policies.values();
        !self.max_queue_delay.is_zero()
            || has_timeouts(&self.default_queue_policy)
            || own.any(has_timeouts)
    }
}

// === impl QueuePolicy ===

impl QueuePolicy {
    /// Returns the time after which a request times out that asks for `asked`. It may only lower the time of the
    /// policy, as in `PolicyQueue::Enqueue` of Triton's `scheduler_utils.cc`: the override counts if
    /// `override_timeout_us != 0 && override_timeout_us < timeout_us`, which is never so for a default of 0.
    pub fn timeout(&self, asked: Option<Duration>) -> Option<Duration> {
        let asked = asked.filter(|asked| self.allow_timeout_override && !asked.is_zero());
        let default = self.default_timeout?;
        Some(asked.map_or(default, |asked| default.min(asked)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_names_no_level_of_the_model_has_the_default_one() {
        let policy = BatchPolicy {
            priority_levels: 3,
            default_priority_level: 2,
            ..BatchPolicy::default()
        };
        let levels = [0, 1, 2, 3, 4, u32::MAX].map(|priority| policy.level(priority));
        assert_eq!(levels, [2, 1, 2, 3, 2, 2]);
        assert_eq!(BatchPolicy::default().level(7), 0);
    }

    #[test]
    fn a_request_may_only_lower_the_timeout_and_only_if_it_is_allowed_to() {
        let micros = Duration::from_micros;
        let mut policy = QueuePolicy {
            default_timeout: Some(micros(100)),
            ..QueuePolicy::default()
        };
        assert_eq!(policy.timeout(Some(micros(5))), Some(micros(100)));
        policy.allow_timeout_override = true;
        assert_eq!(policy.timeout(Some(micros(5))), Some(micros(5)));
        assert_eq!(policy.timeout(Some(micros(500))), Some(micros(100)));
        assert_eq!(policy.timeout(Some(Duration::ZERO)), Some(micros(100)));
        assert_eq!(policy.timeout(None), Some(micros(100)));
    }

    #[test]
    fn a_request_has_no_timeout_where_the_policy_has_none() {
        let policy = QueuePolicy {
            allow_timeout_override: true,
            ..QueuePolicy::default()
        };
        assert_eq!(policy.timeout(Some(Duration::from_micros(5))), None);
        assert_eq!(policy.timeout(None), None);
        let policy = BatchPolicy {
            default_queue_policy: policy,
            ..BatchPolicy::default()
        };
        assert!(!policy.needs_timer());
    }
}
