//! The resource limits of one instance, and the meters that enforce them.
//!
//! wasmtime's own limits cover only the guest's memory and tables. A [`TensorBudget`] counts the memory that
//! the host holds for a guest (tensors); its running time is measured by its clock. The engine's [`MemoryBudget`] bounds all instances together: memories, tables and tensors are reserved there before
//! they are allocated.

use std::sync::Arc;
use std::time::Duration;
use wasmtime::ResourceLimiter;
use wisp_tensor::{MemoryBudget, Reservation};

/// The size of the largest component accepted, in bytes, unless a server is given another limit.
pub const MAX_COMPONENT_BYTES: usize = 20 << 20;

/// The size of a table's element: a pointer.
const TABLE_ELEMENT_BYTES: usize = size_of::<usize>();

/// The limits of one handler, nearly all of which are those of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The maximum size of its component, in bytes. Whoever reads the file enforces it.
    pub component_bytes: usize,
    /// The maximum size of all linear memories of the instance together, in bytes. More than the engine's maximum
    /// for one has no effect.
    pub memory_bytes: usize,
    /// The maximum number of elements of any table.
    pub table_elements: usize,
    /// The maximum size of the tensors that the host holds for the instance, in bytes.
    pub tensor_bytes: usize,
    /// The maximum number of bytes that one call may transfer from the guest to the host: the response,
    /// or one tensor.
    pub transfer_bytes: usize,
    /// The maximum number of resources (tensors, graphs, contexts, errors) that the instance may hold at
    /// once.
    pub handles: usize,
    /// The maximum processor time of the guest's own code, without compute. A 12-megapixel JPEG must fit.
    pub guest_time: Duration,
    /// The maximum size of the lines that one call logs, in bytes, with
    /// [`LINE_BYTES`](crate::logging::LINE_BYTES) more for each line.
    pub log_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            component_bytes: MAX_COMPONENT_BYTES,
            memory_bytes: 128 << 20,
            table_elements: 20_000,
            // An input and an output of a graph, each as large as the largest body.
            tensor_bytes: 128 << 20,
            transfer_bytes: 65 << 20,
            handles: 1024,
            guest_time: Duration::from_secs(2),
            log_bytes: 16 << 10,
        }
    }
}

/// The error for a guest that exceeds its limits. Traps the guest. The texts, which are for the log and the
/// author, name the keys of model.toml.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LimitError {
    #[error(
        "memory would grow to {wanted} bytes, the limit is {limit} (`limits.memory_bytes` in model.toml, \
         up to the server's `--max-handler-memory-bytes`)"
    )]
    Memory { wanted: usize, limit: usize },
    #[error(
        "a table would grow to {wanted} elements, the limit is {limit} (`limits.table_elements` in \
         model.toml)"
    )]
    Table { wanted: usize, limit: usize },
    #[error("more than {limit} tensors without a valid shape")]
    InvalidTensors { limit: u32 },
    #[error("more than {limit} resources are held at once (`limits.handles` in model.toml)")]
    Handles { limit: usize },
    #[error(
        "the guest ran longer than {budget:?} (`limits.guest_time_milliseconds` in model.toml, up to the \
         server's `--max-handler-time-milliseconds`)"
    )]
    GuestTime { budget: Duration },
    #[error("the request's deadline has passed")]
    Deadline,
    /// The limits allow it, but all instances together have used up the memory budget.
    #[error("the server's memory budget is used up")]
    Capacity,
}

/// Enforces the limits on memories and tables, and records the peak.
#[derive(Debug)]
pub(crate) struct MemoryMeter {
    memory_limit: usize,
    table_limit: usize,
    /// The memories and tables of the instance.
    reservation: Reservation,
    /// The size of all linear memories, which never become smaller, in bytes.
    pub(crate) peak_bytes: usize,
}

impl MemoryMeter {
    pub(crate) fn new(limits: &Limits, budget: &Arc<MemoryBudget>) -> MemoryMeter {
        MemoryMeter {
            memory_limit: limits.memory_bytes,
            table_limit: limits.table_elements,
            reservation: budget.reservation(),
            peak_bytes: 0,
        }
    }

    fn reserve(&mut self, bytes: usize) -> wasmtime::Result<bool> {
        match self.reservation.grow(bytes) {
            true => Ok(true),
            false => Err(LimitError::Capacity.into()),
        }
    }
}

// Both functions are also called, with a current size of 0, for an instance's initial memories and
// tables.
impl ResourceLimiter for MemoryMeter {
    fn memory_growing(
        &mut self,
        current: usize,
        wanted: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = wanted.saturating_sub(current);
        let all = self.peak_bytes.saturating_add(growth);
        // An error traps the guest; `Ok(false)` would let it continue and fail in some other way later.
        if all > self.memory_limit {
            return Err(LimitError::Memory {
                wanted: all,
                limit: self.memory_limit,
            }
            .into());
        }
        self.peak_bytes = all;
        self.reserve(growth)
    }

    fn table_growing(
        &mut self,
        current: usize,
        wanted: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if wanted > self.table_limit {
            return Err(LimitError::Table {
                wanted,
                limit: self.table_limit,
            }
            .into());
        }
        let elements = wanted.saturating_sub(current);
        self.reserve(elements.saturating_mul(TABLE_ELEMENT_BYTES))
    }

    // Growing can still fail below the limit: memory is short.
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error)
    }
}

/// The budget for the tensors that the host holds for one instance.
#[derive(Debug)]
pub(crate) struct TensorBudget {
    /// The instance's own limit, in bytes.
    limit: usize,
    left: usize,
    budget: Arc<MemoryBudget>,
}

impl TensorBudget {
    /// Creates a budget of at most `bytes`, which are also reserved in `budget`.
    pub(crate) fn new(bytes: usize, budget: &Arc<MemoryBudget>) -> TensorBudget {
        TensorBudget {
            limit: bytes,
            left: bytes,
            budget: Arc::clone(budget),
        }
    }

    /// Charges `bytes` more, or returns `None` if the instance's own limit forbids it.
    ///
    /// The reservation belongs to the bytes, which may outlive the instance: a graph can still be
    /// computing with them.
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<Option<Reservation>, LimitError> {
        let Some(left) = self.left.checked_sub(bytes) else {
            return Ok(None);
        };
        let mut reservation = self.budget.reservation();
        if !reservation.grow(bytes) {
            return Err(LimitError::Capacity);
        }
        self.left = left;
        Ok(Some(reservation))
    }

    /// Returns the explanation of a refused charge, for the handler.
    pub(crate) fn explanation(&self) -> String {
        format!(
            "the tensors held for this request take more than {} bytes together (`limits.tensor_bytes` in \
             model.toml, up to the server's `--max-handler-tensor-bytes`)",
            self.limit
        )
    }

    /// Returns `bytes` that were charged.
    pub(crate) fn release(&mut self, bytes: usize) {
        self.left = self.left.saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(bytes: usize) -> Arc<MemoryBudget> {
        Arc::new(MemoryBudget::new(bytes))
    }

    #[test]
    fn a_tensor_budget_is_charged_up_to_its_limit_and_released() -> anyhow::Result<()> {
        let mut tensors = TensorBudget::new(10, &budget(usize::MAX));
        assert!(tensors.charge(7)?.is_some());
        assert!(tensors.charge(4)?.is_none());
        tensors.release(7);
        assert!(tensors.charge(10)?.is_some());
        assert!(tensors.charge(1)?.is_none());
        assert!(tensors.charge(usize::MAX)?.is_none());
        Ok(())
    }

    #[test]
    fn the_tensors_of_all_instances_share_the_memory_budget() -> anyhow::Result<()> {
        let budget = budget(10);
        let mut one = TensorBudget::new(8, &budget);
        let mut other = TensorBudget::new(8, &budget);
        let held = one.charge(6)?;
        assert_eq!(other.charge(6).err(), Some(LimitError::Capacity));
        assert!(other.charge(4)?.is_some());
        drop(held);
        // The refusal did not use up the instance's own limit.
        other.release(4);
        assert!(other.charge(8)?.is_some());
        assert_eq!(budget.reserved(), 0);
        Ok(())
    }

    #[test]
    fn memories_and_tables_are_reserved_from_their_first_byte_on() {
        let budget = budget(100);
        let limits = Limits {
            memory_bytes: 80,
            ..Limits::default()
        };
        let mut meter = MemoryMeter::new(&limits, &budget);
        assert!(meter.memory_growing(0, 40, None).is_ok());
        assert!(meter.table_growing(0, 1, None).is_ok());
        assert_eq!(budget.reserved(), 40 + TABLE_ELEMENT_BYTES);
        let other = MemoryMeter::new(&limits, &budget).memory_growing(0, 60, None);
        let limit = other.map_err(|error| error.downcast::<LimitError>().ok());
        assert!(matches!(limit, Err(Some(LimitError::Capacity))));
        assert!(meter.memory_growing(40, 81, None).is_err());
        // Another memory of the same instance.
        assert!(meter.memory_growing(0, 41, None).is_err());
        assert!(meter.memory_growing(40, 80, None).is_ok());
        drop(meter);
        assert_eq!(budget.reserved(), 0);
    }

    #[test]
    fn a_reached_limit_names_the_key_and_the_setting_that_raise_it() {
        let budget = Duration::from_secs(2);
        for (limit, key, setting) in [
            (
                LimitError::Memory {
                    wanted: 9,
                    limit: 8,
                }
                .to_string(),
                "`limits.memory_bytes`",
                "`--max-handler-memory-bytes`",
            ),
            (
                LimitError::GuestTime { budget }.to_string(),
                "`limits.guest_time_milliseconds`",
                "`--max-handler-time-milliseconds`",
            ),
            (
                TensorBudget::new(8, &self::budget(8)).explanation(),
                "`limits.tensor_bytes`",
                "`--max-handler-tensor-bytes`",
            ),
        ] {
            let expected = format!("({key} in model.toml, up to the server's {setting})");
            assert!(limit.ends_with(&expected), "{limit}");
        }
    }
}
