//! The configuration file: reads it, and checks every key and value before any of them is used.
//!
//! All errors of a file are reported together, each with its line and the correct form.

use super::setting::{DefaultValue, Kind, Setting, settings};
use crate::display;
use crate::failure::{BadConfiguration, bad_configuration};
use anyhow::Context;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use toml::{Spanned, Value};

/// The least similarity of a key to the one that is suggested instead, from 0 to 1.
const MIN_SIMILARITY: f64 = 0.72;

/// A configuration file whose keys and values are valid.
#[derive(Debug)]
pub(super) struct ConfigurationFile {
    path: PathBuf,
    entries: BTreeMap<String, FileEntry>,
}

/// The value of one setting.
#[derive(Debug)]
struct FileEntry {
    line: usize,
    /// The values as arguments: one, or any number for a list.
    values: Vec<OsString>,
}

impl ConfigurationFile {
    pub(super) fn read(path: PathBuf) -> anyhow::Result<ConfigurationFile> {
        let shown = display::path(&path);
        let text = std::fs::read_to_string(&path).context(BadConfiguration::new(format!(
            "failed to read the configuration file `{shown}`"
        )))?;
        let directory = path.parent().unwrap_or(Path::new(""));
        let entries = parse(&text, directory).map_err(|errors| {
            let lines = errors
                .iter()
                .map(|(line, error)| format!("{shown}:{line}: {error}"));
            bad_configuration(lines.collect::<Vec<_>>().join("\n"))
        })?;
        Ok(ConfigurationFile { path, entries })
    }

    /// Makes the values of the file the defaults of the arguments.
    pub(super) fn set_defaults(&self, serve: clap::Command) -> clap::Command {
        serve.mut_args(
            |argument| match self.entries.get(argument.get_id().as_str()) {
                Some(entry) => argument.required(false).default_values(&entry.values),
                None => argument,
            },
        )
    }

    /// Returns the position of a setting in the file, such as `wisp.toml:3`.
    pub(super) fn position(&self, key: &str) -> Option<String> {
        let line = self.entries.get(key)?.line;
        Some(format!("{}:{line}", display::path(&self.path)))
    }
}

/// Returns the entries of a file in `directory`, or every error with its line.
fn parse(
    text: &str,
    directory: &Path,
) -> Result<BTreeMap<String, FileEntry>, Vec<(usize, String)>> {
    let line = |position: usize| 1 + text.bytes().take(position).filter(|&b| b == b'\n').count();
    let table: BTreeMap<String, Spanned<Value>> = toml::from_str(text).map_err(|error| {
        let position = error.span().map_or(0, |span| span.start);
        vec![(line(position), error.message().replace('\n', "; "))]
    })?;
    let settings = settings();
    let mut entries = BTreeMap::new();
    let mut errors = Vec::new();
    for (key, value) in table {
        let line = line(value.span().start);
        let setting = settings.iter().find(|setting| setting.key == key);
        let values = match setting {
            Some(setting) => values(setting, value.get_ref(), directory),
            None => Err(unknown_key(&key, &settings)),
        };
        match values {
            Ok(values) => drop(entries.insert(key, FileEntry { line, values })),
            Err(error) => errors.push((line, error)),
        }
    }
    errors.sort();
    match errors.is_empty() {
        true => Ok(entries),
        false => Err(errors),
    }
}

/// Returns the values of a setting as arguments.
fn values(setting: &Setting, value: &Value, directory: &Path) -> Result<Vec<OsString>, String> {
    let elements = match value {
        Value::Array(elements) if setting.is_list => elements.as_slice(),
        _ if setting.is_list => return Err(wrong_type(setting, value)),
        value => std::slice::from_ref(value),
    };
    let value = |element| argument(setting, element, directory);
    elements.iter().map(value).collect()
}

/// Returns a single value as an argument.
fn argument(setting: &Setting, value: &Value, directory: &Path) -> Result<OsString, String> {
    let argument = match (setting.kind, value) {
        (Kind::Boolean, Value::Boolean(value)) => value.to_string().into(),
        (Kind::Integer, Value::Integer(value)) => value.to_string().into(),
        (Kind::Ratio, Value::Integer(value)) => value.to_string().into(),
        (Kind::Ratio, Value::Float(value)) => value.to_string().into(),
        (Kind::String, Value::String(value)) => value.into(),
        // An empty path stays empty, and is rejected below.
        (Kind::Path, Value::String(value)) if value.is_empty() => OsString::new(),
        (Kind::Path, Value::String(value)) => directory.join(value).into_os_string(),
        _ => return Err(wrong_type(setting, value)),
    };
    let key = &setting.key;
    let checked = setting.check(&argument);
    checked.map_err(|expected| format!("{value} is not a value of `{key}`: {expected}"))?;
    Ok(argument)
}

fn wrong_type(setting: &Setting, value: &Value) -> String {
    let key = &setting.key;
    let form = match setting.kind {
        _ if setting.is_list => "an array of strings",
        Kind::Boolean => "`true` or `false`",
        Kind::Integer => "an integer",
        Kind::Ratio => "a number",
        Kind::String | Kind::Path => "a string",
    };
    let example = match &setting.default {
        DefaultValue::Value(value) => {
            format!(", such as `{key} = {}`", toml_value(setting.kind, value))
        }
        DefaultValue::Described(_) | DefaultValue::Absent => String::new(),
    };
    let found = value.type_str();
    format!("`{key}` is of type {found}; write {form}{example}")
}

fn unknown_key(key: &str, settings: &[Setting]) -> String {
    let wanted = key.replace('-', "_");
    let similar = settings
        .iter()
        .map(|setting| (strsim::jaro(&wanted, &setting.key), &setting.key))
        .filter(|(similarity, _)| *similarity > MIN_SIMILARITY)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    match similar {
        Some((_, nearest)) => format!("unknown key `{key}`; did you mean `{nearest}`?"),
        None => format!("unknown key `{key}`; `wisp config reference` lists the keys"),
    }
}

/// Formats an argument's value as TOML.
pub(super) fn toml_value(kind: Kind, value: &str) -> String {
    match kind {
        Kind::Boolean | Kind::Integer | Kind::Ratio => value.to_owned(),
        Kind::String | Kind::Path => Value::from(value).to_string(),
    }
}
