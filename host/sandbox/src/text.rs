//! Text from a guest, limited in length and to one line, for clients, logs and errors.
//!
//! A guest's texts and names can be as large as its memory and contain any character. They must not fill
//! or break a log line or a response.

/// The maximum number of characters of a guest's text that are shown.
pub(crate) const MAX_TEXT: usize = 1000;

/// The maximum number of characters of a guest's name that an error repeats.
const MAX_SHOWN_NAME: usize = 100;

/// The maximum length of the names of tensors, parameters and graphs, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 1024;

/// Returns a guest's text, limited to [`MAX_TEXT`] characters.
pub(crate) fn bounded(text: &str) -> String {
    cut(text, MAX_TEXT)
}

/// Returns a guest's name as errors repeat it.
pub(crate) fn shown(name: &str) -> String {
    cut(name, MAX_SHOWN_NAME)
}

/// Returns the first `limit` characters, the last of them an ellipsis if the text is longer. Characters
/// that break lines, control terminals or change the direction of text are replaced by spaces.
fn cut(text: &str, limit: usize) -> String {
    let mut characters = text.chars();
    let mut shown: String = characters
        .by_ref()
        .take(limit)
        .map(|c| if is_disruptive(c) { ' ' } else { c })
        .collect();
    if characters.next().is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}

/// Returns whether a character changes how the text after it is displayed.
fn is_disruptive(c: char) -> bool {
    // Rust's controls are C0, DEL and C1. The others are the line and paragraph separators and the
    // explicit formatting characters of Unicode's bidirectional algorithm.
    c.is_control()
        || matches!(
            c,
            '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
                | '\u{200e}' | '\u{200f}' | '\u{61c}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_kept_and_what_does_not_is_cut_between_characters() {
        let exact = "é".repeat(MAX_TEXT);
        assert_eq!(bounded(&exact), exact);
        let cut = bounded(&"é".repeat(MAX_TEXT + 1));
        assert_eq!(cut, "é".repeat(MAX_TEXT - 1) + "…");
        assert_eq!(shown(&exact).chars().count(), MAX_SHOWN_NAME);
    }

    #[test]
    fn no_character_begins_another_line_or_steers_a_terminal() {
        assert_eq!(bounded("a\r\nERROR b\x1b[2J\0"), "a  ERROR b [2J ");
        let separators = ('\u{2028}'..='\u{202e}').chain('\u{2066}'..='\u{2069}');
        let controls = ('\u{7f}'..='\u{9f}').chain(separators);
        for c in controls.chain(['\u{200e}', '\u{200f}', '\u{61c}']) {
            assert_eq!(bounded(&format!("a{c}b")), "a b", "{c:?}");
            assert_eq!(shown(&format!("a{c}b")), "a b", "{c:?}");
        }
        assert_eq!(shown("naïve 名 🦀"), "naïve 名 🦀");
    }
}
