//! A parser of JSON that may contain bare `NaN`, `Infinity` and `-Infinity`.
//!
//! A thin layer over `jiter`, which accepts exactly these tokens in addition to strict JSON. Arrays and
//! objects become loops over closures; errors become one sentence. Arrays of plain numbers are read by
//! the faster `crate::number`. Positions in later errors count from the end of that array. No client
//! receives such a position, because the whole text is validated before elements are read.

use super::error::SyntaxError;
use crate::number::read_array;
use jiter::{Jiter, JiterError, Peek};
use wisp_tensor::ElementType;

/// The kind of the next value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueKind {
    Array,
    Object,
    String,
    Null,
    /// A number, a bool, or invalid text.
    Other,
}

/// The unread rest of a JSON text.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    jiter: Jiter<'a>,
}

/// Calls `each` with the name and the text of every member of `text`, which must be exactly one object.
///
/// If it returns `Ok`, the whole text is valid JSON.
pub(crate) fn members<'a, E: From<SyntaxError>>(
    text: &'a str,
    mut each: impl FnMut(&str, &'a str) -> Result<(), E>,
) -> Result<(), E> {
    let mut reader = Reader::new(text);
    reader.object(|name, reader| each(name, reader.skip()?))?;
    Ok(reader.finish()?)
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Reader<'a> {
        Reader {
            text,
            jiter: Jiter::new(text.as_bytes()).with_allow_inf_nan(),
        }
    }

    /// Returns the kind of the next value, or an error at the end of the text.
    pub(crate) fn kind(&mut self) -> Result<ValueKind, SyntaxError> {
        let peek = self.jiter.peek().map_err(|error| self.syntax(&error))?;
        Ok(ValueKind::of(peek))
    }

    /// Returns the kind of the first element of the array ahead; `None` if the array is empty or the
    /// value is not an array.
    pub(crate) fn kind_of_first(&self) -> Option<ValueKind> {
        self.jiter
            .clone()
            .next_array()
            .ok()
            .flatten()
            .map(ValueKind::of)
    }

    /// Returns whether the value ahead is an object whose only member is `b64`, a string.
    pub(crate) fn is_base64(&self) -> bool {
        let mut ahead = self.jiter.clone();
        matches!(ahead.next_object(), Ok(Some("b64")))
            && matches!(ahead.peek(), Ok(Peek::String))
            && ahead.next_skip().is_ok()
            && matches!(ahead.next_key_bytes(), Ok(None))
    }

    /// Iterates over the array ahead. `each` must read exactly one value.
    pub(crate) fn array<E: From<SyntaxError>>(
        &mut self,
        mut each: impl FnMut(&mut Reader<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut item = self.jiter.next_array();
        loop {
            match item {
                Ok(Some(_)) => each(self)?,
                Ok(None) => return Ok(()),
                Err(error) => return Err(self.syntax(&error).into()),
            }
            item = self.jiter.array_step();
        }
    }

    /// Iterates over the object ahead. `each` must read exactly one value, the member's.
    pub(crate) fn object<E: From<SyntaxError>>(
        &mut self,
        mut each: impl FnMut(&str, &mut Reader<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut name = String::new();
        let mut member = self.jiter.next_object();
        loop {
            match member {
                Ok(Some(text)) => {
                    name.clear();
                    name.push_str(text);
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(self.syntax(&error).into()),
            }
            each(&name, self)?;
            member = self.jiter.next_key();
        }
    }

    /// Skips the value ahead, of any kind, and returns its text.
    pub(crate) fn skip(&mut self) -> Result<&'a str, SyntaxError> {
        let skipped = self.jiter.peek().and_then(|peek| {
            let start = self.jiter.current_index();
            self.jiter.known_skip(peek).map(|()| start)
        });
        let start = skipped.map_err(|error| self.syntax(&error))?;
        let value = self.text.get(start..self.jiter.current_index());
        Ok(value.expect("a value begins and ends with ASCII"))
    }

    /// Appends the elements of the array ahead to `content` and returns their number. If it is not an
    /// array of plain numbers of this type, returns `None` and changes nothing.
    pub(super) fn numbers(
        &mut self,
        element_type: ElementType,
        content: &mut Vec<u8>,
    ) -> Option<usize> {
        let rest = self.text.get(self.jiter.current_index()..)?;
        let (count, length) = read_array(rest, element_type, content)?;
        *self = Reader::new(rest.get(length..)?);
        Some(count)
    }

    /// Reads the text of the number ahead, which may be one of the three bare words; `None` for other
    /// values.
    pub(super) fn number(&mut self) -> Option<&str> {
        str::from_utf8(self.jiter.next_number_bytes().ok()?).ok()
    }

    /// Reads the text of the number ahead like [`Reader::number`], or `NaN` for `null`.
    pub(super) fn float(&mut self) -> Option<&str> {
        match self.jiter.peek().ok()? {
            Peek::Null => self.jiter.known_null().ok().map(|()| "NaN"),
            _ => self.number(),
        }
    }

    /// Reads the string ahead and resolves its escapes; `None` for other values.
    pub(crate) fn string(&mut self) -> Option<&str> {
        self.jiter.next_str().ok()
    }

    /// Reads the bool ahead; `None` for other values.
    pub(super) fn bool(&mut self) -> Option<bool> {
        self.jiter.next_bool().ok()
    }

    /// Checks that only white space is left.
    pub(crate) fn finish(&mut self) -> Result<(), SyntaxError> {
        self.jiter.finish().map_err(|error| self.syntax(&error))
    }

    fn syntax(&self, error: &JiterError) -> SyntaxError {
        SyntaxError(error.description(&self.jiter).into())
    }
}

impl ValueKind {
    fn of(peek: Peek) -> ValueKind {
        match peek {
            Peek::Array => ValueKind::Array,
            Peek::Object => ValueKind::Object,
            Peek::String => ValueKind::String,
            Peek::Null => ValueKind::Null,
            _ => ValueKind::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<Vec<(String, String)>, SyntaxError> {
        let mut found = Vec::new();
        members(text, |name, value| {
            found.push((name.to_owned(), value.to_owned()));
            Ok::<_, SyntaxError>(())
        })?;
        Ok(found)
    }

    #[test]
    fn members_are_returned_with_their_text() {
        let found =
            names(" {\"a\" : [1, NaN] , \"b\\n\":{\"é\":\"]\"},\"\": -Infinity }\n").unwrap();
        let expected = [
            ("a", "[1, NaN]"),
            ("b\n", "{\"é\":\"]\"}"),
            ("", "-Infinity"),
        ];
        assert_eq!(
            found,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert_eq!(names("{}").unwrap(), []);
    }

    #[test]
    fn a_syntax_error_contains_its_position() {
        for text in [
            "",
            "[]",
            "1",
            "{",
            "{\"a\":1,}",
            "{\"a\":01}",
            "{\"a\":nan}",
            "{\"a\":+1}",
            "{\"a\":-NaN}",
            "{\"a\":.5}",
            "{\"a\":'b'}",
            "{\"a\":1}x",
            "{\"a\":\"\u{1}\"}",
        ] {
            assert!(names(text).is_err(), "{text}");
        }
        let error = names("{\"a\":\n01}").unwrap_err().to_string();
        assert!(error.contains("at line 2 column"), "{error}");
    }

    #[test]
    fn nesting_is_limited_and_uses_no_stack() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(1000), "]".repeat(1000));
        assert!(names(&deep).is_err());
        assert!(names(&format!("{{\"a\":{}", "[".repeat(1_000_000))).is_err());
    }

    #[test]
    fn only_an_object_with_the_single_member_b64_is_base64() {
        assert!(Reader::new(" { \"b64\" : \"aGk=\" }").is_base64());
        for text in [
            "\"b64\"",
            "{\"b64\":1}",
            "{\"b64\":\"\",\"x\":1}",
            "{\"x\":\"\"}",
            "{}",
        ] {
            assert!(!Reader::new(text).is_base64(), "{text}");
        }
    }
}
