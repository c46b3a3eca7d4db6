//! The lines that handlers log, on standard error, for commands that run a model without a server.
//!
//! Only these lines are shown, at every level, and each with its level alone: there is one model and one
//! request at a time.

use std::fmt::{self, Debug};
use tracing::field::{Field, Visit};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// The levels of the lines: all levels of handlers.
const LEVELS: &str = "off,handler=trace";

/// Formats the text of a line without its fields.
struct TextOnly;

/// The text of one line.
struct Text<'a> {
    writer: Writer<'a>,
    written: fmt::Result,
}

/// Shows the lines from now on.
pub(crate) fn show() {
    let shown = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(LEVELS))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .fmt_fields(TextOnly)
        .try_init();
    // A command shows them once; an error could only mean that they are shown already.
    let _ = shown;
}

impl<'writer> FormatFields<'writer> for TextOnly {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut text = Text {
            writer,
            written: Ok(()),
        };
        fields.record(&mut text);
        text.written
    }
}

impl Visit for Text<'_> {
    // The text has no control characters: the sandbox has escaped them.
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" && self.written.is_ok() {
            self.written = write!(self.writer, "{value:?}");
        }
    }
}
