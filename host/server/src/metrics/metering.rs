//! The metrics of metering: the usage of each model version by each tenant.
//!
//! The tenants come from the operator's file, or there is `local` alone, and the versions are the served ones, so their number
//! does not depend on clients. A tenant has series for the versions that it has used.

use super::page::{Kind, Page};
use std::sync::Arc;
use wisp_serving::Serving;
use wisp_serving::metering::usage_cell::UsageKey;
use wisp_serving::metering::usage_counters::UsageCounters;
use wisp_serving::namespaces::Namespaces;
use wisp_serving::registry::LoadedVersion;
use wisp_serving::version_counters::VersionCounters;

const GUEST: &str = "wisp_usage_guest_seconds_total";

const BACKEND: &str = "wisp_usage_backend_seconds_total";

const MEMORY: &str = "wisp_usage_peak_memory_bytes";

/// A family of counters.
struct Count {
    name: &'static str,
    help: &'static str,
    value: fn(&UsageCounters) -> u64,
}

/// The families of whole numbers.
const COUNTS: [Count; 5] = [
    Count {
        name: "wisp_usage_requests_total",
        help: "Requests of a tenant for a model that have had a response",
        value: |used| used.requests,
    },
    Count {
        name: "wisp_usage_failures_total",
        help: "Requests of a tenant for a model that have failed",
        value: |used| used.failures,
    },
    Count {
        name: "wisp_usage_cached_total",
        help: "Requests of a tenant for a model whose response was not computed for them",
        value: |used| used.cached,
    },
    Count {
        name: "wisp_usage_received_bytes_total",
        help: "Bytes of tensors in the requests of a tenant for a model",
        value: |used| used.bytes_in,
    },
    Count {
        name: "wisp_usage_sent_bytes_total",
        help: "Bytes of tensors in the responses to a tenant from a model",
        value: |used| used.bytes_out,
    },
];

/// A tenant and a model version with the use so far.
type Used = (UsageKey, UsageCounters);

/// Writes the families, which have no samples before the first request.
pub(super) fn write(page: &mut Page, namespaces: &Namespaces) {
    let mut used: Vec<Used> = Vec::new();
    add(&mut used, namespaces.public());
    for serving in namespaces.tenants() {
        add(&mut used, &serving);
    }
    used.sort_by(|(a, _), (b, _)| a.cmp(b));
    if !used.is_empty() {
        write_used(page, &used);
    }
}

fn add(used: &mut Vec<Used>, serving: &Serving) {
    for (_, entry) in serving.own_entries() {
        for version in entry.versions.values() {
            let counters: Arc<VersionCounters> = match version {
                LoadedVersion::Ready(loaded) => loaded.statistics().counters(),
                LoadedVersion::Dormant(Some(kept)) => kept.counters(),
                _ => continue,
            };
            let cells = counters.usage();
            used.extend(cells.iter().map(|cell| (cell.key().clone(), cell.total())));
        }
    }
}

fn write_used(page: &mut Page, used: &[Used]) {
    for family in &COUNTS {
        page.family(Kind::Counter, family.name, family.help);
        for (key, used) in used {
            let value = (family.value)(used);
            labelled(key, |labels| page.sample(family.name, labels, value));
        }
    }
    let help = "Processor time in seconds of the guests that have worked for a tenant";
    page.family(Kind::Counter, GUEST, help);
    for (key, used) in used {
        let seconds = used.guest.as_secs_f64();
        labelled(key, |labels| page.sample(GUEST, labels, seconds));
    }
    let help = "Time in seconds for which graphs have computed for a tenant";
    page.family(Kind::Counter, BACKEND, help);
    for (key, used) in used {
        let seconds = used.backend.as_secs_f64();
        labelled(key, |labels| page.sample(BACKEND, labels, seconds));
    }
    let help = "Largest linear memory in bytes of one guest that has worked for a tenant";
    page.family(Kind::Gauge, MEMORY, help);
    for (key, used) in used {
        let bytes = used.peak_memory_bytes;
        labelled(key, |labels| page.sample(MEMORY, labels, bytes));
    }
}

/// Calls `write` with the labels of a tenant and a model version.
fn labelled(key: &UsageKey, write: impl FnOnce(&[(&str, &str)])) {
    let version = key.version.to_string();
    write(&[
        ("tenant", key.tenant.as_str()),
        ("owner", key.owner.as_str()),
        ("model", key.model.as_str()),
        ("version", version.as_str()),
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use wisp_protocol::call::{ModelName, Version};

    #[test]
    fn a_tenant_has_a_series_of_each_family_for_each_version_that_it_has_used() -> anyhow::Result<()>
    {
        let key = UsageKey {
            tenant: "acme".parse()?,
            owner: "local".parse()?,
            model: ModelName::new("wine")?,
            version: Version::FIRST,
        };
        let used = UsageCounters {
            requests: 7,
            guest: Duration::from_millis(1500),
            ..UsageCounters::default()
        };
        let mut page = Page::default();
        write_used(&mut page, &[(key, used)]);
        let text = page.into_text();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(samples.len(), 8);
        let labels = r#"{tenant="acme",owner="local",model="wine",version="1"}"#;
        for (name, value) in [(COUNTS[0].name, "7"), (GUEST, "1.5"), (BACKEND, "0")] {
            let sample = format!("{name}{labels} {value}");
            assert!(samples.contains(&sample.as_str()), "{text}");
        }
        Ok(())
    }
}
