//! The limits of a tenant, as an operator sets them. A limit that is not set does not exist.

use crate::quota;
use crate::uploads::limits::UploadLimits;
use serde::{Deserialize, Serialize};

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

impl Limits {
    /// Returns the limits that are checked for requests.
    pub(crate) fn quota(&self) -> quota::Limits {
        quota::Limits {
            requests_per_second: self.requests_per_second,
            concurrency: self.concurrency,
            body_bytes: self.body_bytes,
            guest_milliseconds_per_second: self.guest_milliseconds_per_second,
            backend_milliseconds_per_second: self.backend_milliseconds_per_second,
            tensor_bytes: self.tensor_bytes,
        }
    }

    /// Returns the limits of the tenant's uploads, from the limits that apply to any tenant.
    pub(crate) fn uploads(&self, all: &UploadLimits) -> UploadLimits {
        let models = self.models.and_then(|models| usize::try_from(models).ok());
        UploadLimits {
            file_bytes: all.file_bytes,
            stored_bytes: self.stored_bytes.unwrap_or(u64::MAX).min(all.stored_bytes),
            models: models.unwrap_or(usize::MAX).min(all.models),
            versions: all.versions,
        }
    }

    /// Returns whether there is no limit.
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }
}
