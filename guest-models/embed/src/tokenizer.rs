//! The tokenizer of uncased BERT, which converts a text to the ids of its word pieces.
//!
//! The ids are identical to those of HuggingFace `tokenizers` with the model's `tokenizer.json`,
//! including special tokens that are spelled out in the text. The vocabulary's table is built when a
//! version is loaded, and those of characters by the build script. Reading stops at the maximum number of
//! tokens of the model.

mod characters;
mod hash;
mod vocabulary;

pub(crate) use self::vocabulary::{VOCABULARY, Vocabulary};

/// The maximum number of tokens per text, including [CLS] and [SEP].
pub(crate) const MAX_TOKENS: usize = 256;

/// The id of the padding.
pub(crate) const PAD: i64 = 0;

const UNKNOWN: i64 = 100;
const CLASSIFY: i64 = 101;
const SEPARATE: i64 = 102;

/// Tokens that keep their meaning if they are spelled out in a text.
const SPECIAL: [(&str, i64); 5] = [
    ("[PAD]", PAD),
    ("[UNK]", UNKNOWN),
    ("[CLS]", CLASSIFY),
    ("[SEP]", SEPARATE),
    ("[MASK]", 103),
];

/// The maximum length of a word in characters. Longer words are unknown.
const MAX_WORD: usize = 100;

/// Returns the ids of a text between [CLS] and [SEP], at most [`MAX_TOKENS`] in total.
pub(crate) fn tokenize(vocabulary: &Vocabulary, text: &str) -> Vec<i64> {
    let mut tokens = Tokens {
        vocabulary,
        ids: vec![CLASSIFY],
        word: String::new(),
        length: 0,
        prefixes: Vec::new(),
    };
    let mut rest = text;
    while !tokens.is_full()
        && let Some(character) = rest.chars().next()
    {
        let special = SPECIAL
            .iter()
            .find(|(token, _)| character == '[' && rest.starts_with(token));
        match special {
            Some((token, id)) => {
                tokens.end_word();
                tokens.ids.push(*id);
                rest = &rest[token.len()..];
            }
            None => {
                characters::normalise(character, |part| tokens.push(part));
                rest = &rest[character.len_utf8()..];
            }
        }
    }
    tokens.end_word();
    tokens.ids.truncate(MAX_TOKENS - 1);
    tokens.ids.push(SEPARATE);
    tokens.ids
}

/// The ids so far, and the word that is being read.
struct Tokens<'a> {
    vocabulary: &'a Vocabulary,
    ids: Vec<i64>,
    word: String,
    /// The number of characters of the word, including those beyond [`MAX_WORD`] that were not kept.
    length: usize,
    /// The end and the hash of each candidate for the next piece. Kept to reuse the allocation.
    prefixes: Vec<(usize, u32)>,
}

impl Tokens<'_> {
    fn is_full(&self) -> bool {
        self.ids.len() >= MAX_TOKENS - 1
    }

    fn push(&mut self, character: char) {
        if character == ' ' {
            return self.end_word();
        }
        self.length += 1;
        if self.length <= MAX_WORD {
            self.word.push(character);
        }
    }

    /// Splits the word into the longest known pieces, from its start on.
    fn end_word(&mut self) {
        let before = self.ids.len();
        if self.length > MAX_WORD {
            self.ids.push(UNKNOWN);
        } else {
            let mut start = 0;
            while start < self.word.len() {
                let Some((id, end)) = self.longest_piece(start) else {
                    self.ids.truncate(before);
                    self.ids.push(UNKNOWN);
                    break;
                };
                self.ids.push(id);
                start = end;
            }
        }
        self.word.clear();
        self.length = 0;
    }

    fn longest_piece(&mut self, start: usize) -> Option<(i64, usize)> {
        let rest = &self.word[start..];
        let (prefix, mut hash) = if start == 0 {
            ("", hash::SEED)
        } else {
            (vocabulary::PREFIX, vocabulary::CONTINUED)
        };
        self.prefixes.clear();
        for (position, character) in rest.char_indices().take(self.vocabulary.longest) {
            let end = position + character.len_utf8();
            hash = hash::extend(hash, &rest.as_bytes()[position..end]);
            self.prefixes.push((end, hash));
        }
        let known = |(end, hash): &(usize, u32)| {
            let id = self.vocabulary.find(prefix, &rest[..*end], *hash)?;
            Some((id, start + end))
        };
        self.prefixes.iter().rev().find_map(known)
    }
}

#[cfg(test)]
mod tests;
