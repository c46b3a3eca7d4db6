//! `wasi:logging@0.1.0-draft`: the log lines of a guest, and the message of its panic.
//!
//! Lines are collected during a call and returned with its outcome, because a call that is repeated must not
//! be logged twice, and because only the caller can name the model and the request. They are charged to a
//! budget of bytes; what exceeds it is counted and dropped without being read. Lines that the process does
//! not log are neither read nor charged.
//!
//! Invariant: a line is short, has no control characters, and costs the guest at least [`LINE_BYTES`].

pub(crate) mod interface;

use wasmtime::component::{ComponentType, Lift};
use wisp_tensor::OneLine;

/// The target of the lines of handlers in the log of the process.
pub const TARGET: &str = "handler";

/// The number of bytes that a line is charged for in addition to its text: an empty one has a time, a level
/// and names too.
pub const LINE_BYTES: usize = 64;

/// The levels of wasi:logging. The order of the cases is part of the ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
pub enum LogLevel {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
    #[component(name = "critical")]
    Critical,
}

/// One line of a guest, without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    pub level: LogLevel,
    /// The module or topic that the guest has named; empty if it has not.
    pub context: String,
    pub text: String,
}

/// The lines that a guest has logged during a call. Lifetime: one request.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct GuestLog {
    pub lines: Vec<LogLine>,
    /// The number of lines or messages beyond the budget.
    pub dropped: u64,
}

/// Collects the lines of one instance within its budget. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct LogMeter {
    bytes_left: usize,
    log: GuestLog,
    panic: Option<String>,
}

// === impl LogLevel ===

impl LogLevel {
    /// Returns whether the process logs lines of handlers at this level.
    fn is_enabled(self) -> bool {
        use tracing::{Level, enabled};
        match self {
            LogLevel::Trace => enabled!(target: TARGET, Level::TRACE),
            LogLevel::Debug => enabled!(target: TARGET, Level::DEBUG),
            LogLevel::Info => enabled!(target: TARGET, Level::INFO),
            LogLevel::Warn => enabled!(target: TARGET, Level::WARN),
            LogLevel::Error | LogLevel::Critical => enabled!(target: TARGET, Level::ERROR),
        }
    }
}

// === impl GuestLog ===

impl GuestLog {
    /// Returns whether nothing was logged.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.dropped == 0
    }

    /// Adds the lines of a later call.
    pub(crate) fn append(&mut self, later: GuestLog) {
        let GuestLog { lines, dropped } = later;
        self.lines.extend(lines);
        self.dropped += dropped;
    }
}

impl LogLine {
    /// Returns the number of bytes that the line is charged for.
    pub fn bytes(&self) -> usize {
        self.context.len() + self.text.len() + LINE_BYTES
    }
}

// === impl LogMeter ===

impl LogMeter {
    pub(crate) fn new(bytes: usize) -> LogMeter {
        LogMeter {
            bytes_left: bytes,
            log: GuestLog::default(),
            panic: None,
        }
    }

    /// Returns whether a line at this level is logged and has room. Counts it if it has none.
    fn admits(&mut self, level: LogLevel) -> bool {
        if !level.is_enabled() {
            return false;
        }
        let has_room = self.bytes_left >= LINE_BYTES;
        self.log.dropped += u64::from(!has_room);
        has_room
    }

    /// Adds each line of a message, until the budget is used up.
    fn add(&mut self, level: LogLevel, context: &str, message: &str) {
        for text in message.lines() {
            let line = LogLine {
                level,
                context: context.to_owned(),
                text: OneLine(text).to_string(),
            };
            let Some(left) = self.bytes_left.checked_sub(line.bytes()) else {
                self.bytes_left = 0;
                self.log.dropped += 1;
                return;
            };
            self.bytes_left = left;
            self.log.lines.push(line);
        }
    }

    /// Adds the lines of a text that the guest has written elsewhere than to wasi:logging. `is_cut` if its end is
    /// missing.
    pub(crate) fn capture(&mut self, level: LogLevel, context: &str, (text, is_cut): (&str, bool)) {
        if text.is_empty() || !self.admits(level) {
            return;
        }
        self.add(level, context, text);
        self.log.dropped += u64::from(is_cut);
    }

    /// Returns the lines so far, and resets the log.
    pub(crate) fn take(&mut self) -> GuestLog {
        std::mem::take(&mut self.log)
    }

    /// Returns the message of the guest's panic.
    pub(crate) fn panic(&self) -> Option<&str> {
        self.panic.as_deref()
    }
}

#[cfg(test)]
mod tests;
