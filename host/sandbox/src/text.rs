//! What a guest wrote, made fit for clients, logs and errors: of bounded length and on one line.
//!
//! A guest chooses texts and names up to the size of its memory, and any characters; neither a log
//! line nor a response is its to fill or to break.

/// The most characters of a guest's text that anybody is shown.
pub(crate) const MAX_TEXT: usize = 1000;

/// The most characters of a guest's name that an error repeats.
const MAX_SHOWN_NAME: usize = 100;

/// The longest name that tensors, parameters and graphs may have, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 1024;

/// A guest's text, of at most [`MAX_TEXT`] characters.
pub(crate) fn bounded(text: &str) -> String {
    cut(text, MAX_TEXT)
}

/// A guest's name, as errors repeat it.
pub(crate) fn shown(name: &str) -> String {
    cut(name, MAX_SHOWN_NAME)
}

/// The first `limit` characters, the last of them an ellipsis where there were more, with those that
/// break lines, steer terminals or change the direction of writing replaced by spaces.
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

/// Whether a character changes how what follows it is shown.
fn is_disruptive(c: char) -> bool {
    // C0, DEL and C1 are controls to Rust. The others are the separators of lines and paragraphs, and
    // what Unicode's bidirectional algorithm calls explicit formatting.
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
