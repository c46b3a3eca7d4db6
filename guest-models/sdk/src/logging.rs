//! Lines for the log of the server, and for the terminal of `wisp infer` and `wisp check`.
//!
//! Handlers write them with [`println!`](crate::println), [`eprintln!`](crate::eprintln) and
//! [`dbg!`](crate::dbg) of this crate, with the macros of the crate `log` if the feature `log` is on, or with
//! [`write()`] itself. The host limits the lines of each call to some kilobytes, escapes control characters,
//! and drops the levels that it does not log.
//!
//! On Wasm the macros of the standard library of the same names do nothing, so those of this crate must be
//! imported by name. Natively, all of them print.

use std::fmt;

/// The importance of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the levels of the crate `log`")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// The stream to which a native handler prints.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Stream {
    /// That of `println!`.
    Output,
    /// That of `eprintln!` and `dbg!`.
    Error,
}

/// Writes the lines of a message to the log. `topic` is a word that groups messages, such as the path of a
/// module; it may be empty.
///
/// ```
/// use wisp_handler::logging::{Level, write};
///
/// let rows = 3;
/// write(Level::Debug, "preprocess", format_args!("{rows} rows"));
/// ```
pub fn write(level: Level, topic: &str, message: fmt::Arguments<'_>) {
    #[cfg(target_arch = "wasm32")]
    crate::component::log(level, topic, message);
    #[cfg(not(target_arch = "wasm32"))]
    print_natively(Stream::Error, format_args!("{level:?} {topic}: {message}"));
}

/// Writes the message of a macro: to the log on Wasm, otherwise to a stream.
#[doc(hidden)]
pub fn print(stream: Stream, message: fmt::Arguments<'_>) {
    #[cfg(target_arch = "wasm32")]
    {
        let _ = stream;
        write(Level::Info, "", message);
    }
    #[cfg(not(target_arch = "wasm32"))]
    print_natively(stream, message);
}

#[cfg(not(target_arch = "wasm32"))]
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a handler runs natively in its tests, whose harness captures both"
)]
fn print_natively(stream: Stream, message: fmt::Arguments<'_>) {
    match stream {
        Stream::Output => std::println!("{message}"),
        Stream::Error => std::eprintln!("{message}"),
    }
}

/// The logger of the crate `log`, which [`export!`](crate::export) installs on Wasm. Its lines have the target
/// of their record as topic.
#[cfg(feature = "log")]
#[derive(Clone, Copy, Debug)]
pub struct RecordLogger;

#[cfg(feature = "log")]
impl ::log::Log for RecordLogger {
    fn enabled(&self, _: &::log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &::log::Record<'_>) {
        let level = match record.level() {
            ::log::Level::Error => Level::Error,
            ::log::Level::Warn => Level::Warn,
            ::log::Level::Info => Level::Info,
            ::log::Level::Debug => Level::Debug,
            ::log::Level::Trace => Level::Trace,
        };
        write(level, record.target(), *record.args());
    }

    fn flush(&self) {}
}

/// Makes panics and the crate `log` write to the host. Called once in each instance.
#[cfg(target_arch = "wasm32")]
pub(crate) fn start() {
    std::panic::set_hook(Box::new(crate::component::report_panic));
    // If the handler has a logger of its own, its level is its own too.
    #[cfg(feature = "log")]
    if ::log::set_logger(&RecordLogger).is_ok() {
        // Libraries write much at the level below.
        ::log::set_max_level(::log::LevelFilter::Debug);
    }
}

/// Writes a line to the server's log. Natively, prints it to standard output as the macro of the standard
/// library does.
///
/// ```
/// use wisp_handler::println;
///
/// let rows = 3;
/// println!("{rows} rows");
/// ```
#[macro_export]
macro_rules! println {
    () => {
        $crate::logging::print($crate::logging::Stream::Output, ::core::format_args!(""))
    };
    ($($message:tt)*) => {
        $crate::logging::print(
            $crate::logging::Stream::Output,
            ::core::format_args!($($message)*),
        )
    };
}

/// Writes a line to the server's log. Natively, prints it to standard error as the macro of the standard
/// library does.
///
/// ```
/// use wisp_handler::eprintln;
///
/// eprintln!("no rows");
/// ```
#[macro_export]
macro_rules! eprintln {
    () => {
        $crate::logging::print($crate::logging::Stream::Error, ::core::format_args!(""))
    };
    ($($message:tt)*) => {
        $crate::logging::print(
            $crate::logging::Stream::Error,
            ::core::format_args!($($message)*),
        )
    };
}

/// Writes the source and the value of an expression to the server's log, and returns the value. Natively,
/// prints them to standard error as the macro of the standard library does.
///
/// ```
/// use wisp_handler::dbg;
///
/// let twice = dbg!(2 * 21);
/// assert_eq!(twice, 42);
/// assert_eq!(dbg!(1, "two"), (1, "two"));
/// ```
#[macro_export]
macro_rules! dbg {
    () => {
        $crate::eprintln!("[{}:{}:{}]", ::core::file!(), ::core::line!(), ::core::column!())
    };
    ($value:expr $(,)?) => {
        // A `match` keeps temporaries of the expression alive, as the macro of the standard library does.
        match $value {
            value => {
                $crate::eprintln!(
                    "[{}:{}:{}] {} = {:#?}",
                    ::core::file!(),
                    ::core::line!(),
                    ::core::column!(),
                    ::core::stringify!($value),
                    &value
                );
                value
            }
        }
    };
    ($($value:expr),+ $(,)?) => {
        ($($crate::dbg!($value)),+,)
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_macros_take_what_those_of_the_standard_library_take() {
        let name = "x";
        crate::println!();
        crate::println!("{name} {} {:?} {width:>3}", 1, "two", width = 3);
        crate::eprintln!();
        crate::eprintln!("{name}",);
        crate::dbg!();
        let moved = crate::dbg!(String::from("moved"));
        assert_eq!(moved, "moved");
        assert_eq!(crate::dbg!(1, 2.5,), (1, 2.5));
    }

    #[cfg(feature = "log")]
    #[test]
    fn records_of_every_level_are_written() {
        use log::{Level, Log, Record};
        for level in Level::iter() {
            let record = Record::builder()
                .level(level)
                .target("handler::preprocess")
                .args(format_args!("a record"))
                .build();
            super::RecordLogger.log(&record);
        }
    }
}
