//! Untrusted text in logs, errors and terminals: on one line, without control characters, and of bounded
//! length.
//!
//! Names of files and models, paths and texts from guests can contain any character. A newline would
//! start a line that looks like one of Wisp's own, an escape sequence would control the terminal, and a
//! bidirectional control would display one name as another.

use std::fmt::{self, Display, Write};

/// A value displayed with all characters escaped that would end the line or change how text is displayed.
#[derive(Debug, Clone, Copy)]
pub struct OneLine<T>(pub T);

/// Returns whether a character ends a line, controls a terminal, or reorders or hides the text around it.
pub fn is_unsafe_to_show(character: char) -> bool {
    is_disruptive(character)
        || matches!(
            character,
            // Invisible characters.
            '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{feff}'
        )
}

/// Returns whether a character ends a line, controls a terminal, or reorders the text around it.
fn is_disruptive(character: char) -> bool {
    // Rust's controls are C0, DEL and C1. The others are the line and paragraph separators and the
    // explicit formatting characters of Unicode's bidirectional algorithm.
    character.is_control()
        || matches!(
            character,
            '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
                | '\u{200e}' | '\u{200f}' | '\u{61c}'
        )
}

/// Returns the first `max_chars` characters of `text` on one line, the last of them an ellipsis if the text is longer.
/// Characters that end lines, control terminals or change the direction of text are replaced by spaces.
pub fn shorten(text: &str, max_chars: usize) -> String {
    let mut characters = text.chars();
    let mut line: String = characters
        .by_ref()
        .take(max_chars)
        .map(|c| if is_disruptive(c) { ' ' } else { c })
        .collect();
    if characters.next().is_some() {
        line.pop();
        line.push('…');
    }
    line
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
    fn text_beyond_the_limit_is_cut_between_characters() {
        let exact = "é".repeat(10);
        assert_eq!(shorten(&exact, 10), exact);
        assert_eq!(shorten(&exact, 9), "é".repeat(8) + "…");
    }

    #[test]
    fn characters_that_end_lines_or_control_terminals_become_spaces() {
        assert_eq!(shorten("a\r\nERROR b\x1b[2J\0", 99), "a  ERROR b [2J ");
        let separators = ('\u{2028}'..='\u{202e}').chain('\u{2066}'..='\u{2069}');
        let controls = ('\u{7f}'..='\u{9f}').chain(separators);
        for c in controls.chain(['\u{200e}', '\u{200f}', '\u{61c}']) {
            assert_eq!(shorten(&format!("a{c}b"), 99), "a b", "{c:?}");
            assert!(is_unsafe_to_show(c), "{c:?}");
        }
        assert_eq!(shorten("naïve 名 🦀", 99), "naïve 名 🦀");
    }

    #[test]
    fn displayed_text_stays_on_its_line_and_in_its_direction() {
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
