//! Untrusted text in a log or on a terminal, displayed on one line and without control characters.
//!
//! Names of files and models, paths and texts from guests can contain any character. A newline would
//! start a line that looks like one of Wisp's own, an escape sequence would control the terminal, and a
//! bidirectional control would display one name as another.

use std::fmt::{self, Display, Write};

/// Displays a value with all characters escaped that would end the line or change how text is displayed.
#[derive(Debug, Clone, Copy)]
pub struct OneLine<T>(pub T);

/// Returns whether a character ends a line, controls a terminal, or reorders or hides the text around it.
pub fn is_unsafe_to_show(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            // Line and paragraph separators; directional marks, embeddings, overrides and isolates;
            // invisible characters.
            '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}' | '\u{feff}'
        )
}

/// A writer that escapes the text written through it.
struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl<T: Display> Display for OneLine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_unsafe_to_show) {
            let (plain, from) = rest.split_at(at);
            self.0.write_str(plain)?;
            let mut characters = from.chars();
            if let Some(character) = characters.next() {
                write!(self.0, "{}", character.escape_default())?;
            }
            rest = characters.as_str();
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_stays_on_its_line_and_in_its_direction() {
        for (text, shown) in [
            ("", ""),
            ("wine é 漢 ü", "wine é 漢 ü"),
            ("a\nERROR b\r", "a\\nERROR b\\r"),
            ("\x1b[2Jx\x7f\u{85}", "\\u{1b}[2Jx\\u{7f}\\u{85}"),
            ("a\u{2028}b\u{2029}", "a\\u{2028}b\\u{2029}"),
            (
                "gpj\u{202e}exe\u{2066}\u{feff}",
                "gpj\\u{202e}exe\\u{2066}\\u{feff}",
            ),
        ] {
            assert_eq!(OneLine(text).to_string(), shown);
        }
    }
}
