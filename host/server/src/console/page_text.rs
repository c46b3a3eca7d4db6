//! The text of a page, in which markup of the program and text of others cannot be confused.

/// A page that is being written. Lifetime: one request.
#[derive(Debug, Default)]
pub(super) struct PageText {
    html: String,
}

impl PageText {
    /// Adds markup of the program.
    pub(super) fn markup(&mut self, markup: &'static str) {
        self.html.push_str(markup);
    }

    /// Adds text, which may stand between tags or in a quoted attribute.
    pub(super) fn text(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '&' => self.html.push_str("&amp;"),
                '<' => self.html.push_str("&lt;"),
                '>' => self.html.push_str("&gt;"),
                '"' => self.html.push_str("&quot;"),
                '\'' => self.html.push_str("&#39;"),
                character => self.html.push(character),
            }
        }
    }

    /// Returns the page.
    pub(super) fn into_html(self) -> String {
        self.html
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_contains_no_markup() {
        let mut page = PageText::default();
        page.markup("<b>");
        page.text("<a href='x' title=\"&\">é");
        page.markup("</b>");
        let expected = "<b>&lt;a href=&#39;x&#39; title=&quot;&amp;&quot;&gt;é</b>";
        assert_eq!(page.into_html(), expected);
    }
}
