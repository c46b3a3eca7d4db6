//! Tests of the tokenizer against the ids of HuggingFace `tokenizers` for the same texts.

use super::*;

/// Texts and their ids from HuggingFace `tokenizers` 0.23 with the model's tokenizer.json, truncated
/// to 256 tokens. Each line has the ids, a tab, and the text, in which characters beyond printable
/// ASCII are escaped as by `char::escape_unicode`.
const EXPECTED: &str = include_str!("../../tests/tokenizer.tsv");

fn ids(text: &str) -> Vec<i64> {
    tokenize(VOCABULARY.get().unwrap(), text)
}

#[test]
fn special_tokens_have_the_ids_of_the_vocabulary() {
    let vocabulary = VOCABULARY.get().unwrap();
    for (token, id) in SPECIAL {
        let hash = hash::extend(hash::SEED, token.as_bytes());
        assert_eq!(vocabulary.find("", token, hash), Some(id), "{token}");
    }
    let ids = [UNKNOWN, CLASSIFY, SEPARATE];
    assert_eq!(SPECIAL.map(|(_, id)| id)[1..4], ids);
}

#[test]
fn token_ids_equal_those_of_hugging_face() {
    let mut count = 0;
    for line in EXPECTED.lines() {
        let (ids, text) = line.split_once('\t').unwrap();
        let expected: Vec<i64> = ids.split(' ').map(|id| id.parse().unwrap()).collect();
        let text = unescape(text);
        assert_eq!(
            tokenize(VOCABULARY.get().unwrap(), &text),
            expected,
            "{text:?}"
        );
        count += 1;
    }
    assert!(count > 300, "{count} texts");
}

/// Decodes `\u{..}` escapes; printable ASCII is unchanged.
fn unescape(escaped: &str) -> String {
    let mut parts = escaped.split("\\u{");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let (code, rest) = part.split_once('}').unwrap();
        text.push(char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap());
        text.push_str(rest);
    }
    text
}

#[test]
fn a_very_long_word_allocates_no_memory() {
    let word = "x".repeat(1 << 20);
    assert_eq!(ids(&word), [101, 100, 102]);
}
