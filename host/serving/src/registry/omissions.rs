//! The log of entries that a load leaves out: entries of a model's directory that look like versions and are none, and fields of
//! its `config.pbtxt` without an effect. What looks like a version appears and goes without a load too.

use crate::registry::triton_config::TRITON_CONFIG_FILE;
use crate::registry::{ModelEntry, Registry, UnservedVersion};
use wisp_protocol::call::ModelName;

/// Records the entries that look like versions of the model but are not, and logs new ones.
pub(crate) fn enter_skipped_versions(registry: &Registry, model: &ModelName, reasons: &[String]) {
    if let Some([before, after]) = registry.set_skipped_versions(model, reasons) {
        log_omissions(model.as_str(), &after, Some(&before));
    }
}

/// Logs the entries in the model's directory that a load leaves out, unless the previous load left them out too.
pub(crate) fn log_omissions(model: &str, entry: &ModelEntry, before: Option<&ModelEntry>) {
    let was_left_out = |unserved: &UnservedVersion| {
        before.is_some_and(|before| before.unserved.contains(unserved))
    };
    for unserved in entry
        .unserved
        .iter()
        .filter(|unserved| !was_left_out(unserved))
    {
        tracing::warn!(%model, reason = unserved.reason.as_str(), "skipped");
    }
    let ignored = &entry.ignored_settings;
    let is_known = before.is_some_and(|before| before.ignored_settings == *ignored);
    if !ignored.is_empty() && !is_known {
        let fields = ignored.join(", ");
        tracing::warn!(
            %model,
            fields = fields.as_str(),
            "{TRITON_CONFIG_FILE} has fields that are ignored"
        );
    }
}
