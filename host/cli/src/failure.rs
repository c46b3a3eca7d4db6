//! Errors to text and exit code: the one place that prints them.
//!
//! 0 is success, 64 what the operator has to put right before anything runs (arguments, files of
//! configuration), 1 everything else. Deliberately adds nothing to a message: what to do about an
//! error is said where it is made.

use std::fmt::Write;
use std::io::ErrorKind;
use std::process::ExitCode;
use wisp_tensor::OneLine;

/// `EX_USAGE` of sysexits: the configuration is bad, nothing was started.
const BAD_CONFIGURATION: u8 = 64;

/// What was asked for cannot be done as asked: another argument or another file is needed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadConfiguration(String);

impl BadConfiguration {
    /// As the context of an error that says more.
    pub(crate) fn new(message: impl Into<String>) -> BadConfiguration {
        BadConfiguration(message.into())
    }
}

/// An error that ends with exit code 64.
pub(crate) fn bad_configuration(message: impl Into<String>) -> anyhow::Error {
    BadConfiguration::new(message).into()
}

/// Say what went wrong, cause by cause, and how the process ends.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if is_closed_pipe(error) {
        return ExitCode::SUCCESS;
    }
    eprint!("{}", chain(error));
    if error.is::<BadConfiguration>() {
        ExitCode::from(BAD_CONFIGURATION)
    } else {
        ExitCode::FAILURE
    }
}

/// Say what is wrong with the arguments, or print the help or version that was asked for.
pub(crate) fn report_usage(error: &clap::Error) -> ExitCode {
    // Nothing can be done about a terminal that does not take the message.
    let _ = error.print();
    if error.use_stderr() {
        ExitCode::from(BAD_CONFIGURATION)
    } else {
        ExitCode::SUCCESS
    }
}

/// Whether the reader of our output went away, as in `wisp inspect model.onnx | head`.
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
            // Texts of several lines are indented, so that none looks like another message.
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
