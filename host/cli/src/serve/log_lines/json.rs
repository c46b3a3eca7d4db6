//! The log as JSON: one object per line.
//!
//! An object begins with `timestamp`, `level` and `target`. The message and the fields of the event follow
//! as further members, so that `request_id` and `model` are at the top. Spans are not included: Wisp has
//! none.
//!
//! Invariant: characters that could end the line, control a terminal or reorder its text are escaped as
//! JSON escapes them.

use super::error_chain::Chain;
use serde_json::Value;
use std::error::Error;
use std::fmt::{self, Debug, Write};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;
use wisp_tensor::sanitize::is_unsafe_to_show;

/// Formats each event as a JSON object on one line.
pub(super) struct JsonLines;

/// The members of an object, as JSON with commas between them.
#[derive(Debug, Default)]
struct Members(String);

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let metadata = event.metadata();
        let mut members = Members::default();
        members.push("timestamp", timestamp);
        members.push("level", metadata.level().as_str());
        members.push("target", metadata.target());
        event.record(&mut members);
        writer.write_char('{')?;
        write_escaped(&mut writer, &members.0)?;
        writer.write_str("}\n")
    }
}

/// Writes JSON, with an escape for each unsafe character. All of these are within strings.
fn write_escaped(writer: &mut Writer<'_>, json: &str) -> fmt::Result {
    if !json.contains(is_unsafe_to_show) {
        return writer.write_str(json);
    }
    for character in json.chars() {
        match is_unsafe_to_show(character) {
            true => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            false => writer.write_char(character)?,
        }
    }
    Ok(())
}

impl Members {
    fn push(&mut self, name: &str, value: impl Into<Value>) {
        let separator = if self.0.is_empty() { "" } else { "," };
        let (name, value) = (Value::from(name), value.into());
        // Writing to a `String` cannot fail.
        let _ = write!(self.0, "{separator}{name}:{value}");
    }

    /// Adds a field of the event. Its name stays distinct from the names of the other members.
    fn push_field(&mut self, field: &Field, value: impl Into<Value>) {
        match field.name() {
            name @ ("timestamp" | "level" | "target") => self.push(&format!("field.{name}"), value),
            name => self.push(name, value),
        }
    }
}

impl Visit for Members {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push_field(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push_field(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push_field(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push_field(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push_field(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.push_field(field, Chain(value).to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.push_field(field, format!("{value:?}"));
    }
}
