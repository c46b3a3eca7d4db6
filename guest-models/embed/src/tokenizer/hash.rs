//! The hash of vocabulary words: FNV-1a, which is extended byte by byte, so that the hashes of all
//! prefixes of a word cost as much as that of the whole word.

/// The hash of the empty string.
pub(super) const SEED: u32 = 0x811c_9dc5;

/// The number of slots in the table: a power of two, at least twice the number of words.
pub(super) const SLOTS: usize = 1 << 16;

/// Returns the hash of the previously hashed bytes followed by `bytes`.
pub(super) const fn extend(mut hash: u32, bytes: &[u8]) -> u32 {
    let mut index = 0;
    while index < bytes.len() {
        hash = (hash ^ bytes[index] as u32).wrapping_mul(0x0100_0193);
        index += 1;
    }
    hash
}

/// Returns the slot at which a search begins.
pub(super) const fn slot(hash: u32) -> usize {
    (hash ^ (hash >> 16)) as usize % SLOTS
}

/// Returns the slot to try after `slot`.
pub(super) const fn next(slot: usize) -> usize {
    (slot + 1) % SLOTS
}
