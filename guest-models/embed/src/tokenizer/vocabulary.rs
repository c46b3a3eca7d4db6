//! The vocabulary, with one word per line of `vocab.txt`. The id of a word is its line number, counted
//! from 0.
//!
//! Words are stored in the order of their ids, which is roughly that of their frequency, so that
//! typical texts touch few pages.

use super::hash;

include!(concat!(env!("OUT_DIR"), "/vocabulary.rs"));

static WORDS: &[u8] = include_bytes!("../../vocab.txt");

/// The hash of the prefix of pieces within a word.
pub(super) const CONTINUED: u32 = hash::extend(hash::SEED, b"##");

/// Returns the id of `prefix` followed by `piece`, whose concatenation has the hash `hash`.
pub(super) fn find(prefix: &str, piece: &str, hash: u32) -> Option<i64> {
    let mut slot = hash::slot(hash);
    while SLOTS[slot] != u16::MAX {
        let id = SLOTS[slot];
        if word(id).strip_prefix(prefix.as_bytes()) == Some(piece.as_bytes()) {
            return Some(i64::from(id));
        }
        slot = hash::next(slot);
    }
    None
}

fn word(id: u16) -> &'static [u8] {
    let (start, end) = (STARTS[usize::from(id)], STARTS[usize::from(id) + 1]);
    // Every word is followed by a line feed.
    &WORDS[start as usize..end as usize - 1]
}
