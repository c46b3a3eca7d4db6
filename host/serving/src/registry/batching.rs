//! The `batching` key of a model file: `"auto"`, `"off"`, or a table with the names of Triton's `dynamic_batching`.
//!
//! A model configuration of a client has the same settings, as [`DynamicBatching`]. All are checked by the rules of
//! Triton, and the server's policy has them as durations and bounds.

use crate::batcher::batch_sizes::BatchSizes;
use crate::batcher::policy::{BatchPolicy, QueuePolicy, TimeoutAction};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;
use wisp_protocol::dynamic_batching as protocol;
use wisp_protocol::dynamic_batching::DynamicBatching;

/// The maximum number of rows of a batch in a model file, far more than is of use.
const MAX_ROWS: u32 = 65_536;

/// The rules by which the requests for the graphs of a model are computed together.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Batching {
    /// Each request is computed alone.
    Off,
    /// A measurement of each graph decides when it is loaded.
    #[default]
    Auto,
    /// These rules hold.
    Dynamic(BatchPolicy),
}

/// The reason that settings of a batcher cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchingError {
    #[error("`max_batch_size` is {size}, expected 1 to {MAX_ROWS}")]
    MaxBatchSize { size: u32 },
    #[error("`preferred_batch_size` has {size}, expected 1 to {limit}, the `max_batch_size`")]
    PreferredBatchSize { size: u32, limit: NonZeroU32 },
    #[error("`default_priority_level` is {level}, expected 1 to {levels}, the `priority_levels`")]
    DefaultLevel { level: u32, levels: u32 },
    #[error("`priority_queue_policy` has the level {level}, expected 1 to {levels}")]
    Level { level: u32, levels: u32 },
    #[error("`priority_queue_policy` has the level `{level}`, expected a number")]
    LevelName { level: String },
    #[error("`{key}` needs `priority_levels`")]
    NoLevels { key: &'static str },
}

/// The table in a model file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BatchingTable {
    max_batch_size: u32,
    preferred_batch_size: Vec<u32>,
    max_queue_delay_microseconds: u64,
    preserve_ordering: bool,
    priority_levels: u32,
    default_priority_level: u32,
    default_queue_policy: Option<QueueTable>,
    /// Keys of TOML are texts.
    priority_queue_policy: BTreeMap<String, QueueTable>,
}

/// The policy of a priority level in a model file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct QueueTable {
    timeout_action: ActionName,
    default_timeout_microseconds: u64,
    allow_timeout_override: bool,
    max_queue_size: u32,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ActionName {
    #[default]
    Reject,
    Delay,
}

impl Default for BatchingTable {
    fn default() -> BatchingTable {
        BatchingTable {
            max_batch_size: BatchPolicy::default().max_batch_size.get(),
            preferred_batch_size: Vec::new(),
            max_queue_delay_microseconds: 0,
            preserve_ordering: false,
            priority_levels: 0,
            default_priority_level: 0,
            default_queue_policy: None,
            priority_queue_policy: BTreeMap::new(),
        }
    }
}

impl<'de> Deserialize<'de> for Batching {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Batching, D::Error> {
        deserializer.deserialize_any(BatchingVisitor)
    }
}

struct BatchingVisitor;

impl<'de> Visitor<'de> for BatchingVisitor {
    type Value = Batching;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"auto\", \"off\" or a table such as { max_batch_size = 32 }")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Batching, E> {
        match name {
            "auto" => Ok(Batching::Auto),
            "off" => Ok(Batching::Off),
            other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Batching, A::Error> {
        let table = BatchingTable::deserialize(MapAccessDeserializer::new(map))?;
        let policy = table.policy().map_err(serde::de::Error::custom)?;
        Ok(Batching::Dynamic(policy))
    }
}

// === impl BatchingTable ===

impl BatchingTable {
    fn policy(self) -> Result<BatchPolicy, BatchingError> {
        let mut own = BTreeMap::new();
        for (level, policy) in self.priority_queue_policy {
            let number = level.parse::<u32>();
            let number = number.map_err(|_| BatchingError::LevelName { level })?;
            own.insert(number, policy.settings());
        }
        let settings = DynamicBatching {
            preferred_batch_size: self.preferred_batch_size,
            max_queue_delay_microseconds: self.max_queue_delay_microseconds,
            preserve_ordering: self.preserve_ordering,
            priority_levels: self.priority_levels,
            default_priority_level: self.default_priority_level,
            default_queue_policy: self.default_queue_policy.map(QueueTable::settings),
            priority_queue_policy: own,
        };
        policy(&settings, self.max_batch_size)
    }
}

impl QueueTable {
    fn settings(self) -> protocol::QueuePolicy {
        protocol::QueuePolicy {
            timeout_action: match self.timeout_action {
                ActionName::Reject => protocol::TimeoutAction::Reject,
                ActionName::Delay => protocol::TimeoutAction::Delay,
            },
            default_timeout_microseconds: self.default_timeout_microseconds,
            allow_timeout_override: self.allow_timeout_override,
            max_queue_size: self.max_queue_size,
        }
    }
}

/// Returns the policy with these settings for batches of up to `max_batch_size` rows.
pub(super) fn policy(
    settings: &DynamicBatching,
    max_batch_size: u32,
) -> Result<BatchPolicy, BatchingError> {
    let limit = NonZeroU32::new(max_batch_size).filter(|size| size.get() <= MAX_ROWS);
    let limit = limit.ok_or(BatchingError::MaxBatchSize {
        size: max_batch_size,
    })?;
    for &size in &settings.preferred_batch_size {
        if !(1..=limit.get()).contains(&size) {
            return Err(BatchingError::PreferredBatchSize { size, limit });
        }
    }
    check_levels(settings)?;
    let default = settings.default_queue_policy.as_ref();
    let own = settings.priority_queue_policy.iter();
    Ok(BatchPolicy {
        max_batch_size: limit,
        preferred_batch_sizes: settings.preferred_batch_size.clone(),
        sizes: BatchSizes::default(),
        max_queue_delay: Duration::from_micros(settings.max_queue_delay_microseconds),
        preserve_ordering: settings.preserve_ordering,
        priority_levels: settings.priority_levels,
        default_priority_level: settings.default_priority_level,
        default_queue_policy: default.map(queue_policy).unwrap_or_default(),
        priority_queue_policies: own
            .map(|(level, policy)| (*level, queue_policy(policy)))
            .collect(),
    })
}

/// Returns the policy with these settings of a model configuration, whose `max_batch_size` is also that of batches if it
/// is one that batches can have. If not, batches can have the preferred sizes at least, so that the configuration that a
/// model shows can be loaded.
pub(super) fn policy_of_configuration(
    settings: &DynamicBatching,
    max_batch_size: Option<u32>,
) -> Result<BatchPolicy, BatchingError> {
    // A graph without a limit is described with the largest number that the format has.
    let size = max_batch_size.filter(|size| (1..=MAX_ROWS).contains(size));
    let preferred = settings.preferred_batch_size.iter().copied().max();
    let preferred = preferred.unwrap_or(0).min(MAX_ROWS);
    let default = BatchPolicy::default().max_batch_size.get().max(preferred);
    policy(settings, size.unwrap_or(default))
}

fn check_levels(settings: &DynamicBatching) -> Result<(), BatchingError> {
    let levels = settings.priority_levels;
    let level = settings.default_priority_level;
    let mut own = settings.priority_queue_policy.keys();
    if levels == 0 {
        return match (level, own.next()) {
            (0, None) => Ok(()),
            (0, Some(_)) => Err(BatchingError::NoLevels {
                key: "priority_queue_policy",
            }),
            _ => Err(BatchingError::NoLevels {
                key: "default_priority_level",
            }),
        };
    }
    if !(1..=levels).contains(&level) {
        return Err(BatchingError::DefaultLevel { level, levels });
    }
    match own.find(|level| !(1..=levels).contains(*level)) {
        Some(&level) => Err(BatchingError::Level { level, levels }),
        None => Ok(()),
    }
}

fn queue_policy(settings: &protocol::QueuePolicy) -> QueuePolicy {
    let timeout = settings.default_timeout_microseconds;
    QueuePolicy {
        timeout_action: match settings.timeout_action {
            protocol::TimeoutAction::Reject => TimeoutAction::Reject,
            protocol::TimeoutAction::Delay => TimeoutAction::Delay,
        },
        default_timeout: (timeout > 0).then_some(Duration::from_micros(timeout)),
        allow_timeout_override: settings.allow_timeout_override,
        max_queue_size: usize::try_from(settings.max_queue_size)
            .ok()
            .and_then(NonZeroUsize::new),
    }
}

/// Returns the settings of a policy as a model configuration has them.
pub(super) fn settings(policy: &BatchPolicy) -> DynamicBatching {
    let default = &policy.default_queue_policy;
    let own = policy.priority_queue_policies.iter();
    DynamicBatching {
        preferred_batch_size: policy.preferred_batch_sizes.clone(),
        max_queue_delay_microseconds: microseconds(policy.max_queue_delay),
        preserve_ordering: policy.preserve_ordering,
        priority_levels: policy.priority_levels,
        default_priority_level: policy.default_priority_level,
        default_queue_policy: (*default != QueuePolicy::default()).then(|| queue_settings(default)),
        priority_queue_policy: own
            .map(|(level, policy)| (*level, queue_settings(policy)))
            .collect(),
    }
}

fn queue_settings(policy: &QueuePolicy) -> protocol::QueuePolicy {
    let size = policy.max_queue_size.map_or(0, NonZeroUsize::get);
    protocol::QueuePolicy {
        timeout_action: match policy.timeout_action {
            TimeoutAction::Reject => protocol::TimeoutAction::Reject,
            TimeoutAction::Delay => protocol::TimeoutAction::Delay,
        },
        default_timeout_microseconds: policy.default_timeout.map_or(0, microseconds),
        allow_timeout_override: policy.allow_timeout_override,
        max_queue_size: u32::try_from(size).unwrap_or(u32::MAX),
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct File {
        batching: Batching,
    }

    fn parsed(value: &str) -> Result<Batching, String> {
        let file: Result<File, toml::de::Error> = toml::from_str(&format!("batching = {value}"));
        file.map(|file| file.batching)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn batching_is_a_name_or_a_table_with_the_names_of_triton() {
        assert_eq!(File::default().batching, Batching::Auto);
        assert_eq!(parsed("'auto'"), Ok(Batching::Auto));
        assert_eq!(parsed("'off'"), Ok(Batching::Off));
        let greedy = Batching::Dynamic(BatchPolicy::default());
        assert_eq!(parsed("{}"), Ok(greedy));
        let lecture = parsed("{ max_batch_size = 16, max_queue_delay_microseconds = 10000 }");
        let expected = BatchPolicy {
            max_batch_size: NonZeroU32::new(16).unwrap(),
            max_queue_delay: Duration::from_millis(10),
            ..BatchPolicy::default()
        };
        assert_eq!(lecture, Ok(Batching::Dynamic(expected)));
    }

    #[test]
    fn the_settings_of_all_keys_are_those_of_the_policy_and_of_the_configuration() {
        let text = "{ preferred_batch_size = [4, 8], preserve_ordering = true, priority_levels = 2, \
            default_priority_level = 2, default_queue_policy = { timeout_action = 'delay', \
            default_timeout_microseconds = 5000, allow_timeout_override = true, max_queue_size = 9 }, \
            priority_queue_policy = { 1 = { max_queue_size = 3 } } }";
        let Ok(Batching::Dynamic(found)) = parsed(text) else {
            panic!("{:?}", parsed(text));
        };
        let expected = BatchPolicy {
            preferred_batch_sizes: vec![4, 8],
            preserve_ordering: true,
            priority_levels: 2,
            default_priority_level: 2,
            default_queue_policy: QueuePolicy {
                timeout_action: TimeoutAction::Delay,
                default_timeout: Some(Duration::from_millis(5)),
                allow_timeout_override: true,
                max_queue_size: NonZeroUsize::new(9),
            },
            priority_queue_policies: BTreeMap::from([(
                1,
                QueuePolicy {
                    max_queue_size: NonZeroUsize::new(3),
                    ..QueuePolicy::default()
                },
            )]),
            ..BatchPolicy::default()
        };
        assert_eq!(found, expected);
        let again = policy(&settings(&found), found.max_batch_size.get());
        assert_eq!(again, Ok(found));
    }

    #[test]
    fn settings_that_cannot_be_are_refused_with_their_bounds() {
        for (value, expected) in [
            ("'on'", "expected \"auto\", \"off\" or a table"),
            ("32", "expected \"auto\", \"off\" or a table"),
            ("{ max_delay = 1 }", "unknown field `max_delay`"),
            (
                "{ max_batch_size = 0 }",
                "`max_batch_size` is 0, expected 1 to 65536",
            ),
            (
                "{ preferred_batch_size = [64] }",
                "`preferred_batch_size` has 64, expected 1 to 32, the `max_batch_size`",
            ),
            (
                "{ priority_levels = 2 }",
                "`default_priority_level` is 0, expected 1 to 2, the `priority_levels`",
            ),
            (
                "{ default_priority_level = 1 }",
                "`default_priority_level` needs `priority_levels`",
            ),
            (
                "{ priority_queue_policy = { 1 = {} } }",
                "`priority_queue_policy` needs `priority_levels`",
            ),
            (
                "{ priority_levels = 2, default_priority_level = 1, priority_queue_policy = { 3 = {} } }",
                "`priority_queue_policy` has the level 3, expected 1 to 2",
            ),
            (
                "{ priority_queue_policy = { high = {} } }",
                "`priority_queue_policy` has the level `high`, expected a number",
            ),
            (
                "{ default_queue_policy = { timeout_action = 'wait' } }",
                "unknown variant `wait`",
            ),
        ] {
            let refusal = parsed(value).expect_err(value);
            assert!(refusal.contains(expected), "{value}: {refusal}");
        }
    }

    #[test]
    fn a_configuration_limits_batches_as_it_limits_requests() {
        let settings = DynamicBatching::default();
        let limit = |size| {
            let policy = policy_of_configuration(&settings, size);
            policy.map(|policy| policy.max_batch_size.get())
        };
        assert_eq!(limit(Some(8)), Ok(8));
        assert_eq!(limit(Some(0)), Ok(32));
        assert_eq!(limit(Some(i32::MAX.unsigned_abs())), Ok(32));
        assert_eq!(limit(None), Ok(32));
        let preferred = DynamicBatching {
            preferred_batch_size: vec![9],
            ..DynamicBatching::default()
        };
        let unlimited = DynamicBatching {
            preferred_batch_size: vec![64],
            ..DynamicBatching::default()
        };
        let policy = policy_of_configuration(&unlimited, Some(i32::MAX.unsigned_abs()));
        let limit = policy.map(|policy| policy.max_batch_size.get());
        assert_eq!(limit, Ok(64));
        let refused = policy_of_configuration(&preferred, Some(8));
        let limit = NonZeroU32::new(8).unwrap();
        assert_eq!(
            refused,
            Err(BatchingError::PreferredBatchSize { size: 9, limit })
        );
    }
}
