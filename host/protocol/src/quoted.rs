//! Names from a client, made safe to repeat in error messages.
//!
//! Until it has been validated, a name in a request can have any length and contain any character. An
//! error message that repeats it must neither grow with the name nor break a log line.

use std::fmt;

/// The number of characters that an error message repeats; tensor and model names in use are shorter.
const MAX_CHARACTERS: usize = 64;

/// A name from a request as error messages show it: in backticks, truncated, with control characters
/// escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quoted(Box<str>);

impl Quoted {
    pub(crate) fn new(name: &str) -> Quoted {
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
        Quoted(shown.into())
    }

    /// Returns the name without the backticks.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_name_is_truncated_and_stays_on_one_line() {
        assert_eq!(Quoted::new("x").to_string(), "`x`");
        assert_eq!(Quoted::new("a\nb\0").to_string(), "`a\\nb\\u{0}`");
        let long = Quoted::new(&"é".repeat(1_000_000)).to_string();
        assert_eq!(long, format!("`{}…`", "é".repeat(MAX_CHARACTERS)));
    }
}
