//! Regions of shared memory, of which there are none: this server registers none, so that no client can make
//! it read or write memory that it has not sent.
//!
//! The empty list of regions, and the removal of regions, succeed as in Triton: most of its examples begin by
//! removing all regions, whether or not they use any.

use crate::encoded_response::document;
use crate::error::{ErrorKind, HasErrorKind};
use crate::quoted::Quoted;
use bytes::Bytes;

/// The kind of memory that a region is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedMemory {
    System,
    Cuda,
}

/// The error for a region that is not registered. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Unable to find {} shared memory region: '{}'", memory.name(), region.text())]
pub struct UnknownRegion {
    memory: SharedMemory,
    region: Quoted,
}

impl UnknownRegion {
    pub(crate) fn new(memory: SharedMemory, region: &str) -> UnknownRegion {
        let region = Quoted::new(region);
        UnknownRegion { memory, region }
    }
}

impl HasErrorKind for UnknownRegion {
    fn kind(&self) -> ErrorKind {
        ErrorKind::NotFound
    }
}

impl SharedMemory {
    /// Returns the word that Triton's errors use.
    fn name(self) -> &'static str {
        match self {
            SharedMemory::System => "system",
            SharedMemory::Cuda => "cuda",
        }
    }
}

/// Returns the registered regions.
pub fn shared_memory_status() -> Bytes {
    document(&[(); 0])
}

/// Returns the response to the removal of regions.
pub fn shared_memory_unregistered() -> Bytes {
    Bytes::from_static(b"{}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_regions() {
        assert_eq!(shared_memory_status(), "[]");
        for (memory, word) in [
            (SharedMemory::System, "system"),
            (SharedMemory::Cuda, "cuda"),
        ] {
            let error = UnknownRegion::new(memory, "r").to_string();
            assert_eq!(
                error,
                format!("Unable to find {word} shared memory region: 'r'")
            );
        }
    }
}
