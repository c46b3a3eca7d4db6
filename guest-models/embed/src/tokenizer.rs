//! The tokenizer of uncased BERT: from a text to the ids of its pieces.
//!
//! It agrees to the id with HuggingFace `tokenizers` on the model's `tokenizer.json`, special tokens
//! written out in the text included. Everything it looks up was computed by the build script, and it
//! stops reading when it has as many tokens as the model takes.

mod characters;
mod hash;
mod vocabulary;

/// The most tokens that the model takes for a text, [CLS] and [SEP] included.
pub(crate) const MAX_TOKENS: usize = 256;

/// What rows are filled up with.
pub(crate) const PAD: i64 = 0;

const UNKNOWN: i64 = 100;
const CLASSIFY: i64 = 101;
const SEPARATE: i64 = 102;

/// Tokens that stand for themselves where a text spells them out.
const SPECIAL: [(&str, i64); 5] = [
    ("[PAD]", PAD),
    ("[UNK]", UNKNOWN),
    ("[CLS]", CLASSIFY),
    ("[SEP]", SEPARATE),
    ("[MASK]", 103),
];

/// Longer words are unknown, in characters.
const MAX_WORD: usize = 100;

/// The ids of a text between [CLS] and [SEP], [`MAX_TOKENS`] at most.
pub(crate) fn tokenize(text: &str) -> Vec<i64> {
    let mut tokens = Tokens {
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
struct Tokens {
    ids: Vec<i64>,
    word: String,
    /// The characters of the word, those included that were not kept because it is too long.
    length: usize,
    /// Where each piece that may come next ends, and its hash. Kept to reuse the allocation.
    prefixes: Vec<(usize, u32)>,
}

impl Tokens {
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

    /// Splits the word into the longest pieces there are, from its start on.
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
            ("##", vocabulary::CONTINUED)
        };
        self.prefixes.clear();
        for (position, character) in rest.char_indices().take(vocabulary::LONGEST) {
            let end = position + character.len_utf8();
            hash = hash::extend(hash, &rest.as_bytes()[position..end]);
            self.prefixes.push((end, hash));
        }
        let known = |(end, hash): &(usize, u32)| {
            let id = vocabulary::find(prefix, &rest[..*end], *hash)?;
            Some((id, start + end))
        };
        self.prefixes.iter().rev().find_map(known)
    }
}

#[cfg(test)]
mod tests;
