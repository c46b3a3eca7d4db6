//! The hash of vocabulary words: FNV-1a, since one step extends it by a byte, and so the hashes of
//! all prefixes of a word cost as much as that of the whole. Also compiled into the build script.

/// The hash of nothing.
pub(super) const SEED: u32 = 0x811c_9dc5;

/// Slots in the table: a power of two, twice what the vocabulary needs.
pub(super) const SLOTS: usize = 1 << 16;

/// The hash of what was hashed before, followed by `bytes`.
pub(super) const fn extend(mut hash: u32, bytes: &[u8]) -> u32 {
    let mut index = 0;
    while index < bytes.len() {
        hash = (hash ^ bytes[index] as u32).wrapping_mul(0x0100_0193);
        index += 1;
    }
    hash
}

/// Where a search begins.
pub(super) const fn slot(hash: u32) -> usize {
    (hash ^ (hash >> 16)) as usize % SLOTS
}

/// Where it goes on when the slot is taken.
pub(super) const fn next(slot: usize) -> usize {
    (slot + 1) % SLOTS
}
