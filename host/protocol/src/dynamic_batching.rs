//! The settings of a dynamic batcher, as a model configuration has them. Plain values with Triton's names.

use serde::Serialize;
use std::collections::BTreeMap;

/// The `dynamic_batching` of a model configuration. The default is Triton's for one with nothing set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DynamicBatching {
    pub preferred_batch_size: Vec<u32>,
    pub max_queue_delay_microseconds: u64,
    pub preserve_ordering: bool,
    pub priority_levels: u32,
    pub default_priority_level: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_queue_policy: Option<QueuePolicy>,
    /// The policies of single levels.
    pub priority_queue_policy: BTreeMap<u32, QueuePolicy>,
}

/// The limits on the waiting requests of one priority level.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct QueuePolicy {
    pub timeout_action: TimeoutAction,
    /// 0 for no timeout.
    pub default_timeout_microseconds: u64,
    pub allow_timeout_override: bool,
    /// 0 for no limit of the level.
    pub max_queue_size: u32,
}

/// The consequence of a request that has waited for too long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TimeoutAction {
    /// The request fails.
    #[default]
    Reject,
    /// The request waits for all others that have not timed out.
    Delay,
}
