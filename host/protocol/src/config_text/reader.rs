//! A reader of protobuf's text format, without knowledge of the messages in it.
//!
//! Fields keep their lines. Numbers, booleans and names of enums are words, whose meaning depends on the type of the
//! field. Depth and size are bounded before anything is read, so that no text can exhaust the stack.

use std::iter::Peekable;
use std::str::Chars;

/// The maximum depth of messages and lists, several times as deep as a model configuration.
const MAX_DEPTH: usize = 32;

/// A field of a message.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TextField {
    pub(super) name: String,
    /// The line of the name, from 1.
    pub(super) line: usize,
    pub(super) value: TextValue,
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TextValue {
    Message(Vec<TextField>),
    List(Vec<TextValue>),
    /// A text in quotation marks, without its escapes.
    Text(String),
    /// A number, a boolean or the name of an enum, with its sign.
    Word(String),
}

/// The reason that a text cannot be read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ReadError {
    pub(super) line: usize,
    pub(super) reason: String,
}

/// Reads the fields of a text.
pub(super) fn read(text: &str) -> Result<Vec<TextField>, ReadError> {
    let mut reader = Reader {
        rest: text.chars().peekable(),
        line: 1,
    };
    reader.fields(None, 0)
}

/// The rest of a text. Lifetime: one call.
struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
}

impl Reader<'_> {
    /// Reads the fields of a message up to and including its end; `None` for the end of the text.
    fn fields(&mut self, end: Option<char>, depth: usize) -> Result<Vec<TextField>, ReadError> {
        let mut fields = Vec::new();
        loop {
            match self.peek() {
                None if end.is_none() => return Ok(fields),
                next if next.is_some() && next == end => {
                    self.next();
                    return Ok(fields);
                }
                Some(start) if start.is_ascii_alphabetic() || start == '_' => {
                    fields.push(self.field(depth)?);
                }
                _ => return Err(self.unexpected("the name of a field")),
            }
        }
    }

    fn field(&mut self, depth: usize) -> Result<TextField, ReadError> {
        let line = self.line;
        let name = self.word();
        let has_colon = self.skip(':');
        let value = match self.peek() {
            Some('{' | '<' | '[') => self.value(depth)?,
            _ if has_colon => self.value(depth)?,
            _ => return Err(self.unexpected(&format!("`:` or `{{` after `{name}`"))),
        };
        if !self.skip(',') {
            self.skip(';');
        }
        Ok(TextField { name, line, value })
    }

    fn value(&mut self, depth: usize) -> Result<TextValue, ReadError> {
        if depth >= MAX_DEPTH {
            return Err(self.error(format!("it is more than {MAX_DEPTH} levels deep")));
        }
        let inner = depth.saturating_add(1);
        match self.peek() {
            Some('{') => {
                self.next();
                Ok(TextValue::Message(self.fields(Some('}'), inner)?))
            }
            Some('<') => {
                self.next();
                Ok(TextValue::Message(self.fields(Some('>'), inner)?))
            }
            Some('[') => {
                self.next();
                Ok(TextValue::List(self.list(inner)?))
            }
            Some('"' | '\'') => {
                let mut text = Vec::new();
                // Texts that follow each other are one.
                while let Some(mark @ ('"' | '\'')) = self.peek() {
                    self.next();
                    self.text(mark, &mut text)?;
                }
                let text = String::from_utf8(text);
                let text = text.map_err(|_| self.error("a text is not in UTF-8".to_owned()))?;
                Ok(TextValue::Text(text))
            }
            Some('-' | '+') => {
                let sign = self.next().filter(|sign| *sign == '-');
                self.peek();
                let word = self.word();
                match word.is_empty() {
                    true => Err(self.unexpected("a number")),
                    false => Ok(TextValue::Word(
                        sign.into_iter().chain(word.chars()).collect(),
                    )),
                }
            }
            _ => {
                let word = self.word();
                match word.is_empty() {
                    true => Err(self.unexpected("a value")),
                    false => Ok(TextValue::Word(word)),
                }
            }
        }
    }

    /// Reads the rest of a list.
    fn list(&mut self, depth: usize) -> Result<Vec<TextValue>, ReadError> {
        let mut values = Vec::new();
        if self.skip(']') {
            return Ok(values);
        }
        loop {
            if self.peek() == Some('[') {
                return Err(self.unexpected("a value that is not a list"));
            }
            values.push(self.value(depth)?);
            if self.skip(']') {
                return Ok(values);
            }
            if !self.skip(',') {
                return Err(self.unexpected("`,` or `]`"));
            }
        }
    }

    /// Reads the rest of a text up to and including its mark.
    fn text(&mut self, mark: char, text: &mut Vec<u8>) -> Result<(), ReadError> {
        loop {
            match self.next() {
                None | Some('\n') => {
                    return Err(self.error("a text has no end on its line".to_owned()));
                }
                Some(end) if end == mark => return Ok(()),
                Some('\\') => self.escape(text)?,
                Some(other) => push(text, other),
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), ReadError> {
        let invalid = |reader: &Self| reader.error("a text has an unknown escape".to_owned());
        let Some(kind) = self.next() else {
            return Err(invalid(self));
        };
        match kind {
            'a' => text.push(0x07),
            'b' => text.push(0x08),
            'f' => text.push(0x0c),
            'n' => text.push(b'\n'),
            'r' => text.push(b'\r'),
            't' => text.push(b'\t'),
            'v' => text.push(0x0b),
            '\\' | '\'' | '"' | '?' => push(text, kind),
            '0'..='7' => {
                let first = kind.to_digit(8).unwrap_or(0);
                let byte = self.digits((8, 2), first);
                text.push(u8::try_from(byte).map_err(|_| invalid(self))?);
            }
            'x' | 'X' => {
                if !self.rest.peek().is_some_and(char::is_ascii_hexdigit) {
                    return Err(invalid(self));
                }
                let byte = self.digits((16, 2), 0);
                text.push(u8::try_from(byte).map_err(|_| invalid(self))?);
            }
            'u' => {
                let code = self.digits((16, 4), 0);
                push(text, char::from_u32(code).ok_or_else(|| invalid(self))?);
            }
            'U' => {
                let code = self.digits((16, 8), 0);
                push(text, char::from_u32(code).ok_or_else(|| invalid(self))?);
            }
            _ => return Err(invalid(self)),
        }
        Ok(())
    }

    /// Appends up to `most` digits in this base to a number.
    fn digits(&mut self, (base, most): (u32, usize), first: u32) -> u32 {
        let mut number = first;
        for _ in 0..most {
            let Some(digit) = self.rest.peek().and_then(|next| next.to_digit(base)) else {
                break;
            };
            self.rest.next();
            number = number.saturating_mul(base).saturating_add(digit);
        }
        number
    }

    /// Reads a name, a number or the like, which may be empty.
    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(&next) = self.rest.peek() {
            // The sign of an exponent belongs to the number.
            let is_sign = matches!(next, '-' | '+')
                && word.ends_with(['e', 'E'])
                && word.starts_with(|start: char| start.is_ascii_digit() || start == '.')
                && !word.starts_with("0x");
            if !(next.is_ascii_alphanumeric() || matches!(next, '_' | '.') || is_sign) {
                break;
            }
            word.push(next);
            self.rest.next();
        }
        word
    }

    /// Skips spaces and comments, and returns the next character.
    fn peek(&mut self) -> Option<char> {
        loop {
            match self.rest.peek().copied() {
                Some('#') => {
                    while self.rest.peek().is_some_and(|next| *next != '\n') {
                        self.rest.next();
                    }
                }
                Some(space)
                    if space.is_ascii_whitespace() || matches!(space, '\x0b' | '\u{feff}') =>
                {
                    self.next();
                }
                other => return other,
            }
        }
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.next();
        if next == Some('\n') {
            self.line = self.line.saturating_add(1);
        }
        next
    }

    /// Skips the next character if it is this one.
    fn skip(&mut self, character: char) -> bool {
        let is_next = self.peek() == Some(character);
        if is_next {
            self.next();
        }
        is_next
    }

    fn unexpected(&mut self, expected: &str) -> ReadError {
        let reason = match self.peek() {
            Some(found) if found.is_control() => {
                format!("`{}` is not {expected}", found.escape_default())
            }
            Some(found) => format!("`{found}` is not {expected}"),
            None => format!("the text ends, expected {expected}"),
        };
        self.error(reason)
    }

    fn error(&self, reason: String) -> ReadError {
        ReadError {
            line: self.line,
            reason,
        }
    }
}

fn push(text: &mut Vec<u8>, character: char) {
    let mut bytes = [0; 4];
    text.extend_from_slice(character.encode_utf8(&mut bytes).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(word: &str) -> TextValue {
        TextValue::Word(word.to_owned())
    }

    fn field(name: &str, line: usize, value: TextValue) -> TextField {
        TextField {
            name: name.to_owned(),
            line,
            value,
        }
    }

    #[test]
    fn messages_lists_and_values_have_the_forms_of_the_format() {
        let text = "# a comment\nmax_batch_size : 8; input [\n { name: 'x' dims: [ -1, 0x10 ] },\n < name: \"y\" >\n]\n\
            version_policy: { all {} } scale: 1.5e-3, empty: [] deep <>";
        let text_value = |text: &str| TextValue::Text(text.to_owned());
        let x = TextValue::Message(vec![
            field("name", 3, text_value("x")),
            field("dims", 3, TextValue::List(vec![word("-1"), word("0x10")])),
        ]);
        let y = TextValue::Message(vec![field("name", 4, text_value("y"))]);
        let all = field("all", 6, TextValue::Message(Vec::new()));
        let expected = vec![
            field("max_batch_size", 2, word("8")),
            field("input", 2, TextValue::List(vec![x, y])),
            field("version_policy", 6, TextValue::Message(vec![all])),
            field("scale", 6, word("1.5e-3")),
            field("empty", 6, TextValue::List(Vec::new())),
            field("deep", 6, TextValue::Message(Vec::new())),
        ];
        assert_eq!(read(text), Ok(expected));
        assert_eq!(read(" # nothing"), Ok(Vec::new()));
    }

    #[test]
    fn texts_are_joined_and_their_escapes_are_replaced() {
        for (text, expected) in [
            (r#"n: "a" 'b' # c"#, "ab"),
            ("n: \"a\"\n  \"b\"", "ab"),
            (r#"n: "{\"k\": 'v'}\n\t\\""#, "{\"k\": 'v'}\n\t\\"),
            (r#"n: "\303\244\xe4x""#, ""),
            (r#"n: "\303\244 \xc3\xa4 \u00e4 \U0001F600""#, "ä ä ä 😀"),
            (r#"n: "Käse # {""#, "Käse # {"),
        ] {
            let read = read(text).map(|fields| fields[0].value.clone());
            match expected {
                "" => assert!(read.is_err(), "{text}"),
                _ => assert_eq!(read, Ok(TextValue::Text(expected.to_owned())), "{text}"),
            }
        }
    }

    #[test]
    fn mistakes_are_errors_with_their_lines() {
        for (text, line, reason) in [
            ("name: \"m\"\n}", 2, "`}` is not the name of a field"),
            ("name \"m\"", 1, "`\"` is not `:` or `{` after `name`"),
            ("input [\n{ }\n", 3, "the text ends, expected `,` or `]`"),
            ("input {\n dims: [1 2]\n}", 2, "`2` is not `,` or `]`"),
            ("a: [[1]]", 1, "`[` is not a value that is not a list"),
            ("\nname: \"m\n", 3, "a text has no end on its line"),
            ("name: 'a\\q'", 1, "a text has an unknown escape"),
            ("name: '\\777'", 1, "a text has an unknown escape"),
            ("a:", 1, "the text ends, expected a value"),
            ("a: -", 1, "the text ends, expected a number"),
            ("a { b: 1 >", 1, "`>` is not the name of a field"),
            ("[ext.name]: 1", 1, "`[` is not the name of a field"),
            ("a: 1 \u{0}", 1, "`\\u{0}` is not the name of a field"),
        ] {
            let expected = ReadError {
                line,
                reason: reason.to_owned(),
            };
            assert_eq!(read(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn deep_messages_are_refused_before_the_stack_ends() {
        for open in ["a{", "a<", "a:{", "a:[{"] {
            let refused = read(&open.repeat(100_000));
            let refused = refused.map_err(|error| error.reason);
            assert_eq!(refused, Err("it is more than 32 levels deep".to_owned()));
        }
        let nested = format!("{}{}", "a{".repeat(31), "}".repeat(31));
        assert!(read(&nested).is_ok());
    }

    /// Reads every prefix of a text, and the text with each character replaced or left out.
    #[test]
    fn no_damaged_text_is_more_than_an_error() {
        let text =
            "a: 1, b { c: [ 'x\\n', \"\\u00e4\" ] } # d\ne < f: -1.5e+3; > g: [ { h: TRUE } ]";
        let characters: Vec<char> = text.chars().collect();
        for position in 0..characters.len() {
            let _ = read(&characters[..position].iter().collect::<String>());
            for other in "{}<>[]'\"\\:;,#-+0ax_\n\u{0}ä".chars() {
                let mut damaged = characters.clone();
                damaged[position] = other;
                let _ = read(&damaged.iter().collect::<String>());
            }
            let mut shorter = characters.clone();
            shorter.remove(position);
            let _ = read(&shorter.iter().collect::<String>());
        }
    }
}
