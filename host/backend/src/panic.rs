//! Panics of backends, caught without a line in the log for each.
//!
//! Rust calls the panic hook of the process before a panic is caught, and the hook prints. [`catch`] marks
//! the thread while it calls a backend, and puts a hook in front of the previous one that passes on only the
//! panics of other threads. The message goes to the caller instead, with the place in the sources.
//!
//! Invariant: a second panic during the same call is printed, since it ends the process.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Once;

/// The beginnings of the names of threads that compute for a marked thread. Their pools pass panics on to it.
const POOLS: [&str; 1] = ["rten-"];

static INSTALLED: Once = Once::new();

thread_local! {
    static STATE: Cell<State> = const { Cell::new(State::Outside) };
    static PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

/// The progress of the innermost call of [`catch`] on a thread.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Outside,
    Calling,
    Panicked,
}

/// Calls `f`, and returns the message of a panic as an error, for the log.
///
/// The caller guarantees that `f` leaves nothing half done that is used afterwards.
pub(crate) fn catch<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    install_hook();
    let before = STATE.replace(State::Calling);
    let result = catch_unwind(AssertUnwindSafe(f));
    STATE.set(before);
    let place = PLACE.take();
    result.map_err(|payload| {
        let message = panic_message(&*payload);
        match place {
            Some(place) => format!("{message} ({place})"),
            None => message.to_owned(),
        }
    })
}

fn install_hook() {
    // Without unwinding, nothing is caught. A thread that panics cannot set the hook.
    if cfg!(not(panic = "unwind")) || std::thread::panicking() {
        return;
    }
    INSTALLED.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !is_caught_quietly() {
                previous(panic);
            } else if let Some(location) = panic.location() {
                // The destructor of the thread's variable may have run.
                let _ = PLACE.try_with(|place| place.set(Some(shown_place(location))));
            }
        }));
    });
}

/// Returns whether a panic on this thread is the first one of a call of [`catch`].
fn is_caught_quietly() -> bool {
    let first = STATE.try_with(|state| {
        let is_first = state.get() == State::Calling;
        if is_first {
            state.set(State::Panicked);
        }
        is_first
    });
    let is_in_pool = || {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default();
        POOLS.iter().any(|pool| name.starts_with(pool))
    };
    first.unwrap_or(false) || is_in_pool()
}

/// Returns the file from the name of its crate on, and the line.
fn shown_place(location: &Location<'_>) -> String {
    let file = location.file();
    let krate = file.rfind("/src/").map(|end| {
        let start = file[..end].rfind('/').map_or(0, |slash| slash + 1);
        &file[start..]
    });
    format!("{}:{}", krate.unwrap_or(file), location.line())
}

/// Returns the message of a panic's payload, if it is a string.
fn panic_message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caught_panic_has_its_message_and_place() {
        let caught = catch::<()>(|| panic!("axis {} of 3", 7));
        let message = caught.expect_err("it panicked");
        assert!(
            message.starts_with("axis 7 of 3 (backend/src/panic.rs:"),
            "{message}"
        );
        assert_eq!(catch(|| 7), Ok(7));
    }

    #[test]
    fn only_the_first_panic_of_a_call_is_quiet() {
        assert!(!is_caught_quietly());
        let inner = || catch(|| [is_caught_quietly(), is_caught_quietly()]);
        let outer = catch(|| [inner(), inner()]);
        let quiet: Result<[bool; 2], String> = Ok([true, false]);
        assert_eq!(outer, Ok([quiet.clone(), quiet]));
        assert!(!is_caught_quietly());
    }

    #[test]
    fn panics_in_the_pools_of_backends_are_quiet() -> anyhow::Result<()> {
        for (name, expected) in [("rten-0", true), ("wisp-graph", false)] {
            let thread = std::thread::Builder::new().name(name.to_owned());
            let is_quiet = thread.spawn(is_caught_quietly)?.join();
            assert_eq!(is_quiet.ok(), Some(expected), "{name}");
        }
        Ok(())
    }
}
