//! The cost of a computation.

/// The cost of a computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cost {
    /// The maximum number of bytes of values, without weights.
    pub(crate) live_bytes: u64,
    pub(crate) multiplications: u64,
}
