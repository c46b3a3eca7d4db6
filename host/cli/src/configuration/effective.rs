//! The values of all settings after the sources have been merged, each with its source.

use super::file::{ConfigurationFile, toml_value};
use super::setting::{DefaultValue, Setting, settings};
use clap::ArgMatches;
use clap::parser::ValueSource;
use std::ffi::OsString;
use std::fmt;

/// The width of the column with keys and values.
const VALUE_WIDTH: usize = 48;

/// The effective configuration. Its text form is a configuration file in which each line ends with the
/// source of the value.
#[derive(Debug, Default)]
pub(crate) struct EffectiveConfiguration {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    setting: Setting,
    values: Vec<String>,
    source: Source,
}

/// The source of a value.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    Argument,
    Environment,
    /// The configuration file; contains the file and the line.
    File(String),
    Default,
}

impl EffectiveConfiguration {
    /// Collects the values from the parsed arguments of `wisp serve`, in which the defaults include the
    /// values of the file.
    pub(super) fn new(
        matches: &ArgMatches,
        file: Option<&ConfigurationFile>,
    ) -> EffectiveConfiguration {
        let entry = |setting: Setting| {
            let key = setting.key.as_str();
            if is_negated(matches, key) {
                return Entry {
                    values: vec!["false".to_owned()],
                    setting,
                    source: Source::Argument,
                };
            }
            let source = match matches.value_source(key) {
                Some(ValueSource::CommandLine) => Source::Argument,
                Some(ValueSource::EnvVariable) => Source::Environment,
                _ => match file.and_then(|file| file.position(key)) {
                    Some(position) => Source::File(position),
                    None => Source::Default,
                },
            };
            let values = matches.get_raw(key).into_iter().flatten();
            let values = values.map(|value| value.to_string_lossy().into_owned());
            Entry {
                values: values.collect(),
                setting,
                source,
            }
        };
        EffectiveConfiguration {
            entries: settings().into_iter().map(entry).collect(),
        }
    }
}

impl EffectiveConfiguration {
    /// Returns the keys of the settings that have another value in `other`.
    pub(crate) fn changed_keys(&self, other: &EffectiveConfiguration) -> Vec<&str> {
        let pairs = self.entries.iter().zip(&other.entries);
        pairs
            .filter(|(entry, other)| entry.values != other.values)
            .map(|(entry, _)| entry.setting.key.as_str())
            .collect()
    }

    /// Returns the values of the settings with these keys as arguments of `wisp serve`.
    pub(crate) fn arguments(&self, keys: &[&str]) -> Vec<OsString> {
        let entries = self.entries.iter();
        let chosen = entries.filter(|entry| keys.contains(&entry.setting.key.as_str()));
        let arguments = chosen.flat_map(|entry| {
            let name = entry.setting.key.replace('_', "-");
            let values = entry.values.iter();
            values.map(move |value| OsString::from(format!("--{name}={value}")))
        });
        arguments.collect()
    }
}

/// Returns the value as it is, or as a URL without its password.
fn without_password(value: &str) -> String {
    let url = value.split_once("://");
    let parts = url.and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?)));
    match parts {
        Some((scheme, (login, host))) => match login.split_once(':') {
            Some((user, _)) => format!("{scheme}://{user}:***@{host}"),
            None => value.to_owned(),
        },
        None => value.to_owned(),
    }
}

/// Returns whether the arguments contain the negation of a setting, such as `--no-exit-on-error`.
fn is_negated(matches: &ArgMatches, key: &str) -> bool {
    matches!(
        matches.try_get_one::<bool>(&format!("no_{key}")),
        Ok(Some(true))
    )
}

impl fmt::Display for EffectiveConfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries
            .iter()
            .try_for_each(|entry| writeln!(f, "{entry}"))
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setting {
            key, kind, is_list, ..
        } = &self.setting;
        let shown = |value: &String| toml_value(*kind, &without_password(value));
        let values = self.values.iter().map(shown);
        let values: Vec<_> = values.collect();
        let assignment = match values.as_slice() {
            [] if self.source == Source::Default => format!("# {key}"),
            _ if *is_list => format!("{key} = [{}]", values.join(", ")),
            values => format!("{key} = {}", values.concat()),
        };
        write!(f, "{assignment:VALUE_WIDTH$}  # ")?;
        match (&self.source, &self.setting.default) {
            (Source::Argument, _) => write!(f, "argument {}", self.setting.argument),
            (Source::Environment, _) => write!(f, "environment {}", self.setting.variable),
            (Source::File(position), _) => write!(f, "file {position}"),
            (Source::Default, DefaultValue::Described(text)) => write!(f, "default: {text}"),
            (Source::Default, DefaultValue::Value(_)) => f.write_str("default"),
            (Source::Default, DefaultValue::Absent) => f.write_str("default: none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_in_a_url_is_not_shown() {
        for (value, shown) in [
            ("redis://:secret@h:1/2", "redis://:***@h:1/2"),
            ("rediss://user:s@cret@h", "rediss://user:***@h"),
            ("redis://user@h", "redis://user@h"),
            ("https://app.example.com", "https://app.example.com"),
            ("127.0.0.1:8000", "127.0.0.1:8000"),
        ] {
            assert_eq!(without_password(value), shown);
        }
    }
}
