//! The failed requests of a version, by the party that has to act.

use super::page_text::PageText;
use super::plot::bar;
use super::quantity::count;
use wisp_protocol::error::Party;
use wisp_serving::failure_reason::FailureCounts;

/// The parties, with descriptions of their failures.
const PARTIES: [(Party, &str, &str); 4] = [
    (
        Party::Client,
        "client",
        "invalid requests, and clients that have gone",
    ),
    (
        Party::Handler,
        "handler",
        "traps, limits and invalid results of the handler",
    ),
    (
        Party::Capacity,
        "capacity",
        "refused or late for lack of capacity",
    ),
    (
        Party::Host,
        "host",
        "failures of a backend or of the server",
    ),
];

/// Adds the table of the failures. Without a failure there is none.
pub(super) fn add_failures(page: &mut PageText, failures: &FailureCounts) {
    let most = PARTIES.iter().map(|(party, ..)| failures.of_party(*party));
    let most = most.max().unwrap_or(0);
    if most == 0 {
        return;
    }
    page.markup(
        "<div class=\"wide\"><table class=\"failures\"><caption>Failed requests by the party ",
    );
    page.markup("that has to act</caption>");
    page.columns(&["party", "share", "requests", "failures"]);
    page.markup("<tbody>");
    for (party, name, meaning) in PARTIES {
        let number = failures.of_party(party);
        page.markup("<tr");
        page.attribute("data-party", name);
        page.markup(">");
        page.row_heading(name);
        page.markup("<td class=\"plot\">");
        bar(page, name, (number, most));
        page.markup("</td>");
        page.element("td", &count(number));
        page.element("td", meaning);
        page.markup("</tr>");
    }
    page.markup("</tbody></table></div>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_protocol::error::ErrorKind;

    #[test]
    fn each_party_has_a_row_once_a_request_has_failed() {
        let mut page = PageText::default();
        let mut failures = FailureCounts::default();
        add_failures(&mut page, &failures);
        assert_eq!(page.into_html(), "", "nothing has failed");
        failures.add(ErrorKind::ClientGone);
        failures.add(ErrorKind::InvalidRequest);
        failures.add(ErrorKind::HandlerTimeout);
        let mut page = PageText::default();
        add_failures(&mut page, &failures);
        let html = page.into_html();
        assert_eq!(html.matches("data-party").count(), PARTIES.len());
        assert_eq!(html.matches("<rect").count(), 2);
        assert!(html.contains("<td>2</td><td>invalid requests"), "{html}");
        assert!(html.contains("<td>1</td><td>traps"), "{html}");
        assert!(html.contains("<td>0</td><td>refused"), "{html}");
    }
}
