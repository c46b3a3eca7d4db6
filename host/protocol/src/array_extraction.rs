//! The JSON of a request, with its long arrays of numbers extracted.
//!
//! A JSON parser would read each array once before its elements are decoded into a tensor, which would
//! take half of the time of a large request. Long arrays are therefore cut out of the text first, by
//! their brackets only, and each is then read once, by a decoder that validates it.
//!
//! Invariant: an extraction is only a hint. The caller must decode every one of its arrays as numbers, or
//! else decode the whole text again, which then gives the error for the client.

/// The minimum length of an array to extract, in bytes.
const MIN_ARRAY_BYTES: usize = 1024;

/// The maximum length of the text outside the arrays, in bytes. With more, finding the arrays would cost
/// as much as it saves.
const MAX_REMAINING_BYTES: usize = 64 << 10;

/// The replacement for an extracted array.
const PLACEHOLDER: &str = "[]";

/// A request with its long arrays of numbers extracted. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct ArrayExtraction<'a> {
    pub(crate) text: String,
    /// The offset of each placeholder in the text, and the array that it replaces, in order.
    arrays: Vec<(usize, &'a str)>,
}

impl<'a> ArrayExtraction<'a> {
    /// Returns the extraction of `text`; `None` if it has no such array, or too much other text.
    pub(crate) fn new(text: &'a str) -> Option<ArrayExtraction<'a>> {
        if text.len() < MIN_ARRAY_BYTES {
            return None;
        }
        let mut extraction = ArrayExtraction {
            text: String::new(),
            arrays: Vec::new(),
        };
        let (mut kept, mut position) = (0, 0);
        // The start of the current run of opening brackets, with only white space between them.
        let mut brackets = None;
        while let Some(&byte) = text.as_bytes().get(position) {
            let opened = brackets.take();
            match (byte, opened) {
                (b'[', _) => brackets = opened.or(Some(position)),
                (b' ' | b'\n' | b'\t' | b'\r', _) => brackets = opened,
                // A digit or sign, or the first letter of `NaN`, `Infinity` or `null`.
                (b'0'..=b'9' | b'-' | b'N' | b'I' | b'n', Some(start)) => {
                    // An array that is never closed is scanned once, and there is no extraction.
                    let array = numbers(&text[start..])?;
                    if array.len() >= MIN_ARRAY_BYTES {
                        extraction.text.push_str(&text[kept..start]);
                        extraction.arrays.push((extraction.text.len(), array));
                        extraction.text.push_str(PLACEHOLDER);
                        kept = start + array.len();
                    }
                    position = start + array.len() - 1;
                }
                (b'"', _) => position = string_end(text, position) - 1,
                _ => {}
            }
            position += 1;
            if extraction.text.len() + (position - kept) > MAX_REMAINING_BYTES {
                return None;
            }
        }
        extraction.text.push_str(&text[kept..]);
        (!extraction.arrays.is_empty()).then_some(extraction)
    }

    /// Returns the number of extracted arrays.
    pub(crate) fn count(&self) -> usize {
        self.arrays.len()
    }

    /// Returns the array that this slice of the text replaces, if it is a placeholder.
    pub(crate) fn array(&self, value: &str) -> Option<&'a str> {
        let start = value
            .as_ptr()
            .addr()
            .wrapping_sub(self.text.as_ptr().addr());
        let found = self
            .arrays
            .binary_search_by_key(&start, |&(start, _)| start);
        found.ok().map(|index| self.arrays[index].1)
    }
}

/// Returns the position after the string that begins at `start`.
pub(crate) fn string_end(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let mut position = start + 1;
    while let Some(&byte) = bytes.get(position) {
        match byte {
            b'"' => return position + 1,
            b'\\' => position += 2,
            _ => position += 1,
        }
    }
    bytes.len()
}

/// Returns the possible array of numbers at the start of this text: everything up to the last closing
/// bracket before a string begins or an object ends.
fn numbers(text: &str) -> Option<&str> {
    let array = &text[..stop(text.as_bytes())];
    Some(&array[..array.rfind(']')? + 1])
}

/// Returns the position of the first quote or closing brace, searching eight bytes at a time.
fn stop(text: &[u8]) -> usize {
    let is_clear = |&&bytes: &&[u8; 8]| {
        let word = u64::from_le_bytes(bytes);
        let has = |byte: u8| zeros(word ^ (REPEATED * u64::from(byte)));
        has(b'"') | has(b'}') == 0
    };
    let clear = text.as_chunks().0.iter().take_while(is_clear).count() * 8;
    let rest = text[clear..]
        .iter()
        .position(|byte| matches!(byte, b'"' | b'}'));
    rest.map_or(text.len(), |position| clear + position)
}

/// A word with the value 1 in each byte.
const REPEATED: u64 = 0x0101_0101_0101_0101;

/// Returns 0 exactly if no byte of the word is zero.
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(REPEATED) & !word & (REPEATED << 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_arrays_of_numbers_are_extracted_at_any_position() {
        let long = format!("[{}1]", "1.5, ".repeat(400));
        let nested = format!("[ {long} , {long}]");
        let text =
            format!(r#"{{"a[":"]\"","s":[1,2],"x":{long},"y" :{nested} ,"z":[{{"x":{long}}}]}}"#);
        let extraction = ArrayExtraction::new(&text).unwrap();
        assert_eq!(
            extraction.text,
            r#"{"a[":"]\"","s":[1,2],"x":[],"y" :[] ,"z":[{"x":[]}]}"#
        );
        assert_eq!(extraction.count(), 3);
        let at = |position| extraction.array(&extraction.text[position..position + 2]);
        assert_eq!(at(extraction.text.find("[]").unwrap()), Some(long.as_str()));
        assert_eq!(
            at(extraction.text.find("[] ").unwrap()),
            Some(nested.as_str())
        );
        assert_eq!(at(0), None);
        assert_eq!(extraction.array("[]"), None);
    }

    #[test]
    fn arrays_may_begin_with_a_word_for_a_number() {
        for word in ["NaN", "Infinity", "-Infinity", "null"] {
            let long = format!("[[{word}, {}1]]", "1.5, ".repeat(400));
            let text = format!("{{\"x\":{long}}}");
            let extraction = ArrayExtraction::new(&text).unwrap();
            assert_eq!(extraction.text, "{\"x\":[]}", "{word}");
        }
    }

    #[test]
    fn an_array_ends_before_the_first_quote_or_brace() {
        for length in 0..40 {
            for byte in [b'"', b'}', b'!', b'#', b'|', b'~', 0xff] {
                let mut text = vec![b'1'; 40];
                text[length] = byte;
                let is_stop = matches!(byte, b'"' | b'}');
                assert_eq!(
                    stop(&text),
                    if is_stop { length } else { 40 },
                    "{byte} at {length}"
                );
            }
        }
    }

    #[test]
    fn text_without_long_arrays_or_with_much_other_text_is_not_extracted() {
        let long = format!("[{}1]", "1.5, ".repeat(400));
        let strings = format!(r#"["{}"]"#, "1,".repeat(40_000));
        for text in [
            "[1]".to_owned(),
            strings.clone(),
            format!("[{strings},{long}]"),
            long.replace("1.5", "\"a\""),
            "[".repeat(5000),
            "[[1,".repeat(5000),
            "\"".repeat(5001),
            format!("[{}", "1,".repeat(5000)),
        ] {
            assert!(ArrayExtraction::new(&text).is_none(), "{text:.40}");
        }
    }
}
