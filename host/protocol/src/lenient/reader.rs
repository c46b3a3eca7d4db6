//! A walk over JSON that may hold bare `NaN`, `Infinity` and `-Infinity`.
//!
//! A thin layer over `jiter`, which reads exactly these tokens besides strict JSON: its lists and
//! objects become loops over closures, and its errors one sentence. Lists of plain numbers are stepped
//! over by a faster reader, `crate::number`; the places in errors count from behind the last one, which
//! nobody sees: all of the text has been walked before its elements are read.

use super::error::SyntaxError;
use crate::number::read_list;
use jiter::{Jiter, JiterError, Peek};
use wisp_tensor::ElementType;

/// What a reader stands before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    List,
    Object,
    Text,
    /// A number, a literal, or what is neither.
    Other,
}

/// The unread rest of a JSON text.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    jiter: Jiter<'a>,
}

/// Calls `each` with the name and the text of every member of the object that is all of `text`.
///
/// All of the text is valid JSON once this has returned `Ok`.
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

    /// What comes next, if anything does.
    pub(crate) fn kind(&mut self) -> Result<Kind, SyntaxError> {
        let peek = self.jiter.peek().map_err(|error| self.syntax(&error))?;
        Ok(Kind::of(peek))
    }

    /// What the list ahead begins with; `None` before an empty list or something else.
    pub(crate) fn kind_of_first(&self) -> Option<Kind> {
        self.jiter.clone().next_array().ok().flatten().map(Kind::of)
    }

    /// Whether the value ahead is an object of one member, `b64`, that is a string.
    pub(crate) fn is_base64(&self) -> bool {
        let mut ahead = self.jiter.clone();
        matches!(ahead.next_object(), Ok(Some("b64")))
            && matches!(ahead.peek(), Ok(Peek::String))
            && ahead.next_skip().is_ok()
            && matches!(ahead.next_key_bytes(), Ok(None))
    }

    /// Steps through the list ahead; `each` must read exactly one value.
    pub(crate) fn list<E: From<SyntaxError>>(
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

    /// Steps through the object ahead; `each` must read exactly one value, that of the member.
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

    /// The text of the value ahead, whatever it is.
    pub(crate) fn skip(&mut self) -> Result<&'a str, SyntaxError> {
        let skipped = self.jiter.peek().and_then(|peek| {
            let start = self.jiter.current_index();
            self.jiter.known_skip(peek).map(|()| start)
        });
        let start = skipped.map_err(|error| self.syntax(&error))?;
        let value = self.text.get(start..self.jiter.current_index());
        Ok(value.expect("a value begins and ends with ASCII"))
    }

    /// Appends the elements of the list ahead to `content`, if it is one of plain numbers of this type,
    /// and returns how many there are; otherwise nothing has happened.
    pub(super) fn numbers(
        &mut self,
        element_type: ElementType,
        content: &mut Vec<u8>,
    ) -> Option<usize> {
        let rest = self.text.get(self.jiter.current_index()..)?;
        let (count, length) = read_list(rest, element_type, content)?;
        *self = Reader::new(rest.get(length..)?);
        Some(count)
    }

    /// The digits of the number ahead, or one of the three bare words; `None` before all else.
    pub(super) fn number(&mut self) -> Option<&str> {
        str::from_utf8(self.jiter.next_number_bytes().ok()?).ok()
    }

    /// The string ahead, without its escapes; `None` before all else.
    pub(crate) fn string(&mut self) -> Option<&str> {
        self.jiter.next_str().ok()
    }

    /// The literal ahead; `None` before all else.
    pub(super) fn bool(&mut self) -> Option<bool> {
        self.jiter.next_bool().ok()
    }

    /// Nothing but white space may be left.
    pub(crate) fn finish(&mut self) -> Result<(), SyntaxError> {
        self.jiter.finish().map_err(|error| self.syntax(&error))
    }

    fn syntax(&self, error: &JiterError) -> SyntaxError {
        SyntaxError(error.description(&self.jiter).into())
    }
}

impl Kind {
    fn of(peek: Peek) -> Kind {
        match peek {
            Peek::Array => Kind::List,
            Peek::Object => Kind::Object,
            Peek::String => Kind::Text,
            _ => Kind::Other,
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
    fn members_come_with_their_text() {
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
    fn what_is_no_object_of_json_is_refused_with_its_place() {
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
    fn nesting_has_a_limit_and_takes_no_stack() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(1000), "]".repeat(1000));
        assert!(names(&deep).is_err());
        assert!(names(&format!("{{\"a\":{}", "[".repeat(1_000_000))).is_err());
    }

    #[test]
    fn only_an_object_of_one_string_named_b64_is_bytes() {
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
