//! Decoding of `dynamic_batching` in a model configuration.

use super::error::LoadConfigError;
use super::field::{Field, fields, integer};
use crate::dynamic_batching::{DynamicBatching, QueuePolicy, TimeoutAction};
use serde_json::Value;

/// Decodes the settings. An empty object is greedy batching, as in Triton.
pub(super) fn decode(field: Field<'_>) -> Result<DynamicBatching, LoadConfigError> {
    let mut batching = DynamicBatching::default();
    for setting in fields(field.object()?) {
        match setting.snake_case().as_str() {
            "preferred_batch_size" => {
                for size in setting.list()? {
                    let size = integer(size).and_then(|size| u32::try_from(size).ok());
                    let size = size.ok_or_else(|| setting.invalid("an array of batch sizes"))?;
                    batching.preferred_batch_size.push(size);
                }
            }
            "max_queue_delay_microseconds" => {
                batching.max_queue_delay_microseconds = microseconds(setting)?;
            }
            "preserve_ordering" => batching.preserve_ordering = flag(setting)?,
            "priority_levels" => batching.priority_levels = setting.number()?,
            "default_priority_level" => batching.default_priority_level = setting.number()?,
            "default_queue_policy" => {
                batching.default_queue_policy = Some(queue_policy(setting)?);
            }
            "priority_queue_policy" => {
                for level in fields(setting.object()?) {
                    let number: Option<u32> = level.name.parse().ok();
                    let expected = "an object whose members are named by priority levels";
                    let number = number.ok_or_else(|| setting.invalid(expected))?;
                    let policy = queue_policy(level)?;
                    batching.priority_queue_policy.insert(number, policy);
                }
            }
            _ => return Err(setting.unknown()),
        }
    }
    Ok(batching)
}

fn queue_policy(field: Field<'_>) -> Result<QueuePolicy, LoadConfigError> {
    let mut policy = QueuePolicy::default();
    for setting in fields(field.object()?) {
        match setting.snake_case().as_str() {
            "timeout_action" => {
                let action = match setting.value {
                    Value::String(name) if name == "REJECT" => Some(TimeoutAction::Reject),
                    Value::String(name) if name == "DELAY" => Some(TimeoutAction::Delay),
                    _ => None,
                };
                let action = action.ok_or_else(|| setting.invalid("`REJECT` or `DELAY`"));
                policy.timeout_action = action?;
            }
            "default_timeout_microseconds" => {
                policy.default_timeout_microseconds = microseconds(setting)?;
            }
            "allow_timeout_override" => policy.allow_timeout_override = flag(setting)?,
            "max_queue_size" => policy.max_queue_size = setting.number()?,
            _ => return Err(setting.unknown()),
        }
    }
    Ok(policy)
}

fn microseconds(field: Field<'_>) -> Result<u64, LoadConfigError> {
    integer(field.value).ok_or_else(|| field.invalid("a number of microseconds"))
}

fn flag(field: Field<'_>) -> Result<bool, LoadConfigError> {
    let flag = field.value.as_bool();
    flag.ok_or_else(|| field.invalid("a boolean"))
}

#[cfg(test)]
mod tests {
    use crate::dynamic_batching::{DynamicBatching, QueuePolicy, TimeoutAction};
    use crate::v2::load_config::decode;

    fn refusal(settings: &str) -> String {
        let text = format!(r#"{{"dynamic_batching":{settings}}}"#);
        decode(&text).map_or_else(|error| error.to_string(), |config| format!("{config:?}"))
    }

    #[test]
    fn all_settings_of_a_dynamic_batcher_are_kept() -> anyhow::Result<()> {
        let config = decode(
            r#"{"dynamic_batching":{"preferred_batch_size":[4,"8"],"max_queue_delay_microseconds":"100",
            "preserve_ordering":true,"priority_levels":2,"default_priority_level":1,
            "default_queue_policy":{"max_queue_size":16},"priorityQueuePolicy":{"2":{"timeout_action":"DELAY",
            "default_timeout_microseconds":5000,"allow_timeout_override":true}}}}"#,
        )?;
        let own = QueuePolicy {
            timeout_action: TimeoutAction::Delay,
            default_timeout_microseconds: 5000,
            allow_timeout_override: true,
            max_queue_size: 0,
        };
        let expected = DynamicBatching {
            preferred_batch_size: vec![4, 8],
            max_queue_delay_microseconds: 100,
            preserve_ordering: true,
            priority_levels: 2,
            default_priority_level: 1,
            default_queue_policy: Some(QueuePolicy {
                max_queue_size: 16,
                ..QueuePolicy::default()
            }),
            priority_queue_policy: [(2, own)].into(),
        };
        assert_eq!(config.dynamic_batching, Some(expected));
        let greedy = decode(r#"{"dynamic_batching":{}}"#)?;
        assert_eq!(greedy.dynamic_batching, Some(DynamicBatching::default()));
        assert_eq!(
            decode(r#"{"dynamic_batching":null}"#)?.dynamic_batching,
            None
        );
        Ok(())
    }

    #[test]
    fn settings_of_other_kinds_are_errors_with_their_names() {
        for (settings, expected) in [
            (
                r#"{"max_delay":1}"#,
                "`config` has the unknown field `max_delay`",
            ),
            (
                r#"{"preferred_batch_size":[-1]}"#,
                "`config`: `preferred_batch_size` is not an array of batch sizes",
            ),
            (
                r#"{"max_queue_delay_microseconds":0.5}"#,
                "`config`: `max_queue_delay_microseconds` is not a number of microseconds",
            ),
            (
                r#"{"preserve_ordering":1}"#,
                "`config`: `preserve_ordering` is not a boolean",
            ),
            (
                r#"{"default_queue_policy":{"timeout_action":"WAIT"}}"#,
                "`config`: `timeout_action` is not `REJECT` or `DELAY`",
            ),
            (
                r#"{"priority_queue_policy":{"high":{}}}"#,
                "`config`: `priority_queue_policy` is not an object whose members are named by priority levels",
            ),
        ] {
            assert_eq!(refusal(settings), expected, "{settings}");
        }
    }
}
