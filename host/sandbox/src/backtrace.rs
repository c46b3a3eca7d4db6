//! The backtrace of a guest that has trapped, as text for logs and terminals.
//!
//! The names of functions come from the component, so they are shortened and escaped. A backtrace is for the
//! author and the operator only: no message for clients contains it.

use std::fmt;
use wasmtime::WasmBacktrace;
use wisp_tensor::sanitize::shorten;

/// The maximum number of functions in a backtrace.
const MAX_FRAMES: usize = 16;

/// The maximum number of characters of a function's name.
const MAX_FUNCTION_NAME: usize = 200;

/// The beginnings of the names of functions between a panic and its trap, which are the same for all panics.
const PANIC_FUNCTIONS: [&str; 11] = [
    "abort",
    "__rust_abort",
    "__rust_start_panic",
    "__rustc::",
    "core::panicking::",
    "panic_abort::",
    "rust_begin_unwind",
    "rust_panic",
    "std::panicking::",
    "std::process::abort",
    "std::sys::backtrace::",
];

/// The functions that a guest was in when it trapped, innermost first. It is formatted only when it is shown,
/// since most traps of a kind are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestBacktrace {
    functions: Vec<GuestFunction>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct GuestFunction {
    index: u32,
    /// The name in the component, which compilers encode.
    name: Option<String>,
}

impl GuestBacktrace {
    /// Returns the backtrace in the error of a call, if the guest had begun to run.
    pub(crate) fn of(error: &wasmtime::Error) -> Option<GuestBacktrace> {
        let frames = error.downcast_ref::<WasmBacktrace>()?.frames();
        let functions = frames.iter().map(|frame| GuestFunction {
            index: frame.func_index(),
            name: frame.func_name().map(str::to_owned),
        });
        Some(GuestBacktrace {
            functions: functions.collect(),
        })
    }
}

impl fmt::Display for GuestFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => {
                // The alternate form has no hash at its end.
                let name = format!("{:#}", rustc_demangle::demangle(name));
                f.write_str(&shorten(&name, MAX_FUNCTION_NAME))
            }
            None => write!(f, "function {}", self.index),
        }
    }
}

fn is_panic_function(name: &str) -> bool {
    PANIC_FUNCTIONS.iter().any(|start| name.starts_with(start))
}

impl fmt::Display for GuestBacktrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let functions: Vec<String> = self.functions.iter().map(ToString::to_string).collect();
        let panic = functions.iter().rposition(|name| is_panic_function(name));
        let shown = panic.map_or(0, |position| position + 1);
        f.write_str("backtrace, innermost function first:")?;
        for (position, function) in functions.iter().skip(shown).take(MAX_FRAMES).enumerate() {
            write!(f, "\n{position}: {function}")?;
        }
        let innermost = self.functions.get(shown);
        if innermost.is_some_and(|function| function.name.is_none()) {
            f.write_str(
                "\nfor the names of functions, set strip = \"debuginfo\" in [profile.release] of the \
                 handler's Cargo.toml, and build it again",
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for GuestBacktrace {}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::{Engine, Instance, Module, Store};

    fn backtrace(wat: &str) -> wasmtime::Result<String> {
        let engine = Engine::default();
        let module = Module::new(&engine, wat::parse_str(wat)?)?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
        let error = run.call(&mut store, ()).err();
        let error = error.ok_or_else(|| wasmtime::Error::msg("it did not trap"))?;
        let backtrace = GuestBacktrace::of(&error);
        Ok(backtrace.map(|trace| trace.to_string()).unwrap_or_default())
    }

    #[test]
    fn functions_have_the_names_of_their_source_without_those_of_the_panic() -> wasmtime::Result<()>
    {
        let text = backtrace(
            r#"(module
                (func $core::panicking::panic_fmt (unreachable))
                (func $_ZN4wine10preprocess8features17h0123456789abcdefE
                    (call $core::panicking::panic_fmt))
                (func $run (export "run")
                    (call $_ZN4wine10preprocess8features17h0123456789abcdefE)))"#,
        )?;
        assert_eq!(
            text,
            "backtrace, innermost function first:\n0: wine::preprocess::features\n1: run"
        );
        Ok(())
    }

    #[test]
    fn a_component_without_names_gets_the_setting_that_keeps_them() -> wasmtime::Result<()> {
        let text = backtrace(
            r#"(module
                (func (unreachable))
                (func (export "run") (call 0)))"#,
        )?;
        assert!(text.contains("\n0: function 0\n1: function 1\n"), "{text}");
        assert!(text.contains("strip = \"debuginfo\""), "{text}");
        Ok(())
    }

    #[test]
    fn names_are_shortened_and_backtraces_bounded() -> wasmtime::Result<()> {
        let name = format!("a{}", "b".repeat(5000));
        let text = backtrace(&format!(
            r#"(module
                (func ${name} (param i32)
                    (if (local.get 0)
                        (then (call ${name} (i32.sub (local.get 0) (i32.const 1))))
                        (else (unreachable))))
                (func $run (export "run") (call ${name} (i32.const 99))))"#
        ))?;
        assert_eq!(text.lines().count(), 1 + MAX_FRAMES, "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() < 220),
            "{text}"
        );
        Ok(())
    }
}
