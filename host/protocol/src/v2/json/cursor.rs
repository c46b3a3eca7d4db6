//! A cursor over text that is one valid JSON value, with bare words among its elements.
//!
//! serde_json has already validated the text apart from such words, so commas count as white space and a scalar ends at the
//! next separator or closing bracket. On invalid text the tokens are meaningless, but nothing panics.

/// The unread rest of a valid JSON value.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    rest: &'a str,
}

/// The kind of the next token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Open,
    Close,
    /// A number, a literal or a string; also the start of an object, which no datatype accepts.
    Scalar,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Cursor<'a> {
        Cursor { rest: text }
    }

    /// Returns the next token. Moves past a bracket, and to the start of a scalar.
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

    /// Returns the unread text.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest.as_bytes()
    }

    /// Skips `length` bytes of a scalar.
    pub(super) fn skip(&mut self, length: usize) {
        self.rest = self.rest.get(length..).unwrap_or("");
    }

    /// Reads the next scalar and returns its text, including the quotes of a string.
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

/// Returns the length, including both quotes, of the string at the start of `text`.
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
