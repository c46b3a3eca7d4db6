//! The memory that rten allocates during one computation.
//!
//! rten keeps released buffers until the computation ends. A later tensor takes the smallest one that is
//! large enough; others remain allocated. The peak is therefore more than the tensors in use at one time,
//! in particular if tensors grow. Buffers below a limit are freed at once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// The size below which rten keeps no buffers, in bytes.
const MIN_KEPT_BYTES: u64 = 128;

/// The buffers of a computation.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// The number of released buffers by size.
    released: BTreeMap<u64, u32>,
    kept_bytes: u64,
    small_bytes: u64,
    most_small_bytes: u64,
}

impl Buffers {
    /// Takes a buffer for `bytes` and returns its size, which may be more.
    pub(super) fn take(&mut self, bytes: u64) -> u64 {
        if bytes < MIN_KEPT_BYTES {
            self.small_bytes = self.small_bytes.saturating_add(bytes);
            self.most_small_bytes = self.most_small_bytes.max(self.small_bytes);
            return bytes;
        }
        let fitting = self.released.range(bytes..).next();
        let Some(size) = fitting.map(|(size, _)| *size) else {
            self.kept_bytes = self.kept_bytes.saturating_add(bytes);
            return bytes;
        };
        if let Entry::Occupied(mut number) = self.released.entry(size) {
            *number.get_mut() -= 1;
            if *number.get() == 0 {
                number.remove();
            }
        }
        size
    }

    /// Releases a buffer of this size, as returned by [`Buffers::take`].
    pub(super) fn release(&mut self, size: u64) {
        if size < MIN_KEPT_BYTES {
            self.small_bytes = self.small_bytes.saturating_sub(size);
        } else {
            *self.released.entry(size).or_default() += 1;
        }
    }

    /// Returns the number of bytes at the peak until now.
    pub(super) fn peak_bytes(&self) -> u64 {
        self.kept_bytes.saturating_add(self.most_small_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_buffers_serve_smaller_tensors_only() {
        let mut buffers = Buffers::default();
        let first = buffers.take(1000);
        buffers.release(first);
        assert_eq!(buffers.take(400), 1000);
        assert_eq!(buffers.peak_bytes(), 1000);
        assert_eq!(buffers.take(400), 400);
        assert_eq!(buffers.peak_bytes(), 1400);
    }

    #[test]
    fn growing_tensors_leave_their_buffers_behind() {
        let mut buffers = Buffers::default();
        for bytes in [1000, 2000, 3000] {
            let size = buffers.take(bytes);
            buffers.release(size);
        }
        assert_eq!(buffers.peak_bytes(), 6000);
    }

    #[test]
    fn small_buffers_count_while_they_are_in_use() {
        let mut buffers = Buffers::default();
        for _ in 0..10 {
            let size = buffers.take(100);
            buffers.release(size);
        }
        assert_eq!(buffers.peak_bytes(), 100);
    }
}
