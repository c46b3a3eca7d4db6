//! The limits of a tenant, as an operator sets them. A limit that is not set does not exist.

use crate::quota;
use crate::uploads::limits::{TenantParts, UploadLimits};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The limits of one tenant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Inference requests per second, of which twice as many may come at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u64>,
    /// Inference requests at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u64>,
    /// Inference requests that wait for their turn within `concurrency`. Without it, none waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<u64>,
    /// The size of a request body or message, at most the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_bytes: Option<u64>,
    /// The bytes of tensors that all requests hold at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tensor_bytes: Option<u64>,
    /// Processor time of handlers in each second, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_milliseconds_per_second: Option<u64>,
    /// Time of computations in each second, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_milliseconds_per_second: Option<u64>,
    /// The memory of each instance of a handler of the tenant's own models, at most that of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_bytes: Option<u64>,
    /// The memory of the tenant's own loaded models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_memory_bytes: Option<u64>,
    /// The number of the tenant's own models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<u64>,
    /// The files of the tenant's own models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_bytes: Option<u64>,
}

/// The error for a change of a limit that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("limits: {0}")]
pub struct UnknownLimit(String);

impl Limits {
    /// Returns these limits with changes by name; `None` removes a limit.
    pub fn with(&self, changes: &BTreeMap<String, Option<u64>>) -> Result<Limits, UnknownLimit> {
        let unknown = |error: serde_json::Error| UnknownLimit(error.to_string());
        let mut limits = serde_json::to_value(self).map_err(unknown)?;
        if let Some(limits) = limits.as_object_mut() {
            for (name, limit) in changes {
                limits.insert(name.clone(), serde_json::json!(limit));
            }
        }
        serde_json::from_value(limits).map_err(unknown)
    }

    /// Returns the limits that are checked for requests.
    pub(crate) fn quota(&self) -> quota::Limits {
        quota::Limits {
            requests_per_second: self.requests_per_second,
            concurrency: self.concurrency,
            queue: self.queue,
            body_bytes: self.body_bytes,
            guest_milliseconds_per_second: self.guest_milliseconds_per_second,
            backend_milliseconds_per_second: self.backend_milliseconds_per_second,
            tensor_bytes: self.tensor_bytes,
        }
    }

    /// Returns the limits of the tenant's uploads, from the limits that apply to any tenant.
    pub(crate) fn uploads(&self, all: &UploadLimits) -> UploadLimits {
        let models = self.models.and_then(|models| usize::try_from(models).ok());
        let models = models.filter(|models| *models <= all.models);
        let stored_bytes = self.stored_bytes.filter(|bytes| *bytes <= all.stored_bytes);
        UploadLimits {
            file_bytes: all.file_bytes,
            component_bytes: all.component_bytes,
            stored_bytes: stored_bytes.unwrap_or(all.stored_bytes),
            models: models.unwrap_or(all.models),
            versions: all.versions,
            of_tenant: TenantParts {
                stored_bytes: stored_bytes.is_some(),
                models: models.is_some(),
            },
        }
    }

    /// Returns whether there is no limit.
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_changed_by_name() -> anyhow::Result<()> {
        let limits = Limits {
            models: Some(3),
            queue: Some(4),
            ..Limits::default()
        };
        let changes = BTreeMap::from([
            ("models".to_owned(), None),
            ("body_bytes".to_owned(), Some(u64::MAX)),
            ("concurrency".to_owned(), None),
        ]);
        let changed = limits.with(&changes)?;
        let expected = Limits {
            queue: Some(4),
            body_bytes: Some(u64::MAX),
            ..Limits::default()
        };
        assert_eq!(changed, expected);
        let unknown = BTreeMap::from([("request".to_owned(), None)]);
        let error = limits.with(&unknown).err().map(|error| error.to_string());
        let error = error.unwrap_or_default();
        assert!(
            error.contains("`request`") && error.contains("`models`"),
            "{error}"
        );
        Ok(())
    }
}
