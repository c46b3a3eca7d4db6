//! The memory of versions besides their graphs: the machine code of components, and the smallest size of a version.

use crate::memory_ledger::MemoryPart;
use wisp_sandbox::handler::Handler;

/// The memory that a version takes at least: its description, its queues, and its entries in tables.
pub(super) const MIN_VERSION_BYTES: u64 = 64 << 10;

/// The machine code of a web component, in terms of its file.
const CODE_FACTOR: u64 = 4;

/// Returns the memory of the handler's machine code, which is mapped and no part of the measured allocations.
pub(super) fn code_of(handler: &Handler) -> MemoryPart {
    let code = handler.machine_code();
    MemoryPart {
        key: Some(format!("code {:x}", code.identity)),
        bytes: u64::try_from(code.bytes).unwrap_or(u64::MAX),
    }
}

/// Returns an estimate of the machine code of a web component with a file of this size.
pub(super) fn expected_code(file_bytes: usize) -> MemoryPart {
    let bytes = u64::try_from(file_bytes).unwrap_or(u64::MAX);
    MemoryPart {
        key: None,
        bytes: bytes.saturating_mul(CODE_FACTOR),
    }
}
