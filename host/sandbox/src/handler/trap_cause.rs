//! The cause of a trap in metrics, from the error that ended a call.

use super::store::Instantiating;
use super::trap::{is_below_zero, is_transfer_limit};
use crate::guest_run::TrapCause;
use crate::instance::Unprepared;
use crate::limits::LimitError;
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap};

/// Returns the cause of the trap that ended a call, or `None` if the call ended for a reason that is not in the guest.
pub(crate) fn cause(error: &wasmtime::Error) -> Option<TrapCause> {
    if let Some(limit) = error.downcast_ref::<LimitError>() {
        return match limit {
            LimitError::Memory { .. } => Some(TrapCause::MemoryLimit),
            LimitError::GuestTime { .. } => Some(TrapCause::TimeLimit),
            LimitError::Table { .. }
            | LimitError::InvalidTensors { .. }
            | LimitError::Handles { .. } => Some(TrapCause::OtherLimit),
            LimitError::Deadline | LimitError::Capacity => None,
        };
    }
    let Some(trap) = error.downcast_ref::<Trap>() else {
        let is_of_host = error.is::<PoolConcurrencyLimitError>()
            || error.is::<Unprepared>()
            || error.is::<Instantiating>();
        let is_limit = error.is::<ResourceTableError>() || is_transfer_limit(error);
        return match (is_of_host, is_limit) {
            (true, _) => None,
            (false, true) => Some(TrapCause::OtherLimit),
            (false, false) => Some(TrapCause::Other),
        };
    };
    Some(match trap {
        Trap::UnreachableCodeReached => TrapCause::Panic,
        Trap::StackOverflow => TrapCause::StackOverflow,
        Trap::MemoryOutOfBounds if is_below_zero(error) => TrapCause::StackOverflow,
        Trap::MemoryOutOfBounds | Trap::TableOutOfBounds => TrapCause::OutOfBounds,
        Trap::IntegerOverflow | Trap::IntegerDivisionByZero | Trap::BadConversionToInteger => {
            TrapCause::Arithmetic
        }
        _ => TrapCause::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::{Engine, Instance, Module, Store};

    /// Returns the error of a function with this body.
    fn trapped(body: &str) -> wasmtime::Result<wasmtime::Error> {
        let engine = Engine::default();
        let wat = format!(r#"(module (memory 1) (func $run (export "run") {body}))"#);
        let module = Module::new(&engine, wat::parse_str(wat)?)?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
        let error = run.call(&mut store, ()).err();
        error.ok_or_else(|| wasmtime::Error::msg("it did not trap"))
    }

    #[test]
    fn every_trap_has_a_cause_and_what_the_server_lacks_has_none() -> wasmtime::Result<()> {
        let beyond = "(drop (i32.load (i32.const 0x20000)))";
        for (body, expected) in [
            ("unreachable", TrapCause::Panic),
            ("(call $run)", TrapCause::StackOverflow),
            (beyond, TrapCause::OutOfBounds),
            (
                "(drop (i32.div_u (i32.const 1) (i32.const 0)))",
                TrapCause::Arithmetic,
            ),
        ] {
            assert_eq!(cause(&trapped(body)?), Some(expected), "{body}");
        }
        let memory = LimitError::Memory {
            wanted: 2,
            limit: 1,
        };
        assert_eq!(cause(&memory.into()), Some(TrapCause::MemoryLimit));
        assert_eq!(cause(&LimitError::Deadline.into()), None);
        assert_eq!(cause(&LimitError::Capacity.into()), None);
        Ok(())
    }
}
