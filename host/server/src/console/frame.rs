//! The frame of the page: its head, and on a server with tenants the form for an API key.
//!
//! A browser opens a page without a key. It then gets the frame alone, which is the same for everyone, and the script
//! loads the content with the key that a person enters. The field of the form has no name, so that no form puts the key
//! into an address, and the button is disabled until the script is there.

use super::page_text::PageText;

/// Opens the page and its body.
pub(super) fn open_page(page: &mut PageText) {
    page.markup("<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.markup("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    page.markup("<meta name=\"color-scheme\" content=\"light dark\"><title>Wisp</title>");
    page.markup("<link rel=\"stylesheet\" href=\"/docs/console.css\">");
    page.markup("<script src=\"/docs/key.js\" defer></script>");
    page.markup("<script src=\"/docs/console.js\" defer></script></head><body>");
}

/// Closes the page.
pub(super) fn close_page(page: &mut PageText) {
    page.markup("</body></html>");
}

/// Adds the form for an API key.
pub(super) fn add_key_form(page: &mut PageText) {
    page.markup("<form id=\"key\" aria-label=\"API key\"><div id=\"enter\"><label>API key ");
    page.markup("<input type=\"password\" autocomplete=\"off\" spellcheck=\"false\" ");
    page.markup("maxlength=\"200\" required></label><button disabled>Use this key</button></div>");
    page.markup("<div id=\"forget\" hidden>This tab has an API key. ");
    page.markup("<button type=\"button\" disabled>Forget the key</button></div>");
    page.markup("<noscript>With an API key, this page needs JavaScript.</noscript>");
    page.markup("<output role=\"status\"></output></form>");
}

/// Returns the page without content, for callers without a key.
pub(super) fn empty_page() -> String {
    let mut page = PageText::default();
    open_page(&mut page);
    add_key_form(&mut page);
    page.markup(
        "<header><h1>Wisp</h1><p>This server has tenants: each sees its models with its API key. ",
    );
    page.markup("<a href=\"/docs\">API</a></p></header><main></main>");
    close_page(&mut page);
    page.into_html()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_of_the_frame_puts_the_key_into_an_address() {
        let html = empty_page();
        assert_eq!(html.matches("<form").count(), 1, "{html}");
        assert_eq!(html.matches("<input").count(), 1, "{html}");
        assert!(!html.contains(" name=\"key"), "{html}");
        let input = html
            .split("<input")
            .nth(1)
            .and_then(|rest| rest.split('>').next());
        let input = input.unwrap_or_default();
        assert!(input.contains("type=\"password\""), "{input}");
        assert!(!input.contains(" name="), "{input}");
        assert_eq!(html.matches("<button disabled").count(), 1, "{html}");
    }
}
