//! The JSON of a request, with the bare words `NaN`, `Infinity` and `-Infinity` in its arrays replaced by
//! numbers.
//!
//! Python and Triton write these words, and serde_json rejects them. A text that it has rejected is parsed
//! again with a number of the same length in place of each word. Every position stays the same, in errors
//! too, so the words are found again when the elements of an input are decoded.
//!
//! Invariant: a text is accepted only if all of its words are among the elements of an input
//! ([`MaskedText::has_words_only_in`]).

use crate::array_extraction::string_end;

/// The words, each with a number of the same length.
const WORDS: [(&str, &str); 3] = [
    ("NaN", "0.0"),
    ("Infinity", "0.000000"),
    ("-Infinity", "-0.000000"),
];

/// The text of a request, without its words. Lifetime: one request.
#[derive(Debug)]
pub(super) struct MaskedText<'a> {
    pub(super) text: String,
    original: &'a str,
}

impl<'a> MaskedText<'a> {
    /// Returns `original` without its words; `None` if it has none in an array.
    pub(super) fn new(original: &'a str) -> Option<MaskedText<'a>> {
        let bytes = original.as_bytes();
        let mut text = String::new();
        let (mut kept, mut position) = (0, 0);
        // The last byte that is not white space.
        let mut previous = 0;
        while let Some(&byte) = bytes.get(position) {
            let is_element = matches!(byte, b'N' | b'I' | b'-') && matches!(previous, b'[' | b',');
            if let Some((word, number)) = is_element.then(|| word(&original[position..])).flatten()
            {
                // The text grows once, to its final size.
                text.reserve(original.len() - text.len());
                text.push_str(&original[kept..position]);
                text.push_str(number);
                position += word.len();
                kept = position;
                previous = b'0';
                continue;
            }
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                previous = byte;
            }
            position = match byte {
                b'"' => string_end(original, position),
                _ => position + 1,
            };
        }
        text.push_str(&original[kept..]);
        (kept > 0).then_some(MaskedText { text, original })
    }

    /// Returns whether a text can have words: whether it contains their first letters.
    pub(super) fn may_be_needed(text: &[u8]) -> bool {
        // Counting all of them is faster than stopping at the first one.
        let letters = text.iter().filter(|&&byte| byte == b'N' || byte == b'I');
        letters.count() > 0
    }

    /// Returns the original of a slice of the text.
    pub(super) fn original(&self, slice: &str) -> Option<&'a str> {
        let start = slice
            .as_ptr()
            .addr()
            .wrapping_sub(self.text.as_ptr().addr());
        self.original.get(start..start.checked_add(slice.len())?)
    }

    /// Returns whether every word is in one of these slices of the text, which do not overlap.
    pub(super) fn has_words_only_in<'s>(&self, slices: impl Iterator<Item = &'s str>) -> bool {
        let within = slices.filter_map(|slice| Some(differences(slice, self.original(slice)?)));
        within.sum::<usize>() == differences(&self.text, self.original)
    }
}

/// Returns the word at the start of `text` and its number, if it is a whole element of an array.
fn word(text: &str) -> Option<(&'static str, &'static str)> {
    let &(word, number) = WORDS.iter().find(|entry| text.starts_with(entry.0))?;
    let rest = text[word.len()..].trim_start_matches([' ', '\n', '\t', '\r']);
    rest.starts_with([',', ']']).then_some((word, number))
}

/// Returns the number of bytes in which two texts of equal length differ.
fn differences(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).filter(|(a, b)| a != b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_arrays_are_replaced_by_numbers_of_equal_length() {
        let original = "{\"a[,NaN\":[NaN,1, -Infinity ,[\tInfinity\n]],\"é\":[\"NaN\",NaN]}";
        let masked = MaskedText::new(original).unwrap();
        assert_eq!(
            masked.text,
            "{\"a[,NaN\":[0.0,1, -0.000000 ,[\t0.000000\n]],\"é\":[\"NaN\",0.0]}"
        );
        let at = |text: &str| &masked.text[masked.text.find(text).unwrap()..][..text.len()];
        let (first, second) = (
            at("[0.0,1, -0.000000 ,[\t0.000000\n]]"),
            at("[\"NaN\",0.0]"),
        );
        assert_eq!(
            masked.original(first),
            Some("[NaN,1, -Infinity ,[\tInfinity\n]]")
        );
        assert_eq!(masked.original(second), Some("[\"NaN\",NaN]"));
        assert_eq!(masked.original("elsewhere"), None);
        assert!(masked.has_words_only_in([first, second].into_iter()));
        assert!(!masked.has_words_only_in([first].into_iter()));
        assert!(MaskedText::may_be_needed(original.as_bytes()));
        assert!(!MaskedText::may_be_needed(b"{\"data\":[null]}"));
    }

    #[test]
    fn other_words_and_words_outside_of_arrays_stay() {
        for text in [
            "",
            "NaN",
            "{\"a\":NaN}",
            "[nan]",
            "[NaNs]",
            "[-NaN]",
            "[--Infinity]",
            "[1 NaN]",
            "[NaN",
            "[\"NaN\"]",
            "[\"NaN",
            "[\"\\",
            "[Infinit]",
        ] {
            assert!(MaskedText::new(text).is_none(), "{text}");
        }
    }
}
