//! Messages of foreign libraries, shortened to one line of bounded length.

/// Returns `text` on one line, cut to `max_chars` characters with a trailing `…` if it is longer.
pub(crate) fn one_line(text: &str, max_chars: usize) -> String {
    let mut line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(max_chars)
        .collect();
    if text.chars().nth(max_chars).is_some() {
        line.push('…');
    }
    line
}
