//! Lines of a handler and of this module for the standard error output.

use std::fmt::Display;
use wisp_tensor::OneLine;

/// The levels of wasi:logging, from the least to the most important one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Values of variables and the flow of control.
    Trace,
    /// Details for debugging.
    Debug,
    /// Events for monitoring.
    Info,
    /// A hazardous situation.
    Warn,
    /// A serious error.
    Error,
    /// A fatal error. A panic is one.
    Critical,
}

/// The least important level that is written, which is the server's default.
const LEAST: Level = Level::Info;

impl Level {
    /// Returns whether lines of this level are written.
    pub fn is_written(self) -> bool {
        self >= LEAST
    }

    fn name(self) -> &'static str {
        match self {
            Level::Trace => "TRACE",
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
            Level::Critical => "CRITICAL",
        }
    }
}

/// Returns the line for a message, with its end. The context is left out if it is empty.
pub fn line(level: Level, context: &str, message: &str) -> String {
    let (level, message) = (level.name(), OneLine(message));
    match context {
        "" => format!("{level} {message}\n"),
        context => format!("{level} {}: {message}\n", OneLine(context)),
    }
}

/// Returns a text without control characters.
pub fn one_line(text: impl Display) -> String {
    OneLine(text.to_string()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_with_its_level_and_context() {
        assert_eq!(line(Level::Info, "", "ready"), "INFO ready\n");
        let spread = line(Level::Critical, "pa\nnic", "first\nsecond\x1b[1m");
        assert!(spread.starts_with("CRITICAL pa"), "{spread}");
        assert_eq!(spread.matches('\n').count(), 1, "{spread}");
        assert!(!spread.contains('\x1b'), "{spread}");
    }

    #[test]
    fn details_are_not_written() {
        let written = [Level::Trace, Level::Debug, Level::Info, Level::Critical];
        assert_eq!(written.map(Level::is_written), [false, false, true, true]);
    }
}
