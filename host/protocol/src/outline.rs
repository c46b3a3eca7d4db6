//! A request's JSON without its long lists of numbers, and those apart.
//!
//! A parser walks a list before its elements are read into a tensor, which would take half of the time
//! of a large request. So the long ones are taken out of the text first, by no more than their brackets,
//! and each is then walked once, by a reader that checks what it reads.
//!
//! Invariant: no more than a hint. Whoever reads an outline must read every list of it as numbers, or
//! else start again with the whole text, which is what errors are told from.

/// Lists shorter than this are left where they are.
const MIN_LIST_BYTES: usize = 1024;

/// The longest text outside of lists, beyond which finding them would cost what it saves.
const MAX_OUTLINE_BYTES: usize = 64 << 10;

/// What stands where a list was taken out.
const PLACEHOLDER: &str = "[]";

/// A request whose long lists of numbers are apart. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct Outline<'a> {
    pub(crate) text: String,
    /// Where in the text each placeholder begins, and the list that it stands for.
    lists: Vec<(usize, &'a str)>,
}

impl<'a> Outline<'a> {
    /// `None` if there is no such list, or too much of something else.
    pub(crate) fn new(text: &'a str) -> Option<Outline<'a>> {
        if text.len() < MIN_LIST_BYTES {
            return None;
        }
        let mut outline = Outline {
            text: String::new(),
            lists: Vec::new(),
        };
        let (mut kept, mut position) = (0, 0);
        // Where the brackets began that nothing but white space has followed yet.
        let mut brackets = None;
        while let Some(&byte) = text.as_bytes().get(position) {
            let opened = brackets.take();
            match (byte, opened) {
                (b'[', _) => brackets = opened.or(Some(position)),
                (b' ' | b'\n' | b'\t' | b'\r', _) => brackets = opened,
                (b'0'..=b'9' | b'-', Some(start)) => {
                    // One that nothing closes is walked once, as the last thing.
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

    /// How many lists there are.
    pub(crate) fn count(&self) -> usize {
        self.lists.len()
    }

    /// The list that this slice of the text stands for, if it is a placeholder.
    pub(crate) fn list(&self, value: &str) -> Option<&'a str> {
        let start = value
            .as_ptr()
            .addr()
            .wrapping_sub(self.text.as_ptr().addr());
        let found = self.lists.binary_search_by_key(&start, |&(start, _)| start);
        found.ok().map(|index| self.lists[index].1)
    }
}

/// The position behind the string that begins here.
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

/// What may be a list of numbers at the start of this text: all up to the last bracket that closes
/// before a string begins or an object ends.
fn numbers(text: &str) -> Option<&str> {
    let list = &text[..stop(text.as_bytes())];
    Some(&list[..list.rfind(']')? + 1])
}

/// The position of the first quote or closing brace, found eight bytes at a time.
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

/// One in each byte.
const REPEATED: u64 = 0x0101_0101_0101_0101;

/// Nothing, if no byte of the word is zero.
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
