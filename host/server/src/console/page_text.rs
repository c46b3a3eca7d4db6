//! The text of a page, in which markup of the program and text of others cannot be confused.

/// The character in place of those that a page cannot contain.
const REPLACEMENT: char = '\u{FFFD}';

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

    /// Adds text, which may stand between tags or in a quoted attribute. Control characters have no meaning in a page,
    /// apart from tabs and the ends of lines.
    pub(super) fn text(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '&' => self.html.push_str("&amp;"),
                '<' => self.html.push_str("&lt;"),
                '>' => self.html.push_str("&gt;"),
                '"' => self.html.push_str("&quot;"),
                '\'' => self.html.push_str("&#39;"),
                '\t' | '\n' | '\r' => self.html.push(character),
                character if character.is_control() => self.html.push(REPLACEMENT),
                character => self.html.push(character),
            }
        }
    }

    /// Adds a name or reason of others, which cannot change the direction of the text around it.
    pub(super) fn name(&mut self, name: &str) {
        self.element("bdi", name);
    }

    /// Adds an attribute to a tag that is still open.
    pub(super) fn attribute(&mut self, name: &'static str, value: &str) {
        self.html.push(' ');
        self.html.push_str(name);
        self.html.push_str("=\"");
        self.text(value);
        self.html.push('"');
    }

    /// Adds an element without attributes that contains this text.
    pub(super) fn element(&mut self, tag: &'static str, text: &str) {
        for part in ["<", tag, ">"] {
            self.html.push_str(part);
        }
        self.text(text);
        for part in ["</", tag, ">"] {
            self.html.push_str(part);
        }
    }

    /// Adds the heading of a row, which is text of the program or of others.
    pub(super) fn row_heading(&mut self, text: &str) {
        self.markup("<th scope=\"row\">");
        self.name(text);
        self.markup("</th>");
    }

    /// Adds a row of a table with a heading and these cells.
    pub(super) fn row(&mut self, heading: &str, cells: &[&str]) {
        self.markup("<tr>");
        self.row_heading(heading);
        for cell in cells {
            self.element("td", cell);
        }
        self.markup("</tr>");
    }

    /// Adds the headings of the columns of a table.
    pub(super) fn columns(&mut self, headings: &[&'static str]) {
        self.markup("<thead><tr>");
        for heading in headings {
            self.markup("<th scope=\"col\">");
            self.markup(heading);
            self.markup("</th>");
        }
        self.markup("</tr></thead>");
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

    #[test]
    fn attributes_and_elements_end_where_the_program_says() {
        let mut page = PageText::default();
        page.markup("<p");
        page.attribute("title", "\"><script>");
        page.markup(">");
        page.name("</bdi>\0\u{1b}");
        page.row("a", &["<td>"]);
        let expected = "<p title=\"&quot;&gt;&lt;script&gt;\"><bdi>&lt;/bdi&gt;\u{FFFD}\u{FFFD}</bdi>\
             <tr><th scope=\"row\"><bdi>a</bdi></th><td>&lt;td&gt;</td></tr>";
        assert_eq!(page.into_html(), expected);
    }

    #[test]
    fn lines_and_tabs_stay() {
        let mut page = PageText::default();
        page.text("{\n\t1\r\n}");
        assert_eq!(page.into_html(), "{\n\t1\r\n}");
    }
}
