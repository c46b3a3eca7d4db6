//! The reasons for which guests trap, with the setting that an author can change.

use crate::text::bounded;
use std::fmt::{self, Write};
use wasmtime::Trap;

/// The addresses from which on an access is taken for one below address 0, where the stack of a handler
/// ends: the stack pointer has wrapped around. No handler's memory is as large.
const BELOW_ZERO: u64 = 0xfc00_0000;

/// The beginning of wasmtime's text about an address.
const FAULT: &str = "memory fault at wasm address 0x";

/// A length that wasmtime's text about an address does not reach.
const MAX_FAULT_BYTES: usize = 200;

/// The end of wasmtime's text about a transfer that exceeds the limit.
const TRANSFER: &str = "fuel allocated for hostcalls has been exhausted";

/// The beginning of a text that may be long, such as a backtrace with names of the guest's choice.
struct Beginning(String);

/// Returns the reason of an error that ended a call: the message of the guest's panic if there is one.
pub(super) fn reason(error: &wasmtime::Error, panic: Option<&str>) -> String {
    let Some(trap) = error.downcast_ref::<Trap>() else {
        return match is_transfer_limit(error) {
            true => "it transfers more bytes at once than the limit (`limits.transfer_bytes` in \
                     model.toml, up to the server's `--max-handler-transfer-bytes`)"
                .to_owned(),
            false => bounded(&error.root_cause().to_string()),
        };
    };
    match (trap, panic) {
        (Trap::UnreachableCodeReached, Some(panic)) => format!("panicked at {panic}"),
        (Trap::MemoryOutOfBounds, _) if is_below_zero(error) => {
            "stack overflow: calls are nested too deeply, or hold too much on the stack (stack-size in \
             [package.metadata.wisp] of the handler's Cargo.toml, 65536 bytes by default)"
                .to_owned()
        }
        (Trap::StackOverflow, _) => {
            "stack overflow: calls are nested too deeply; this limit cannot be raised, so replace the \
             recursion by a loop"
                .to_owned()
        }
        _ => trap.to_string(),
    }
}

/// Returns whether the trap is an access below address 0, where the stack of a handler ends.
pub(super) fn is_below_zero(error: &wasmtime::Error) -> bool {
    fault_address(error) >= Some(BELOW_ZERO)
}

/// Returns whether the error is a transfer that exceeds the limit.
pub(super) fn is_transfer_limit(error: &wasmtime::Error) -> bool {
    error.root_cause().to_string().ends_with(TRANSFER)
}

/// Returns the address at which memory was accessed out of bounds. wasmtime has it in a message only.
fn fault_address(error: &wasmtime::Error) -> Option<u64> {
    error.chain().find_map(|cause| {
        let mut text = Beginning(String::new());
        // It fails with a longer text, which is another one.
        let _ = write!(text, "{cause}");
        let digits = text.0.strip_prefix(FAULT)?.split(' ').next()?;
        u64::from_str_radix(digits, 16).ok()
    })
}

impl Write for Beginning {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.push_str(text);
        match self.0.len() > MAX_FAULT_BYTES {
            true => Err(fmt::Error),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::{Engine, Instance, Module, Store};

    /// Returns the reason that is given for the trap of a function's body.
    fn of(body: &str, panic: Option<&str>) -> wasmtime::Result<String> {
        let engine = Engine::default();
        let wat = format!(
            r#"(module
                (memory 1)
                (global $stack (mut i32) (i32.const 65536))
                (func $run (export "run") {body}))"#
        );
        let module = Module::new(&engine, wat::parse_str(wat)?)?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
        let error = run.call(&mut store, ()).err();
        let error = error.ok_or_else(|| wasmtime::Error::msg("it did not trap"))?;
        Ok(reason(&error, panic))
    }

    #[test]
    fn a_panic_is_the_reason_of_its_trap_only() -> wasmtime::Result<()> {
        let panic = Some("src/lib.rs:7:5: no");
        assert_eq!(of("unreachable", panic)?, "panicked at src/lib.rs:7:5: no");
        assert!(of("unreachable", None)?.contains("unreachable"));
        let division = "(drop (i32.div_u (i32.const 1) (i32.const 0)))";
        assert!(of(division, panic)?.contains("divide by zero"));
        Ok(())
    }

    #[test]
    fn a_stack_overflow_is_named_with_the_setting_that_raises_it() -> wasmtime::Result<()> {
        // As compilers do it: the pointer is lowered, and the memory below it written.
        let shadow_stack = "(loop $deeper
            (global.set $stack (i32.sub (global.get $stack) (i32.const 1024)))
            (i32.store offset=8 (global.get $stack) (i32.const 1))
            (br $deeper))";
        let text = of(shadow_stack, None)?;
        assert!(text.contains("stack overflow"), "{text}");
        assert!(
            text.contains("stack-size in [package.metadata.wisp]"),
            "{text}"
        );
        let text = of("(call $run)", None)?;
        assert!(text.contains("replace the recursion by a loop"), "{text}");
        let text = of("(drop (i32.load (i32.const 0x20000)))", None)?;
        assert!(text.contains("out of bounds memory access"), "{text}");
        Ok(())
    }
}
