//! The frame of the page: the server, a search, the table of the models of one page, and the details of a few.

use super::frame;
use super::model::add_model;
use super::page_text::PageText;
use super::quantity::{bytes, count, mean, number};
use super::snapshot::{MAX_MODELS, Model, ShownModels, Snapshot};
use super::version::{State, totals};
use wisp_protocol::statistics::Sum;

/// The most versions of a model in the table.
const MAX_MARKS: usize = 6;

/// The most entries of the repository that are no models.
const MAX_SKIPPED: usize = 20;

/// Returns the page.
pub(super) fn html(snapshot: &Snapshot) -> String {
    let mut page = PageText::default();
    frame::open_page(&mut page);
    if snapshot.has_key_form {
        frame::add_key_form(&mut page);
    }
    add_server(&mut page, snapshot);
    page.markup("<main>");
    add_search(&mut page, snapshot);
    let shown = snapshot.shown();
    match &snapshot.view.model {
        Some(model) if shown.models.is_empty() => {
            page.markup("<p id=\"unknown\">There is no model ");
            page.name(model);
            page.markup("</p>");
        }
        _ => add_models(&mut page, snapshot, &shown),
    }
    add_skipped(&mut page, snapshot);
    page.markup("</main>");
    frame::close_page(&mut page);
    page.into_html()
}

fn add_server(page: &mut PageText, snapshot: &Snapshot) {
    page.markup("<header><h1><a href=\"/\">Wisp</a> <small>");
    page.text(env!("CARGO_PKG_VERSION"));
    page.markup("</small></h1><p>The server is <strong id=\"readiness\">");
    page.markup(match (snapshot.is_draining, snapshot.is_ready) {
        (true, _) => "draining",
        (false, true) => "ready",
        (false, false) => "not ready",
    });
    page.markup("</strong>. <a href=\"/docs\">API</a>");
    if !snapshot.has_key_form {
        // A link has no key.
        page.markup(" <a href=\"/v2/models/stats\">Statistics</a>");
    }
    page.markup("</p><dl id=\"server\">");
    let versions = snapshot.versions_by_state();
    let mut facts: Vec<(&str, String)> = vec![
        ("models", number(snapshot.models.len())),
        ("versions loaded", number(versions.loaded)),
        ("not loaded yet", number(versions.dormant)),
        ("failed", number(versions.failed)),
        ("unloaded", number(versions.unloaded)),
        (
            "requests in progress",
            format!(
                "{} of {}",
                number(snapshot.admitted_requests),
                number(snapshot.max_requests)
            ),
        ),
    ];
    if let Some(memory) = snapshot.memory {
        let held = bytes(memory.bytes);
        let held = match memory.budget {
            Some(budget) => format!("{held} of {}", bytes(budget)),
            None => held,
        };
        facts.push(("memory of models", held));
    }
    facts.push(("response cache", bytes(snapshot.cache_bytes)));
    for (name, value) in facts {
        page.markup("<div>");
        page.element("dt", name);
        page.element("dd", &value);
        page.markup("</div>");
    }
    page.markup("</dl></header>");
}

fn add_search(page: &mut PageText, snapshot: &Snapshot) {
    let view = &snapshot.view;
    page.markup("<form class=\"search\" role=\"search\" action=\"/\" method=\"get\"><label>Name of a model ");
    page.markup("<input type=\"search\" name=\"search\"");
    page.attribute("value", &view.search);
    page.markup("></label><button>Search</button>");
    if view.model.is_some() || !view.search.is_empty() {
        page.markup(" <a href=\"/\">All models</a>");
    }
    page.markup("</form>");
}

/// Adds the table of the models of one page, the links to the pages beside it, and the details of few models.
fn add_models(page: &mut PageText, snapshot: &Snapshot, shown: &ShownModels<'_>) {
    page.markup("<div class=\"wide\"><table id=\"models\"><caption>");
    let last = shown.before.saturating_add(shown.models.len());
    match shown.models.is_empty() {
        true => page.markup("No models"),
        false => page.text(&format!(
            "Models {} to {} of {}",
            number(shown.before.saturating_add(1)),
            number(last),
            number(shown.matching)
        )),
    }
    page.markup("</caption>");
    page.columns(&["model", "versions", "requests", "failed", "mean", "memory"]);
    page.markup("<tbody>");
    for model in &shown.models {
        add_row(page, snapshot, model);
    }
    page.markup("</tbody></table></div>");
    add_pages(page, snapshot, shown);
    match snapshot.has_details(&shown.models) {
        true => {
            for model in &shown.models {
                add_model(page, model, snapshot.residency_of(&model.0));
            }
        }
        false => page.markup("<p id=\"choose\">Choose a model to see its details.</p>"),
    }
}

fn add_row(page: &mut PageText, snapshot: &Snapshot, model: &Model) {
    let (name, entry) = model;
    page.markup("<tr");
    page.attribute("data-model", name.as_str());
    page.markup("><th scope=\"row\"><a");
    // The name of a model has no characters that a URL encodes.
    page.attribute("href", &format!("/?model={name}"));
    page.markup(">");
    page.name(name.as_str());
    page.markup("</a></th><td>");
    let (mut success, mut failed) = (Sum::default(), 0_u64);
    for (position, (version, loaded)) in entry.versions.iter().rev().enumerate() {
        if position < MAX_MARKS {
            State::of(loaded).add_mark(page, &format!("{version} "));
        }
        if let Some(totals) = totals(loaded) {
            success.merge(totals.sums.success);
            failed = failed.saturating_add(totals.failures.total());
        }
    }
    if entry.versions.is_empty() {
        State::failed("").add_mark(page, "");
    }
    let left = entry.versions.len().saturating_sub(MAX_MARKS);
    if left > 0 {
        page.text(&format!(" and {left} more"));
    }
    page.markup("</td>");
    page.element("td", &count(success.count.saturating_add(failed)));
    page.element("td", &count(failed));
    page.element("td", &mean(success));
    let residency = snapshot.residency_of(name);
    let held = match residency.and_then(|residency| residency.bytes) {
        Some(held) => bytes(held),
        None if entry.has_loaded() => "unknown".to_owned(),
        None => "not loaded".to_owned(),
    };
    page.element("td", &held);
    page.markup("</tr>");
}

/// Adds the links to the pages beside this one.
fn add_pages(page: &mut PageText, snapshot: &Snapshot, shown: &ShownModels<'_>) {
    if shown.matching <= MAX_MODELS {
        return;
    }
    page.markup("<nav id=\"pages\">");
    if let Some(previous) = shown.page.checked_sub(1) {
        page.markup("<a rel=\"prev\"");
        page.attribute("href", &snapshot.view.url_of_page(previous));
        page.markup(">Previous models</a> ");
    }
    let last = shown.before.saturating_add(shown.models.len());
    if last < shown.matching {
        let next = shown.page.saturating_add(1);
        page.markup("<a rel=\"next\"");
        page.attribute("href", &snapshot.view.url_of_page(next));
        page.markup(">Next models</a>");
    }
    page.markup("</nav>");
}

/// Adds the entries of the repository that are no models, whose names may be any text.
fn add_skipped(page: &mut PageText, snapshot: &Snapshot) {
    let skipped = snapshot.skipped.iter();
    let matching: Vec<_> = skipped
        .filter(|entry| snapshot.view.has(&entry.name))
        .collect();
    if matching.is_empty() {
        return;
    }
    page.markup("<section id=\"skipped\"><h2>Not served</h2><ul>");
    for entry in matching.iter().take(MAX_SKIPPED) {
        page.markup("<li");
        page.attribute("data-name", &entry.name);
        page.markup("><strong>");
        page.name(&entry.name);
        page.markup("</strong>: ");
        page.name(&entry.reason);
        page.markup("</li>");
    }
    page.markup("</ul>");
    let left = matching.len().saturating_sub(MAX_SKIPPED);
    if left > 0 {
        page.markup("<p class=\"more\">");
        page.text(&format!(
            "and {left} more, which the repository index lists"
        ));
        page.markup("</p>");
    }
    page.markup("</section>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use wisp_protocol::call::{ModelName, Version};
    use wisp_protocol::route::ConsoleView;
    use wisp_serving::registry::skipped_entry::SkippedEntry;
    use wisp_serving::registry::{LoadedVersion, ModelEntry};
    use wisp_serving::residency::ModelMemory;

    const HOSTILE: &str = "\"><script>alert('x')</script>&amp;";

    fn models(number: usize) -> Vec<Model> {
        let entry = Arc::new(ModelEntry {
            versions: BTreeMap::from([(Version::FIRST, LoadedVersion::Dormant(None))]),
            ..ModelEntry::default()
        });
        let names = (0..number).map(|number| ModelName::new(&format!("m{number:04}")).unwrap());
        names.map(|name| (name, Arc::clone(&entry))).collect()
    }

    #[test]
    fn names_and_reasons_are_text_whatever_they_contain() {
        let html = html(&Snapshot {
            view: ConsoleView {
                search: HOSTILE.to_owned(),
                ..ConsoleView::default()
            },
            skipped: vec![SkippedEntry {
                name: HOSTILE.to_owned(),
                reason: HOSTILE.to_owned(),
            }],
            ..Snapshot::default()
        });
        assert!(!html.contains("<script>alert"), "{html}");
        assert!(!html.contains("\"><script>"), "{html}");
        let escaped = "&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;amp;";
        assert_eq!(html.matches(escaped).count(), 4, "{html}");
        assert!(html.contains("not ready"), "{html}");
    }

    #[test]
    fn the_page_of_thousands_of_models_has_a_bound() {
        let html = html(&Snapshot {
            models: models(3000),
            view: ConsoleView::of_query("search=M&page=2"),
            ..Snapshot::default()
        });
        assert_eq!(html.matches("<tr data-model").count(), MAX_MODELS);
        assert!(html.contains("Models 51 to 100 of 3,000"), "{html}");
        assert!(html.contains("href=\"/?search=M&amp;page=1\""), "{html}");
        assert!(html.contains("href=\"/?search=M&amp;page=3\""), "{html}");
        assert!(html.contains("id=\"choose\""), "{html}");
        assert!(!html.contains("<article"), "{html}");
        assert!(html.len() < 64 * 1024, "{} bytes", html.len());
    }

    #[test]
    fn a_page_with_a_key_form_has_no_link_to_what_needs_a_key() {
        let html = |has_key_form| {
            html(&Snapshot {
                has_key_form,
                ..Snapshot::default()
            })
        };
        let (with, without) = (html(true), html(false));
        assert!(with.contains("<form id=\"key\""), "{with}");
        assert!(!without.contains("id=\"key\""), "{without}");
        assert!(!with.contains("/v2/models/stats"), "{with}");
        assert!(without.contains("/v2/models/stats"), "{without}");
    }

    #[test]
    fn a_model_that_is_named_has_its_details() {
        let html = html(&Snapshot {
            models: models(3000),
            view: ConsoleView::of_query("model=m0007"),
            ..Snapshot::default()
        });
        assert_eq!(html.matches("<article").count(), 1);
        assert!(html.contains("Models 1 to 1 of 1"), "{html}");
        assert!(html.contains("All models"), "{html}");
        assert!(!html.contains("id=\"pages\""), "{html}");
    }

    #[test]
    fn a_name_of_no_model_is_shown_as_text() {
        let html = html(&Snapshot {
            view: ConsoleView {
                model: Some(HOSTILE.to_owned()),
                ..ConsoleView::default()
            },
            ..Snapshot::default()
        });
        assert!(
            html.contains("There is no model <bdi>&quot;&gt;&lt;script"),
            "{html}"
        );
        assert!(!html.contains("<script>"), "{html}");
    }

    #[test]
    fn the_memory_of_models_is_shown_with_its_budget() {
        let html = html(&Snapshot {
            memory: Some(ModelMemory {
                models: 1,
                bytes: 3 << 20,
                budget: Some(1 << 30),
            }),
            ..Snapshot::default()
        });
        assert!(html.contains("<dd>3.0 MiB of 1.0 GiB</dd>"), "{html}");
        assert!(html.contains("No models"), "{html}");
    }
}
