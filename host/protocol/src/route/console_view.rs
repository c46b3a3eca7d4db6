//! The part of the models that the console shows: the query of its URL.
//!
//! `model` names one model. Otherwise `search` is a text in the names, and `page` the number of a page of the models
//! that have it. Members with other names and values without a meaning are ignored, so that every link shows a page.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The most characters of a text to search for, or of a name. No name of a model is longer.
const MAX_CHARACTERS: usize = 128;

/// The part of the models that a console shows. Lifetime: one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsoleView {
    /// The name of the only model to show, which may be any text.
    pub model: Option<String>,
    /// The text in the names of the models; empty for all.
    pub search: String,
    /// The number of pages before the one to show.
    pub page: usize,
}

impl ConsoleView {
    /// Returns the view of a query, in which the last of several members with one name counts.
    pub fn of_query(query: &str) -> ConsoleView {
        let mut view = ConsoleView::default();
        for member in query.split('&') {
            let (name, value) = member.split_once('=').unwrap_or((member, ""));
            let value = decoded(value);
            match name {
                "model" => view.model = Some(value).filter(|model| !model.is_empty()),
                "search" => view.search = value,
                "page" => {
                    let number: usize = value.parse().unwrap_or(1);
                    view.page = number.saturating_sub(1);
                }
                _ => {}
            }
        }
        view
    }

    /// Returns whether the view has a model of this name. Upper and lower case are the same in a search.
    pub fn has(&self, name: &str) -> bool {
        match &self.model {
            Some(model) => model == name,
            None => {
                let search = self.search.to_ascii_lowercase();
                name.to_ascii_lowercase().contains(&search)
            }
        }
    }

    /// Returns the URL of another page of the same search.
    pub fn url_of_page(&self, page: usize) -> String {
        let search = utf8_percent_encode(&self.search, NON_ALPHANUMERIC);
        format!("/?search={search}&page={}", page.saturating_add(1))
    }
}

/// Returns the value that a form has encoded. Bytes that are no text become replacement characters.
fn decoded(value: &str) -> String {
    let value = value.replace('+', " ");
    let text = percent_decode_str(&value).decode_utf8_lossy();
    text.trim().chars().take(MAX_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_selects_a_model_or_a_page_of_a_search() {
        let all = ConsoleView::default();
        assert_eq!(ConsoleView::of_query(""), all);
        assert_eq!(ConsoleView::of_query("x=1&page=none&model="), all);
        let view = ConsoleView::of_query("search=a+%3Cb%3E&page=3");
        assert_eq!((view.search.as_str(), view.page), ("a <b>", 2));
        assert_eq!(view.model, None);
        let view = ConsoleView::of_query("model=m&model=iris&page=0");
        assert_eq!(view.model.as_deref(), Some("iris"));
        assert_eq!(view.page, 0);
        let long = format!("search={}", "%C3%A9".repeat(1000));
        let view = ConsoleView::of_query(&long);
        assert_eq!(view.search.chars().count(), MAX_CHARACTERS);
    }

    #[test]
    fn a_search_finds_parts_of_names_and_a_model_is_named_in_full() {
        let view = ConsoleView::of_query("search=RIS");
        assert!(view.has("iris") && view.has("Iris-2") && !view.has("wine"));
        let view = ConsoleView::of_query("model=iris&search=wine");
        assert!(view.has("iris") && !view.has("Iris") && !view.has("wine"));
        assert!(ConsoleView::default().has("anything"));
    }

    #[test]
    fn the_url_of_a_page_leads_to_it() {
        let view = ConsoleView {
            search: "a&b=\"+é".to_owned(),
            ..ConsoleView::default()
        };
        let url = view.url_of_page(6);
        let query = url.strip_prefix("/?").unwrap();
        assert_eq!(
            ConsoleView::of_query(query),
            ConsoleView { page: 6, ..view }
        );
    }
}
