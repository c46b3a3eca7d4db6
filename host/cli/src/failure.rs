//! Converts errors to text and exit codes. This is the only module that prints errors.
//!
//! The exit code is 0 for success, 64 for problems that the operator must fix before anything runs
//! (arguments, configuration files), and 1 for everything else. Nothing is added to a message: the
//! advice on how to fix an error is part of the error itself.

use std::fmt::Write;
use std::io::ErrorKind;
use std::process::ExitCode;
use wisp_tensor::OneLine;

/// `EX_USAGE` from sysexits: the configuration is invalid and nothing was started.
const BAD_CONFIGURATION: u8 = 64;

/// An error in the arguments or files that the operator has supplied.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadConfiguration(String);

impl BadConfiguration {
    /// Creates the error as a context for another error with more details.
    pub(crate) fn new(message: impl Into<String>) -> BadConfiguration {
        BadConfiguration(message.into())
    }
}

/// Returns an error that results in exit code 64.
pub(crate) fn bad_configuration(message: impl Into<String>) -> anyhow::Error {
    BadConfiguration::new(message).into()
}

/// Prints the error with its causes, and returns the exit code of the process.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if is_closed_pipe(error) {
        return ExitCode::SUCCESS;
    }
    if let Some(error) = error.downcast_ref::<clap::Error>() {
        return report_usage(error);
    }
    eprint!("{}", chain(error));
    if error.is::<BadConfiguration>() {
        ExitCode::from(BAD_CONFIGURATION)
    } else {
        ExitCode::FAILURE
    }
}

/// Prints an error in the arguments, or the help or version that was requested, and returns the exit
/// code.
fn report_usage(error: &clap::Error) -> ExitCode {
    // A failure to write to the terminal cannot be handled.
    let _ = error.print();
    if error.use_stderr() {
        ExitCode::from(BAD_CONFIGURATION)
    } else {
        ExitCode::SUCCESS
    }
}

/// Returns whether the reader of the output has closed the pipe, as in `wisp inspect model.onnx | head`.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    let mut previous = String::new();
    for cause in error.chain() {
        let message = cause.to_string();
        // Some foreign errors repeat their cause in their own message.
        if !previous.contains(&message) {
            let label = if text.is_empty() {
                "error"
            } else {
                "  because"
            };
            // Continuation lines are indented, so that none resembles another message.
            let lines = message.trim_end().split('\n').map(OneLine);
            let lines: Vec<_> = lines.map(|line| line.to_string()).collect();
            let message = lines.join("\n    ");
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "{label}: {message}");
        }
        previous = message;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    #[test]
    fn causes_follow_in_order_and_none_is_said_twice() {
        let error = anyhow!("line 1\nline 2").context("the file: line 1\nline 2");
        let error = error.context("failed to start");
        assert_eq!(
            chain(&error),
            "error: failed to start\n  because: the file: line 1\n    line 2\n"
        );
    }

    #[test]
    fn a_bad_configuration_is_known_under_any_context() {
        let error = bad_configuration("no such model").context("failed to build");
        assert!(error.is::<BadConfiguration>());
        let cause: anyhow::Result<()> = Err(anyhow!("unknown key"));
        let error = cause
            .context(BadConfiguration::new("bad file"))
            .context("y");
        assert!(error.is_err_and(|error| error.is::<BadConfiguration>()));
    }
}
