//! The metrics of the repository: the models, their versions and states.

use super::page::{Kind, Page};
use wisp_serving::Serving;
use wisp_serving::namespaces::Namespaces;
use wisp_serving::registry::LoadedVersion;

const READY: &str = "wisp_model_ready";

const VERSIONS: &str = "wisp_model_versions";

/// Writes the families of the repository, and the states of the versions of tenants.
pub(super) fn write(page: &mut Page, namespaces: &Namespaces) {
    let serving = namespaces.public();
    let entries = serving.own_entries();
    let help = "1 if the version can be called or is loaded by its first request, and 0 otherwise";
    page.family(Kind::Gauge, READY, help);
    let (mut ready, mut dormant, mut failed, mut unloaded) = (0_u64, 0_u64, 0_u64, 0_u64);
    for (model, entry) in &entries {
        for (number, version) in &entry.versions {
            let counter = match version {
                LoadedVersion::Ready(_) => &mut ready,
                LoadedVersion::Dormant(_) => &mut dormant,
                LoadedVersion::Failed(_) => &mut failed,
                LoadedVersion::Unloaded => &mut unloaded,
            };
            *counter = counter.saturating_add(1);
            let is_ready = matches!(version, LoadedVersion::Ready(_) | LoadedVersion::Dormant(_));
            let version = number.to_string();
            let labels = [("model", model.as_str()), ("version", version.as_str())];
            page.sample(READY, &labels, u8::from(is_ready));
        }
    }
    for serving in namespaces.tenants() {
        write_tenant(page, &serving);
    }
    page.family(Kind::Gauge, VERSIONS, "Versions of models, by state");
    for (state, count) in [
        ("ready", ready),
        ("dormant", dormant),
        ("failed", failed),
        ("unloaded", unloaded),
    ] {
        page.sample(VERSIONS, &[("state", state)], count);
    }
    page.single(
        Kind::Gauge,
        ("wisp_models", "Models in the repository"),
        entries.len(),
    );
    let help = "1 if the server reports itself as ready";
    page.single(
        Kind::Gauge,
        ("wisp_ready", help),
        u8::from(serving.is_ready()),
    );
    let help = "1 if the server drains before its end";
    page.single(
        Kind::Gauge,
        ("wisp_draining", help),
        u8::from(serving.is_draining()),
    );
}

/// Writes the states of the versions of a tenant's own models.
fn write_tenant(page: &mut Page, serving: &Serving) {
    for (model, entry) in serving.own_entries() {
        for (number, version) in &entry.versions {
            let is_ready = matches!(version, LoadedVersion::Ready(_) | LoadedVersion::Dormant(_));
            let version = number.to_string();
            let labels = [
                ("model", model.as_str()),
                ("version", version.as_str()),
                ("tenant", serving.tenant().id.as_str()),
            ];
            page.sample(READY, &labels, u8::from(is_ready));
        }
    }
}
