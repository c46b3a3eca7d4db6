//! A position in text that is known to be one valid JSON value.
//!
//! Because serde_json has settled the grammar, commas and colons carry no further meaning, and the
//! end of a scalar is where the next separator or bracket stands. On other text the tokens make no
//! sense, but nothing panics.

/// The unread rest of a valid JSON value.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    rest: &'a str,
}

/// What a cursor stands before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Open,
    Close,
    /// A number, a literal or a string; also the beginning of an object, which no datatype reads.
    Scalar,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Cursor<'a> {
        Cursor { rest: text }
    }

    /// The next token. Brackets are stepped over; a scalar waits to be read.
    pub(super) fn next_token(&mut self) -> Option<Token> {
        let mut skipped = 0;
        let bytes = self.rest.as_bytes();
        let token = loop {
            match *bytes.get(skipped)? {
                byte if is_separator(byte) => skipped += 1,
                b'[' => break Token::Open,
                b']' => break Token::Close,
                _ => break Token::Scalar,
            }
        };
        self.skip(match token {
            Token::Scalar => skipped,
            Token::Open | Token::Close => skipped + 1,
        });
        Some(token)
    }

    /// The unread text.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest.as_bytes()
    }

    /// Step over `length` bytes of a scalar.
    pub(super) fn skip(&mut self, length: usize) {
        self.rest = self.rest.get(length..).unwrap_or("");
    }

    /// The text of the scalar that the cursor stands before; strings come with their quotes.
    pub(super) fn scalar(&mut self) -> &'a str {
        let bytes = self.rest.as_bytes();
        let length = match bytes.first() {
            Some(b'"') => string_length(bytes),
            _ => {
                let ends = |&byte: &u8| is_separator(byte) || byte == b']';
                bytes.iter().position(ends).unwrap_or(bytes.len())
            }
        };
        let scalar = self.rest.get(..length).unwrap_or("");
        self.skip(length);
        scalar
    }
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',')
}

/// The length, both quotes included, of the string that `text` begins with.
fn string_length(text: &[u8]) -> usize {
    let mut position = 1;
    while let Some(&byte) = text.get(position) {
        match byte {
            b'"' => return position + 1,
            b'\\' => position += 2,
            _ => position += 1,
        }
    }
    text.len()
}
