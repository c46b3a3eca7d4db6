//! A client's own word, made fit to be quoted back to it.
//!
//! Names in a request have any length and any characters until they have been compared with
//! something; an error text that repeats one must neither grow with it nor break a log line.

use std::fmt;

/// The longest part of a name that an error repeats; tensor and model names in use are shorter.
const MAX_CHARACTERS: usize = 64;

/// A name from a request as error texts show it: in backticks, shortened, control characters
/// escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label(Box<str>);

impl Label {
    pub(crate) fn new(name: &str) -> Label {
        let mut shown = String::new();
        for character in name.chars().take(MAX_CHARACTERS) {
            match character.is_control() {
                true => shown.extend(character.escape_default()),
                false => shown.push(character),
            }
        }
        if name.chars().nth(MAX_CHARACTERS).is_some() {
            shown.push('…');
        }
        Label(shown.into())
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_neither_grows_with_the_name_nor_breaks_the_line() {
        assert_eq!(Label::new("x").to_string(), "`x`");
        assert_eq!(Label::new("a\nb\0").to_string(), "`a\\nb\\u{0}`");
        let long = Label::new(&"é".repeat(1_000_000)).to_string();
        assert_eq!(long, format!("`{}…`", "é".repeat(MAX_CHARACTERS)));
    }
}
