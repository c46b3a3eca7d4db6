//! The log on standard error: the filter, the formats, and the escaping that keeps each event on one
//! line.
//!
//! All values are escaped here, in one place, since lines of every crate contain names of files and
//! models and messages of handlers and backends. `json` is the format for programs.

mod error_chain;
mod json;

use crate::failure::bad_configuration;
use crate::options::LogFormat;
use anyhow::Context;
use error_chain::Chain;
use json::JsonLines;
use std::error::Error;
use std::fmt::{self, Debug};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::{EnvFilter, reload};
use wisp_tensor::OneLine;

/// Libraries whose warnings are caused by clients, which can cause any number of them.
const CHATTY: [&str; 1] = ["h2"];

/// The interval within which at most one panic is logged: a request that makes a backend panic can be
/// sent repeatedly.
const PANIC_INTERVAL: Duration = Duration::from_secs(1);

/// The maximum number of characters of a panic message in the log.
const MAX_PANIC_CHARS: usize = 500;

/// Formats the fields of a line, with line breaks and control characters escaped.
struct EscapedFields;

/// The fields of one line.
struct Fields<'a> {
    writer: Writer<'a>,
    separator: &'static str,
    written: fmt::Result,
}

/// The levels of a log that has been started, which can be changed. Lifetime: the process.
pub(super) struct LogLevels {
    replace: Replace,
}

/// A function that replaces the levels of the log.
type Replace = Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>;

/// Starts logging to standard error, with the levels and in the format that the operator has set. From
/// then on, panics are logged as lines too.
pub(super) fn start(levels: Option<&str>, format: LogFormat) -> anyhow::Result<LogLevels> {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter(levels)?)
        .with_writer(std::io::stderr)
        .with_ansi(format == LogFormat::Auto && accepts_colour())
        .fmt_fields(EscapedFields);
    let replace: Replace = match format {
        LogFormat::Auto | LogFormat::Text => {
            let log = lines.with_filter_reloading();
            let filter = log.reload_handle();
            log.init();
            Box::new(move |levels| filter.reload(levels))
        }
        LogFormat::Json => {
            let log = lines.event_format(JsonLines).with_filter_reloading();
            let filter = log.reload_handle();
            log.init();
            Box::new(move |levels| filter.reload(levels))
        }
    };
    let last = Mutex::new(None);
    std::panic::set_hook(Box::new(move |panic| log_panic(panic, &last)));
    Ok(LogLevels { replace })
}

impl LogLevels {
    /// Replaces the levels by these, with the same defaults as at the start.
    pub(super) fn set(&self, levels: Option<&str>) -> anyhow::Result<()> {
        Ok((self.replace)(filter(levels)?)?)
    }
}

/// Returns whether standard error is a terminal, and the user has not disabled colours for all programs.
fn accepts_colour() -> bool {
    let is_disabled = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !is_disabled
}

/// Returns the filter for these levels, by default from `RUST_LOG`, which many programs use, or
/// `info`. Of [`CHATTY`] libraries, only errors are logged unless they are named.
pub(super) fn filter(levels: Option<&str>) -> anyhow::Result<EnvFilter> {
    let variable = || std::env::var_os("RUST_LOG").filter(|levels| !levels.is_empty());
    let is_setting = levels.is_some();
    let (name, levels) = match levels {
        Some(levels) => ("the log setting", levels.to_owned()),
        None => match variable() {
            Some(levels) => ("RUST_LOG", levels.to_string_lossy().into_owned()),
            None => ("the default", "info".to_owned()),
        },
    };
    let invalid = |reason: String| {
        bad_configuration(format!(
            "{name} is `{levels}`; write a level such as `debug`, or levels of modules \
             such as `info,wisp_serving=debug`: {reason}"
        ))
    };
    // RUST_LOG may be set for other programs, with names of modules alone.
    if is_setting && let Some(word) = misspelt_level(&levels) {
        return Err(invalid(format!("`{word}` is not a level")));
    }
    let mut filter = EnvFilter::try_new(&levels).map_err(|error| invalid(error.to_string()))?;
    for library in CHATTY.iter().filter(|library| !levels.contains(*library)) {
        let quiet = format!("{library}=error").parse();
        filter = filter.add_directive(quiet.context("no directive")?);
    }
    Ok(filter)
}

/// Returns the first word that is neither a level nor the level of a module, if there is one. The filter takes a
/// word alone for the name of a module, so that a misspelt level would disable the log.
fn misspelt_level(levels: &str) -> Option<&str> {
    let mut words = levels.split(',').map(str::trim);
    words.find(|word| {
        let is_blank = word.is_empty() && levels.trim().is_empty();
        let is_word = !word.contains(['=', '[']);
        is_blank || (is_word && word.parse::<LevelFilter>().is_err())
    })
}

/// Logs a panic in one line without a backtrace, and drops further panics within the interval. The panic
/// is caught where the work runs, and is handled there as a failure of that work.
fn log_panic(panic: &PanicHookInfo<'_>, last: &Mutex<Option<Instant>>) {
    let now = Instant::now();
    {
        let Ok(mut last) = last.lock() else {
            return;
        };
        let is_soon = |last: Instant| now.duration_since(last) < PANIC_INTERVAL;
        if last.is_some_and(is_soon) {
            return;
        }
        *last = Some(now);
    }
    let reason = panic.payload_as_str().unwrap_or("without a text");
    let reason: String = reason.chars().take(MAX_PANIC_CHARS).collect();
    let place = panic.location().map(tracing::field::display);
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("without a name");
    tracing::error!(thread, place, reason, "a panic");
}

impl<'writer> FormatFields<'writer> for EscapedFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut visitor = Fields {
            writer,
            separator: "",
            written: Ok(()),
        };
        fields.record(&mut visitor);
        visitor.written
    }
}

impl Fields<'_> {
    fn write(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if self.written.is_err() {
            return;
        }
        let (writer, value) = (&mut self.writer, OneLine(value));
        let separator = std::mem::replace(&mut self.separator, " ");
        self.written = match field.name() {
            "message" => write!(writer, "{separator}{value}"),
            name if writer.has_ansi_escapes() => {
                write!(
                    writer,
                    "{separator}\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m{value}"
                )
            }
            name => write!(writer, "{separator}{name}={value}"),
        };
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.write(field, format_args!("{value:?}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.write(field, format_args!("{}", Chain(value)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::Arc;

    #[derive(Debug, Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns the lines that `write` logs as JSON.
    fn json_lines(write: impl FnOnce()) -> anyhow::Result<String> {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .fmt_fields(EscapedFields)
            .event_format(JsonLines)
            .finish();
        tracing::subscriber::with_default(subscriber, write);
        let text = String::from_utf8(written.0.lock().unwrap().clone())?;
        Ok(text)
    }

    #[test]
    fn a_misspelt_level_does_not_disable_the_log() {
        for levels in ["loud", "ifno", "info,loud", "", " ", "wisp=loud"] {
            let error = filter(Some(levels)).map(|_| ()).unwrap_err().to_string();
            let expected = format!("the log setting is `{levels}`; write a level such as `debug`");
            assert!(error.starts_with(&expected), "{error}");
        }
        for levels in [
            "off",
            "ERROR",
            "info,",
            "3",
            "info,wisp_serving=debug",
            "warn,handler=info,[request]=debug",
        ] {
            assert!(filter(Some(levels)).is_ok(), "{levels}");
        }
    }

    #[test]
    fn a_json_line_has_the_fields_beside_the_time_the_level_and_the_target() -> anyhow::Result<()> {
        let text = json_lines(|| {
            tracing::warn!(model = "wine", model_version = %3, status = 502, whole = true, "failed");
        })?;
        let mut line: serde_json::Value = serde_json::from_str(&text)?;
        let timestamp = line["timestamp"].take();
        let timestamp = timestamp.as_str().context("a timestamp")?;
        assert!(
            timestamp.ends_with('Z') && timestamp.contains('T'),
            "{timestamp}"
        );
        let expected = serde_json::json!({
            "timestamp": null,
            "level": "WARN",
            "target": "wisp::serve::log_lines::tests",
            "message": "failed",
            "model": "wine",
            "model_version": "3",
            "status": 502,
            "whole": true,
        });
        assert_eq!(line, expected);
        Ok(())
    }

    #[test]
    fn a_json_line_is_one_line_whatever_it_repeats() -> anyhow::Result<()> {
        let name = "a\n{\"level\":\"ERROR\"}\r\"\\\u{202e}\u{2028}\x1b[2J\u{85}";
        let text = json_lines(|| {
            let error = anyhow::Error::from(io::Error::other(name)).context("not loaded");
            let error: &(dyn Error + 'static) = error.as_ref();
            tracing::warn!(name, shown = %name, error, level = name, "{name}");
        })?;
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let line = text.trim_end_matches('\n');
        assert!(
            !line.contains(wisp_tensor::sanitize::is_unsafe_to_show),
            "{line}"
        );
        let line: serde_json::Value = serde_json::from_str(line)?;
        for key in ["name", "shown", "message", "field.level"] {
            assert_eq!(line[key], name, "{key}");
        }
        assert_eq!(line["error"], format!("not loaded: {name}"));
        assert_eq!(line["level"], "WARN");
        Ok(())
    }

    #[test]
    fn a_line_is_a_line_whatever_it_repeats() -> anyhow::Result<()> {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .without_time()
            .fmt_fields(EscapedFields)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let name = "a\n2026-01-01 ERROR b\u{202e}\x1b[2J";
            let error = io::Error::other(name);
            let error = anyhow::Error::from(error).context("not loaded\u{2028}");
            let error: &(dyn Error + 'static) = error.as_ref();
            tracing::warn!(name, shown = %name, error, count = 3, "{name}");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone())?;
        let name = r"a\n2026-01-01 ERROR b\u{202e}\u{1b}[2J";
        let expected = format!(
            " WARN wisp::serve::log_lines::tests: {name} name=\"{name}\" shown={name} \
             error=not loaded\\u{{2028}}: {name} count=3\n"
        );
        assert_eq!(text, expected);
        Ok(())
    }
}
