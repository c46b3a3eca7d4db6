//! The vocabulary, with one word per line of `vocab.txt`. The id of a word is its line number, counted
//! from 0.
//!
//! Words are stored in the order of their ids, which is roughly that of their frequency, so that
//! typical texts touch few pages. An open-addressed hash table finds them.

use super::hash;
use wisp_handler::{Lazy, Result};

/// The vocabulary of the model, which the handler builds when a version is loaded.
pub(crate) static VOCABULARY: Lazy<Vocabulary> =
    Lazy::new(|| Vocabulary::new(include_str!("../../vocab.txt")));

/// The hash of the prefix of pieces within a word.
pub(super) const CONTINUED: u32 = hash::extend(hash::SEED, PREFIX.as_bytes());

/// The prefix of pieces within a word.
pub(super) const PREFIX: &str = "##";

/// The content of a slot without a word.
const EMPTY: u16 = u16::MAX;

/// The words with their ids.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    /// The words, each followed by a line feed.
    words: &'static [u8],
    /// The position at which each word begins, and the end of the last.
    starts: Vec<u32>,
    /// The ids by the hashes of their words.
    slots: Vec<u16>,
    /// The number of characters of the longest word, without the prefix.
    pub(super) longest: usize,
}

impl Vocabulary {
    fn new(text: &'static str) -> Result<Self> {
        let mut vocabulary = Self {
            words: text.as_bytes(),
            starts: vec![0],
            slots: vec![EMPTY; hash::SLOTS],
            longest: 0,
        };
        let mut end = 0;
        for (id, word) in text.split_terminator('\n').enumerate() {
            let mut slot = hash::slot(hash::extend(hash::SEED, word.as_bytes()));
            while vocabulary.slots[slot] != EMPTY {
                slot = hash::next(slot);
            }
            vocabulary.slots[slot] = u16::try_from(id)?;
            end += u32::try_from(word.len() + 1)?;
            vocabulary.starts.push(end);
            let length = word.trim_start_matches(PREFIX).chars().count();
            vocabulary.longest = vocabulary.longest.max(length);
        }
        Ok(vocabulary)
    }

    /// Returns the id of `prefix` followed by `piece`, whose concatenation has the hash `hash`.
    pub(super) fn find(&self, prefix: &str, piece: &str, hash: u32) -> Option<i64> {
        let mut slot = hash::slot(hash);
        while self.slots[slot] != EMPTY {
            let id = self.slots[slot];
            if self.word(id).strip_prefix(prefix.as_bytes()) == Some(piece.as_bytes()) {
                return Some(i64::from(id));
            }
            slot = hash::next(slot);
        }
        None
    }

    fn word(&self, id: u16) -> &'static [u8] {
        let id = usize::from(id);
        let (start, end) = (self.starts[id], self.starts[id + 1]);
        // Every word is followed by a line feed.
        &self.words[start as usize..end as usize - 1]
    }
}
