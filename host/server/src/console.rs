//! The console: one page for people, at `/`, with the models, their states and their statistics.
//!
//! The page is made for each request from what the APIs return too, so that it needs no rights of its own. It refers
//! to nothing but its script, which sends the example request of a version through the API. Every name and reason
//! in it is escaped ([`page_text`]), and its content security policy blocks inline scripts and other servers.

mod page_text;
mod plot;

use crate::failure::Failure;
use crate::http_response::{File, HttpResponse};
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue};
use page_text::PageText;
use plot::{Bar, bars, duration};
use std::collections::BTreeMap;
use std::sync::Arc;
use wisp_protocol::call::{IndexEntry, VersionState};
use wisp_protocol::openapi;
use wisp_protocol::statistics::{Sum, Sums};
use wisp_protocol::v2::IndexFilter;
use wisp_serving::registry::LoadedVersion;
use wisp_serving::version::ModelVersion;
use wisp_serving::{InferError, Serving};

/// The style is inline, the script is a file of this server.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The maximum number of versions on the page. The repository index has all of them.
const MAX_VERSIONS: usize = 200;

/// The state of the server that the page shows. Lifetime: one request.
struct Snapshot {
    is_ready: bool,
    index: Vec<IndexEntry>,
    /// The versions that accept calls, by name and number.
    ready: BTreeMap<(String, String), Arc<ModelVersion>>,
}

/// Returns the page. It is made on a thread of the blocking pool: many models make it long.
pub(crate) async fn page(serving: &Serving) -> Result<HttpResponse, Failure> {
    let snapshot = Snapshot::take(serving);
    let making = serving.blocking().run_soon(move || snapshot.html());
    let html = making.await.map_err(InferError::from)?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    Ok(HttpResponse::page(File {
        content_type: HeaderValue::from_static("text/html; charset=utf-8"),
        content: Some(Bytes::from(html)),
        coding: None,
        varies: false,
        headers,
    }))
}

impl Snapshot {
    fn take(serving: &Serving) -> Snapshot {
        let mut ready = BTreeMap::new();
        // The statistics of public models count the requests of all tenants.
        for (name, entry) in serving.own_entries() {
            for (number, version) in &entry.versions {
                if let LoadedVersion::Ready(version) = version {
                    let key = (name.to_string(), number.to_string());
                    ready.insert(key, Arc::clone(version));
                }
            }
        }
        Snapshot {
            is_ready: serving.is_ready(),
            index: serving.index(&IndexFilter::All),
            ready,
        }
    }

    fn html(&self) -> String {
        let mut page = PageText::default();
        page.markup("<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">");
        page.markup("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
        page.markup("<title>Wisp</title><style>");
        page.markup(include_str!("console/style.css"));
        page.markup("</style><script src=\"/docs/console.js\" defer></script></head><body>");
        page.markup("<header><h1>Wisp ");
        page.text(env!("CARGO_PKG_VERSION"));
        page.markup("</h1><p>The server is <strong id=\"readiness\">");
        page.markup(match self.is_ready {
            true => "ready",
            false => "not ready",
        });
        page.markup("</strong>. <a href=\"/docs\">API</a> <a href=\"/v2/models/stats\">");
        page.markup("Statistics</a></p></header><main>");
        for entry in self.index.iter().take(MAX_VERSIONS) {
            self.add_version(&mut page, entry);
        }
        let left = self.index.len().saturating_sub(MAX_VERSIONS);
        if left > 0 {
            page.markup("<p id=\"more\">");
            page.text(&format!(
                "and {left} more, which the repository index lists"
            ));
            page.markup("</p>");
        }
        page.markup("</main></body></html>");
        page.into_html()
    }

    fn add_version(&self, page: &mut PageText, entry: &IndexEntry) {
        let number = entry.version.map(|version| version.to_string());
        let number = number.unwrap_or_default();
        let (state, reason) = state(&entry.state);
        page.markup("<section data-model=\"");
        page.text(&entry.name);
        page.markup("\" data-version=\"");
        page.text(&number);
        page.markup("\"><h2>");
        page.text(&entry.name);
        if !number.is_empty() {
            page.markup(" <small>version ");
            page.text(&number);
            page.markup("</small>");
        }
        page.markup(" <span class=\"state\">");
        page.text(state);
        page.markup("</span></h2>");
        if let Some(reason) = reason {
            page.markup("<p class=\"reason\">");
            page.text(reason);
            page.markup("</p>");
        }
        let key = (entry.name.clone(), number);
        if let Some(version) = self.ready.get(&key) {
            add_ready_version(page, version);
        }
        page.markup("</section>");
    }
}

/// Returns the name of a state in the index, and the reason for it.
fn state(state: &VersionState) -> (&'static str, Option<&str>) {
    match state {
        VersionState::Loading => ("LOADING", None),
        VersionState::Ready => ("READY", None),
        VersionState::Dormant => ("READY", Some("not loaded yet")),
        VersionState::Unloading => ("UNLOADING", None),
        VersionState::Unloaded => ("UNAVAILABLE", Some("unloaded")),
        VersionState::Failed(reason) => ("UNAVAILABLE", Some(reason.as_str())),
    }
}

/// Adds the backend, the statistics and the form of a version that accepts calls.
fn add_ready_version(page: &mut PageText, version: &ModelVersion) {
    let description = version.description();
    page.markup("<p><span class=\"backend\">");
    page.text(&description.platform);
    page.markup("</span>");
    for (graph, selection) in version.backend_selections() {
        page.markup("<br>");
        page.text(&format!("{graph}: {selection}"));
    }
    for (graph, decision) in version.batching().decisions() {
        page.markup("<br>");
        page.text(&format!("{graph}: batching {decision}"));
    }
    page.markup("</p>");
    if let Some(route) = version.web_route() {
        page.markup("<p class=\"route\">A web component at ");
        page.text(&route.to_string());
        page.markup("</p>");
        return;
    }
    let sums = version.statistics().snapshot(description).sums;
    add_counts(page, &sums);
    let phases = &sums.phases;
    bars(
        page,
        &[
            Bar::new("queue", sums.queue),
            Bar::new("compute_input", phases.compute_input),
            Bar::new("compute_infer", phases.compute_infer),
            Bar::new("compute_output", phases.compute_output),
        ],
    );
    add_batches(page, &sums);
    let example = openapi::example_request(description, version.example());
    let Some(example) = example else {
        return;
    };
    page.markup("<form data-path=\"/v2/models/");
    page.text(description.model.as_str());
    page.markup("/versions/");
    page.text(&description.version.to_string());
    page.markup("/infer\"><label>Request<textarea rows=\"8\" spellcheck=\"false\">");
    // A parser drops a newline that follows the tag directly, and the text begins with a brace.
    page.text(&example);
    page.markup("</textarea></label><button>Send</button><output></output></form>");
}

fn add_counts(page: &mut PageText, sums: &Sums) {
    let rows: [(&str, String); 8] = [
        ("successful requests", sums.success.count.to_string()),
        ("failed requests", sums.fail.count.to_string()),
        ("mean time of a request", mean(sums.success)),
        ("rows", sums.inferences.to_string()),
        ("executions", sums.executions.to_string()),
        ("cache hits", sums.cache_hit.count.to_string()),
        ("cache misses", sums.cache_miss.count.to_string()),
        ("mean time of a cache hit", mean(sums.cache_hit)),
    ];
    page.markup("<table class=\"counts\"><tbody>");
    for (name, value) in rows {
        page.markup("<tr><th scope=\"row\">");
        page.text(name);
        page.markup("</th><td>");
        page.text(&value);
        page.markup("</td></tr>");
    }
    page.markup("</tbody></table>");
}

fn add_batches(page: &mut PageText, sums: &Sums) {
    if sums.batches.is_empty() {
        return;
    }
    page.markup("<table class=\"batches\"><thead><tr><th>rows in an execution</th>");
    page.markup("<th>executions</th><th>mean computation</th></tr></thead><tbody>");
    for batch in &sums.batches {
        let computed = batch.phases.compute_infer;
        page.markup("<tr><td>");
        page.text(&batch.size.to_string());
        page.markup("</td><td>");
        page.text(&computed.count.to_string());
        page.markup("</td><td>");
        page.text(&mean(computed));
        page.markup("</td></tr>");
    }
    page.markup("</tbody></table>");
}

/// Returns the mean duration as text.
fn mean(sum: Sum) -> String {
    match sum.nanoseconds.checked_div(sum.count) {
        Some(nanoseconds) => duration(nanoseconds),
        None => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_protocol::call::Version;

    fn snapshot(index: Vec<IndexEntry>) -> Snapshot {
        Snapshot {
            is_ready: false,
            index,
            ready: BTreeMap::new(),
        }
    }

    #[test]
    fn names_and_reasons_are_text_whatever_they_contain() {
        let hostile = "\"><script>alert('x')</script>&amp;";
        let html = snapshot(vec![IndexEntry {
            name: hostile.to_owned(),
            version: Some(Version::FIRST),
            state: VersionState::Failed(hostile.to_owned()),
        }])
        .html();
        assert!(!html.contains("<script>alert"), "{html}");
        assert!(!html.contains("\"><script"), "{html}");
        assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)"), "{html}");
        assert!(html.contains("&amp;amp;"), "{html}");
        assert!(html.contains("not ready"), "{html}");
    }

    #[test]
    fn the_page_of_many_models_has_a_bound() {
        let entries = (0..MAX_VERSIONS + 7).map(|number| IndexEntry {
            name: format!("m{number}"),
            version: None,
            state: VersionState::Unloaded,
        });
        let html = snapshot(entries.collect()).html();
        assert_eq!(html.matches("<section").count(), MAX_VERSIONS);
        assert!(html.contains("and 7 more"), "{html}");
    }

    #[test]
    fn a_mean_of_nothing_is_none() {
        assert_eq!(mean(Sum::default()), "none");
        let sum = Sum {
            count: 2,
            nanoseconds: 8000,
        };
        assert_eq!(mean(sum), "4 µs");
    }
}
