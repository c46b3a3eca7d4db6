//! The run of a guest, for the counters of its model: the resources that it used, and the cause of its trap.
//!
//! The set of causes is closed, so that each can be the value of a label.

use crate::instance::Usage;

/// The resources that a call used, and the cause if its guest trapped or reached a limit of its own. Lifetime: one
/// request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GuestRun {
    pub usage: Usage,
    /// `None` also if the call failed without a trap: by its deadline, for lack of memory of the server, or with an
    /// error that the guest returned.
    pub trap: Option<TrapCause>,
}

/// The cause of a trap, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TrapCause {
    /// A panic, or another instruction that is never reached.
    Panic,
    StackOverflow,
    /// An access outside of a memory or a table.
    OutOfBounds,
    /// A division by zero, an overflow, or a number that is not an integer.
    Arithmetic,
    /// The limit on memory.
    MemoryLimit,
    /// The limit on the guest's own time.
    TimeLimit,
    /// The limit on tables, tensors, handles or transferred bytes.
    OtherLimit,
    Other,
}

impl TrapCause {
    /// All causes, in the order of their declaration.
    pub const ALL: [TrapCause; 8] = [
        TrapCause::Panic,
        TrapCause::StackOverflow,
        TrapCause::OutOfBounds,
        TrapCause::Arithmetic,
        TrapCause::MemoryLimit,
        TrapCause::TimeLimit,
        TrapCause::OtherLimit,
        TrapCause::Other,
    ];

    /// Returns the name of the cause in metrics.
    pub fn name(self) -> &'static str {
        match self {
            TrapCause::Panic => "panic",
            TrapCause::StackOverflow => "stack_overflow",
            TrapCause::OutOfBounds => "out_of_bounds",
            TrapCause::Arithmetic => "arithmetic",
            TrapCause::MemoryLimit => "memory_limit",
            TrapCause::TimeLimit => "time_limit",
            TrapCause::OtherLimit => "other_limit",
            TrapCause::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_cause_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = TrapCause::ALL.iter().map(|cause| cause.name()).collect();
        assert_eq!(names.len(), TrapCause::ALL.len());
    }
}
