//! The JSON of a request, with its long arrays of numbers extracted.
//!
//! A JSON parser would read each array once before its elements are decoded into a tensor, which would
//! take half of the time of a large request. Long arrays are therefore cut out of the text first, by
//! their brackets only, and each is then read once, by a decoder that validates it.
//!
//! Invariant: an outline is only a hint. The caller must decode every one of its arrays as numbers, or
//! else decode the whole text again, which then gives the error for the client.

/// The minimum length of an array to extract, in bytes.
const MIN_LIST_BYTES: usize = 1024;

/// The maximum length of the text outside the arrays, in bytes. With more, finding the arrays would cost
/// as much as it saves.
const MAX_OUTLINE_BYTES: usize = 64 << 10;

/// The replacement for an extracted array.
const PLACEHOLDER: &str = "[]";

/// A request with its long arrays of numbers extracted. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct Outline<'a> {
    pub(crate) text: String,
    /// The offset of each placeholder in the text, and the array that it replaces, in order.
    lists: Vec<(usize, &'a str)>,
}

impl<'a> Outline<'a> {
    /// Returns the outline of `text`; `None` if it has no such array, or too much other text.
    pub(crate) fn new(text: &'a str) -> Option<Outline<'a>> {
        if text.len() < MIN_LIST_BYTES {
            return None;
        }
        let mut outline = Outline {
            text: String::new(),
            lists: Vec::new(),
        };
        let (mut kept, mut position) = (0, 0);
        // The start of the current run of opening brackets, with only white space between them.
        let mut brackets = None;
        while let Some(&byte) = text.as_bytes().get(position) {
            let opened = brackets.take();
            match (byte, opened) {
                (b'[', _) => brackets = opened.or(Some(position)),
                (b' ' | b'\n' | b'\t' | b'\r', _) => brackets = opened,
                (b'0'..=b'9' | b'-', Some(start)) => {
                    // An array that is never closed is scanned once, and there is no outline.
                    let list = numbers(&text[start..])?;
                    if list.len() >= MIN_LIST_BYTES {
                        outline.text.push_str(&text[kept..start]);
                        outline.lists.push((outline.text.len(), list));
                        outline.text.push_str(PLACEHOLDER);
                        kept = start + list.len();
                    }
                    position = start + list.len() - 1;
                }
                (b'"', _) => position = string_end(text, position) - 1,
                _ => {}
            }
            position += 1;
            if outline.text.len() + (position - kept) > MAX_OUTLINE_BYTES {
                return None;
            }
        }
        outline.text.push_str(&text[kept..]);
        (!outline.lists.is_empty()).then_some(outline)
    }

    /// Returns the number of extracted arrays.
    pub(crate) fn count(&self) -> usize {
        self.lists.len()
    }

    /// Returns the array that this slice of the text replaces, if it is a placeholder.
    pub(crate) fn list(&self, value: &str) -> Option<&'a str> {
        let start = value
            .as_ptr()
            .addr()
            .wrapping_sub(self.text.as_ptr().addr());
        let found = self.lists.binary_search_by_key(&start, |&(start, _)| start);
        found.ok().map(|index| self.lists[index].1)
    }
}

/// Returns the position after the string that begins at `start`.
fn string_end(text: &str, start: usize) -> usize {
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
    let list = &text[..stop(text.as_bytes())];
    Some(&list[..list.rfind(']')? + 1])
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
    fn long_lists_of_numbers_are_taken_out_wherever_they_stand() {
        let long = format!("[{}1]", "1.5, ".repeat(400));
        let nested = format!("[ {long} , {long}]");
        let text =
            format!(r#"{{"a[":"]\"","s":[1,2],"x":{long},"y" :{nested} ,"z":[{{"x":{long}}}]}}"#);
        let outline = Outline::new(&text).unwrap();
        assert_eq!(
            outline.text,
            r#"{"a[":"]\"","s":[1,2],"x":[],"y" :[] ,"z":[{"x":[]}]}"#
        );
        assert_eq!(outline.count(), 3);
        let at = |position| outline.list(&outline.text[position..position + 2]);
        assert_eq!(at(outline.text.find("[]").unwrap()), Some(long.as_str()));
        assert_eq!(at(outline.text.find("[] ").unwrap()), Some(nested.as_str()));
        assert_eq!(at(0), None);
        assert_eq!(outline.list("[]"), None);
    }

    #[test]
    fn a_list_ends_before_the_first_quote_or_brace_wherever_it_stands() {
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
    fn there_is_no_outline_of_what_has_no_long_list_or_much_else() {
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
            assert!(Outline::new(&text).is_none(), "{text:.40}");
        }
    }
}
