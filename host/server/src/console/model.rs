//! The details of one model: its traffic, its memory and its versions, the newest first.

use super::page_text::PageText;
use super::quantity::{bytes, count, duration};
use super::snapshot::{MAX_VERSIONS, Model};
use super::traffic::add_release;
use super::version::{State, add_version, open_section};
use wisp_serving::registry::ModelEntry;
use wisp_serving::residency::ModelResidency;

/// Adds a model with its memory and its loads, if a load has been attempted.
pub(super) fn add_model(page: &mut PageText, model: &Model, residency: Option<&ModelResidency>) {
    let (name, entry) = model;
    page.markup("<article");
    page.attribute("data-model", name.as_str());
    page.markup("><h2>");
    page.name(name.as_str());
    page.markup("</h2>");
    add_traffic(page, entry);
    if let Some(residency) = residency {
        add_residency(page, residency);
    }
    if !entry.ignored_settings.is_empty() {
        page.markup("<p class=\"ignored\">Fields of <code>config.pbtxt</code> without an effect: ");
        page.name(&entry.ignored_settings.join(", "));
        page.markup("</p>");
    }
    if let Some(release) = &entry.release {
        add_release(page, &release.status());
    }
    for (number, version) in entry.versions.iter().rev().take(MAX_VERSIONS) {
        add_version(page, name.as_str(), *number, version);
    }
    let left = entry.versions.len().saturating_sub(MAX_VERSIONS);
    if left > 0 {
        page.markup("<p class=\"more\">");
        page.text(&format!(
            "and {left} older versions, which the repository index lists"
        ));
        page.markup("</p>");
    }
    add_unserved(page, name.as_str(), entry);
    page.markup("</article>");
}

/// Adds the version that requests without a version get, and the labels of versions.
fn add_traffic(page: &mut PageText, entry: &ModelEntry) {
    page.markup("<p class=\"traffic\">");
    match entry.default_number() {
        Some(number) => {
            page.markup("Requests without a version go to version <strong class=\"default\">");
            page.text(&number.to_string());
            page.markup("</strong>");
            let is_split = entry.release.is_some();
            page.markup(match is_split {
                true => ", apart from the versions of the release.",
                false => ".",
            });
        }
        None => page.markup("No version can be called."),
    }
    for (label, number) in entry.labels.iter().take(MAX_VERSIONS) {
        page.markup(" Label ");
        page.name(label.as_str());
        page.text(&format!(": version {number}."));
    }
    page.markup("</p>");
}

fn add_residency(page: &mut PageText, residency: &ModelResidency) {
    let held = match residency.bytes {
        Some(held) => format!("In memory: {}.", bytes(held)),
        None => "Not in memory.".to_owned(),
    };
    let nanoseconds =
        |duration: std::time::Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    page.markup("<p class=\"residency\">");
    page.text(&held);
    if residency.loads.count > 0 {
        page.text(&format!(
            " Loads while the server runs: {}, the last in {}, the longest in {}.",
            count(residency.loads.count),
            duration(nanoseconds(residency.loads.last)),
            duration(nanoseconds(residency.loads.longest))
        ));
    }
    if residency.evictions > 0 {
        let evictions = count(residency.evictions);
        page.text(&format!(" Made room for other models: {evictions}."));
    }
    page.markup("</p>");
}

/// Adds the reason that a model has no versions, and what else in its directory is not served.
fn add_unserved(page: &mut PageText, model: &str, entry: &ModelEntry) {
    if entry.versions.is_empty() {
        let reason = entry.problem.clone().unwrap_or_default();
        open_section(page, model, None, &State::failed(&reason));
        page.markup("</section>");
    }
    for unserved in entry.unserved.iter().take(MAX_VERSIONS) {
        let state = State::failed(&unserved.reason);
        open_section(page, model, unserved.version, &state);
        page.markup("</section>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;
    use wisp_protocol::call::{ModelName, Version, VersionLabel};
    use wisp_protocol::release::{ReleaseSettings, ReleaseStart};
    use wisp_serving::registry::{LoadedVersion, UnservedVersion};
    use wisp_serving::release::rollout::Rollout;
    use wisp_serving::residency::LoadTimes;

    fn html(entry: ModelEntry, residency: Option<&ModelResidency>) -> anyhow::Result<String> {
        let mut page = PageText::default();
        let model: Model = (ModelName::new("m")?, Arc::new(entry));
        add_model(&mut page, &model, residency);
        Ok(page.into_html())
    }

    fn version(number: &str) -> Version {
        Version::from_decimal(number).unwrap()
    }

    fn dormant(numbers: &[&str]) -> ModelEntry {
        let versions = numbers.iter();
        let versions = versions.map(|number| (version(number), LoadedVersion::Dormant(None)));
        ModelEntry {
            versions: versions.collect(),
            ..ModelEntry::default()
        }
    }

    #[test]
    fn the_default_version_is_the_newest_or_the_labelled_one() -> anyhow::Result<()> {
        let mut entry = dormant(&["1", "2"]);
        let newest = html(entry.clone(), None)?;
        assert!(newest.contains("class=\"default\">2</strong>."), "{newest}");
        let first = newest.find("data-version=\"2\"");
        assert!(first < newest.find("data-version=\"1\""), "{newest}");
        let label = VersionLabel::new(VersionLabel::DEFAULT).unwrap();
        entry.labels = BTreeMap::from([(label, version("1"))]);
        let labelled = html(entry, None)?;
        assert!(labelled.contains("\"default\">1</strong>."), "{labelled}");
        assert!(
            labelled.contains("<bdi>stable</bdi>: version 1."),
            "{labelled}"
        );
        Ok(())
    }

    #[test]
    fn an_open_release_is_shown_with_its_split() -> anyhow::Result<()> {
        let start = ReleaseStart {
            candidate: version("2"),
            stable: None,
            settings: ReleaseSettings::default(),
        };
        let rollout = Rollout::start(&ModelName::new("m")?, version("1"), start);
        let entry = ModelEntry {
            release: Some(Arc::new(rollout)),
            ..dormant(&["1", "2"])
        };
        let html = html(entry, None)?;
        assert!(
            html.contains("\"default\">1</strong>, apart from"),
            "{html}"
        );
        assert!(html.contains("data-candidate-percent=\"10\""), "{html}");
        Ok(())
    }

    #[test]
    fn a_model_that_is_not_in_memory_has_its_loads() -> anyhow::Result<()> {
        let residency = ModelResidency {
            model: ModelName::new("m")?,
            bytes: None,
            loads: LoadTimes {
                count: 2,
                last: Duration::from_millis(20),
                longest: Duration::from_millis(30),
            },
            evictions: 1,
        };
        let html = html(dormant(&["1"]), Some(&residency))?;
        for part in [
            "Not in memory. Loads while the server runs: 2, ",
            "the last in 20.0 ms, the longest in 30.0 ms",
            "Made room for other models: 1.",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        Ok(())
    }

    #[test]
    fn an_unserved_model_is_shown_with_its_reason() -> anyhow::Result<()> {
        let entry = ModelEntry {
            unserved: vec![UnservedVersion::skipped("<i>two</i>".to_owned())],
            ..ModelEntry::problem("<b>no versions</b>".to_owned())
        };
        let html = html(entry, None)?;
        assert!(html.contains("No version can be called."), "{html}");
        assert!(html.contains("&lt;b&gt;no versions"), "{html}");
        assert!(html.contains("&lt;i&gt;two"), "{html}");
        Ok(())
    }

    #[test]
    fn the_number_of_versions_has_a_bound() -> anyhow::Result<()> {
        let numbers: Vec<String> = (1..=100).map(|number: u32| number.to_string()).collect();
        let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
        let html = html(dormant(&numbers), None)?;
        assert_eq!(html.matches("<section").count(), MAX_VERSIONS);
        assert!(html.contains("and 80 older versions"), "{html}");
        Ok(())
    }
}
