//! The reference of all settings in Markdown, which `docs/configuration.sh` writes to the book.

use super::file::toml_value;
use super::setting::{DefaultValue, Kind, Setting, settings};
use std::fmt::Write;

/// Returns one section per setting.
pub(crate) fn reference() -> String {
    let sections: Vec<String> = settings().iter().map(section).collect();
    sections.join("\n")
}

fn section(setting: &Setting) -> String {
    let Setting {
        key,
        argument,
        variable,
        description,
        ..
    } = setting;
    let kind = match setting.kind {
        _ if setting.is_list => "array of strings",
        Kind::Boolean => "boolean",
        Kind::Integer => "integer",
        Kind::Ratio => "number",
        Kind::String => "string",
        Kind::Path => "path",
    };
    let default = match &setting.default {
        DefaultValue::Value(value) => format!("`{}`", toml_value(setting.kind, value)),
        DefaultValue::Described(text) => text.clone(),
        DefaultValue::Absent => "none".to_owned(),
    };
    let description = description.trim_end_matches('.');
    let mut text = format!(
        "### `{key}`\n\n{description}.\n\n\
         | type | default | argument | environment variable |\n|---|---|---|---|\n\
         | {kind} | {default} | `{argument}` | `{variable}` |\n"
    );
    if !setting.values.is_empty() {
        text.push_str("\n| value | |\n|---|---|\n");
    }
    for (name, help) in &setting.values {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "| `{name}` | {help} |");
    }
    text
}
