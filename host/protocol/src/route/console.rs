//! The choice between the two documents of `/`: the console for browsers, and KServe's liveness for all others.

use http::{HeaderMap, header};

/// Returns whether `Accept` names HTML, as when a browser opens a page. `*/*` does not count.
pub(super) fn accepts_html(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|range| range.trim().eq_ignore_ascii_case("text/html"))
}
