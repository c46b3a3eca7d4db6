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

/// The first `limit` characters, the last of them an ellipsis where there were more, with control
/// characters replaced by spaces.
fn cut(text: &str, limit: usize) -> String {
    let mut characters = text.chars();
    let mut shown: String = characters
        .by_ref()
        .take(limit)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if characters.next().is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
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
    }
}
