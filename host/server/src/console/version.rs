//! One version of a model: its state, its numbers and plots, and the form that sends its example request.
//!
//! The numbers are the same as in the metrics, which go on when the version is loaded again. The executions by graph
//! count from the last load.

use super::batches::add_batches;
use super::drift::add_quality;
use super::failures::add_failures;
use super::page_text::PageText;
use super::phases::add_phases;
use super::quantity::{count, duration, mean, percent};
use wisp_protocol::call::Version;
use wisp_protocol::openapi;
use wisp_serving::quality::Quality;
use wisp_serving::registry::LoadedVersion;
use wisp_serving::version::ModelVersion;
use wisp_serving::version_counters::Totals;

/// The name in place of a graph's, for executions that belong to no graph or to all.
const WHOLE_VERSION: &str = "the version";

/// The state of a version, in the words of the repository index. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) name: &'static str,
    pub(super) class: &'static str,
    /// The reason for the state, or its meaning. The reason of a failure may be any text.
    pub(super) reason: Option<String>,
}

impl State {
    /// Returns the state of a version.
    pub(super) fn of(version: &LoadedVersion) -> State {
        let (name, class, reason) = match version {
            LoadedVersion::Ready(_) => ("READY", "ready", None),
            LoadedVersion::Dormant(_) => {
                let reason = "not loaded: the next request loads it".to_owned();
                ("READY", "dormant", Some(reason))
            }
            LoadedVersion::Unloaded => ("UNAVAILABLE", "unloaded", Some("unloaded".to_owned())),
            LoadedVersion::Failed(reason) => return State::failed(reason),
        };
        State {
            name,
            class,
            reason,
        }
    }

    /// Returns the state of something that cannot be served for this reason.
    pub(super) fn failed(reason: &str) -> State {
        State {
            name: "UNAVAILABLE",
            class: "failed",
            reason: Some(reason.to_owned()),
        }
    }

    /// Adds the state as a mark, after `before`.
    pub(super) fn add_mark(&self, page: &mut PageText, before: &str) {
        page.markup("<span");
        page.attribute("class", &format!("state {}", self.class));
        page.markup(">");
        page.text(before);
        page.text(self.name);
        page.markup("</span>");
    }
}

/// Returns the numbers of a version that is or was loaded.
pub(super) fn totals(version: &LoadedVersion) -> Option<Totals> {
    let statistics = match version {
        LoadedVersion::Ready(loaded) => loaded.statistics(),
        LoadedVersion::Dormant(Some(kept)) => kept,
        LoadedVersion::Dormant(None) | LoadedVersion::Unloaded | LoadedVersion::Failed(_) => {
            return None;
        }
    };
    Some(statistics.counters().totals())
}

/// Adds the beginning of the section of a version, which the caller closes. Something without a number has its reason only.
pub(super) fn open_section(
    page: &mut PageText,
    model: &str,
    number: Option<Version>,
    state: &State,
) {
    let number = number.map(|number| number.to_string()).unwrap_or_default();
    page.markup("<section class=\"version\"");
    page.attribute("data-model", model);
    page.attribute("data-version", &number);
    page.markup("><h3>");
    if !number.is_empty() {
        page.markup("Version ");
        page.text(&number);
        page.markup(" ");
    }
    state.add_mark(page, "");
    page.markup("</h3>");
    if let Some(reason) = &state.reason {
        page.markup("<p class=\"reason\">");
        page.name(reason);
        page.markup("</p>");
    }
}

/// Adds a version of a model.
pub(super) fn add_version(
    page: &mut PageText,
    model: &str,
    number: Version,
    version: &LoadedVersion,
) {
    open_section(page, model, Some(number), &State::of(version));
    let loaded = match version {
        LoadedVersion::Ready(loaded) => Some(loaded),
        _ => None,
    };
    if let Some(loaded) = loaded {
        add_description(page, loaded);
    }
    if let Some(totals) = totals(version) {
        let caches = loaded.is_some_and(|loaded| loaded.cache_policy().is_some());
        add_counts(page, &totals, caches);
        add_failures(page, &totals.failures);
        add_phases(page, &totals.durations);
        let graphs = loaded.map(|loaded| loaded.graph_executions());
        let graphs = graphs.unwrap_or_default();
        for (graph, executions) in &graphs {
            add_batches(page, graph, &executions.batches);
        }
        if graphs.is_empty() {
            add_batches(page, WHOLE_VERSION, &totals.sums.batches);
        }
    }
    if let Some(loaded) = loaded {
        if let Some(quality) = loaded.quality().map(Quality::report) {
            add_quality(page, &quality);
        }
        add_example(page, loaded);
    }
    page.markup("</section>");
}

/// Adds the backends and the batching of a version, or the route of a web component.
fn add_description(page: &mut PageText, version: &ModelVersion) {
    page.markup("<p class=\"description\"><span class=\"backend\">");
    page.text(&version.description().platform);
    page.markup("</span>");
    if let Some(took) = version.statistics().load_time() {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        page.text(&format!(", loaded in {}", duration(nanoseconds)));
    }
    for (graph, selection) in version.backend_selections() {
        page.markup("<br>");
        page.name(&format!("{graph}: {selection}"));
    }
    for (graph, decision) in version.batching().decisions() {
        page.markup("<br>");
        page.name(&format!("{graph}: batching {decision}"));
    }
    page.markup("</p>");
    if let Some(route) = version.web_route() {
        page.markup("<p class=\"route\">A web component at ");
        page.name(&route.to_string());
        page.markup("</p>");
    }
}

fn add_counts(page: &mut PageText, totals: &Totals, caches: bool) {
    let sums = &totals.sums;
    let mut rows: Vec<(&str, String)> = vec![
        ("successful requests", count(sums.success.count)),
        ("failed requests", count(totals.failures.total())),
        ("requests in progress", count(totals.pending)),
        ("mean time of a request", mean(sums.success)),
        ("rows", count(sums.inferences)),
        ("executions", count(sums.executions)),
    ];
    let (hits, misses) = (sums.cache_hit.count, sums.cache_miss.count);
    if caches || hits > 0 || misses > 0 {
        rows.push(("cache hits", count(hits)));
        rows.push(("cache misses", count(misses)));
        rows.push(("cache hit rate", percent(hits, hits.saturating_add(misses))));
        rows.push(("mean time of a cache hit", mean(sums.cache_hit)));
    }
    page.markup("<table class=\"counts\"><tbody>");
    for (name, value) in rows {
        page.row(name, &[&value]);
    }
    page.markup("</tbody></table>");
}

/// Adds the form with the example request of a version, if it has one. The script of the page enables its button.
fn add_example(page: &mut PageText, version: &ModelVersion) {
    let description = version.description();
    let Some(example) = openapi::example_request(description, version.example()) else {
        return;
    };
    let path = format!(
        "/v2/models/{}/versions/{}/infer",
        description.model, description.version
    );
    page.markup("<form class=\"example\"");
    page.attribute("data-path", &path);
    page.markup("><label>Example request for ");
    page.element("code", &format!("POST {path}"));
    page.markup("<textarea rows=\"8\" spellcheck=\"false\">");
    // A parser drops a newline that follows the tag directly, and the text begins with a brace.
    page.text(&example);
    page.markup("</textarea></label><button disabled>Send</button>");
    page.markup("<noscript> Sending from this page needs JavaScript.</noscript>");
    page.markup("<output aria-live=\"polite\"></output></form>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use wisp_serving::cache_outcome::CacheOutcome;
    use wisp_serving::statistics::Statistics;
    use wisp_serving::timings::Timings;

    fn html(version: &LoadedVersion) -> String {
        let mut page = PageText::default();
        add_version(&mut page, "m", Version::FIRST, version);
        page.into_html()
    }

    #[test]
    fn a_version_that_was_evicted_keeps_its_numbers() {
        let statistics = Arc::new(Statistics::default());
        let timings = Timings::default();
        statistics
            .begin()
            .succeed(4, &timings, CacheOutcome::Bypassed);
        drop(statistics.begin());
        let html = html(&LoadedVersion::Dormant(Some(statistics)));
        for part in [
            "data-version=\"1\"",
            "<span class=\"state dormant\">READY</span>",
            "not loaded: the next request loads it",
            "<bdi>successful requests</bdi></th><td>1</td>",
            "<bdi>failed requests</bdi></th><td>1</td>",
            "data-party=\"client\"",
            "data-phase=\"compute_infer\"",
            "data-graph=\"the version\"",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains("cache hits"), "{html}");
        assert!(!html.contains("<form"), "{html}");
    }

    #[test]
    fn the_rate_of_cache_hits_is_shown() {
        let statistics = Arc::new(Statistics::default());
        let timings = Timings::default();
        let took = std::time::Duration::from_micros(3);
        for outcome in [
            CacheOutcome::Miss(took),
            CacheOutcome::Hit(took),
            CacheOutcome::Hit(took),
        ] {
            statistics.begin().succeed(1, &timings, outcome);
        }
        let html = html(&LoadedVersion::Dormant(Some(statistics)));
        for part in [
            "<bdi>cache hits</bdi></th><td>2</td>",
            "<bdi>cache hit rate</bdi></th><td>66.6 %</td>",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
    }

    #[test]
    fn a_reason_is_text_whatever_it_contains() {
        let reason = "<img src=x onerror=alert(1)>\u{202e}".to_owned();
        let html = html(&LoadedVersion::Failed(reason));
        assert!(html.contains("<bdi>&lt;img src=x"), "{html}");
        assert!(!html.contains("<img"), "{html}");
        assert!(html.contains("state failed\">UNAVAILABLE"), "{html}");
        assert!(!html.contains("<table"), "{html}");
    }
}
