//! The words that stand for floating-point numbers without digits.
//!
//! `NaN`, `Infinity` and `-Infinity` are not valid JSON, but Python's `json` and Triton read and write them.
//! `null` is valid JSON and stands for a missing value.

/// Every word with its value, which is the same as an f32 and as an f64.
const WORDS: [(&str, f32); 4] = [
    ("NaN", f32::NAN),
    ("Infinity", f32::INFINITY),
    ("-Infinity", f32::NEG_INFINITY),
    ("null", f32::NAN),
];

/// Returns the value of the word at the start of `text`, and its length. The caller checks the text that follows.
#[cold]
pub(super) fn read_word(text: &[u8]) -> Option<(f32, usize)> {
    let found = WORDS
        .iter()
        .find(|(word, _)| text.starts_with(word.as_bytes()));
    found.map(|&(word, value)| (value, word.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_their_exact_spelling() {
        for (text, expected) in [
            ("NaN,", f32::NAN),
            ("null", f32::NAN),
            ("Infinity]", f32::INFINITY),
            ("-Infinity ", f32::NEG_INFINITY),
        ] {
            let (value, length) = read_word(text.as_bytes()).unwrap();
            assert_eq!(value.to_bits(), expected.to_bits(), "{text}");
            assert_eq!(&text[..length], text.trim_end_matches([',', ']', ' ']));
        }
        for text in ["nan", "-NaN", "+Infinity", "inf", "Inf", "Null", "none", ""] {
            assert_eq!(read_word(text.as_bytes()), None, "{text}");
        }
    }
}
