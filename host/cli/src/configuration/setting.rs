//! The settings of `wisp serve`, derived from the definitions of its arguments.

use crate::options::{Milliseconds, Options, Seconds};
use clap::builder::ValueParser;
use clap::{Arg, ArgAction, Command, CommandFactory};
use std::any::TypeId;
use std::error::Error;
use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use wisp_serving::sample_ratio::SampleRatio;

/// The subcommand whose arguments are settings.
pub(super) const SERVE: &str = "serve";

/// Arguments of `wisp serve` that are not settings. A negation, such as `--no-exit-on-error`, is another
/// form of the argument of a setting.
const NOT_SETTINGS: [&str; 6] = [
    "config",
    "check_config",
    "no_exit_on_error",
    "no_cage",
    "help",
    "version",
];

/// The start of the description of a default that is not one fixed value.
const DEFAULT: &str = "[default: ";

/// One setting of the server.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    /// The key in the configuration file.
    pub(crate) key: String,
    /// The argument, such as `--http <ADDR>`.
    pub(crate) argument: String,
    /// The environment variable.
    pub(crate) variable: String,
    pub(crate) kind: Kind,
    /// Set if the setting may have any number of values.
    pub(crate) is_list: bool,
    pub(crate) description: String,
    pub(crate) default: DefaultValue,
    /// The allowed values with their descriptions; empty if there are other ones.
    pub(crate) values: Vec<(String, String)>,
    parser: ValueParser,
}

/// The type of a setting's values in the configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    /// A positive integer.
    Integer,
    /// A number from 0 to 1.
    Ratio,
    String,
    Path,
}

/// The value of a setting that has not been set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DefaultValue {
    Value(String),
    /// A description of a value that depends on the machine or on the environment.
    Described(String),
    Absent,
}

/// Returns the settings in the order of `wisp serve --help`.
pub(crate) fn settings() -> Vec<Setting> {
    let mut options = Options::command();
    // Completes the definitions, which are partly implied.
    options.build();
    let serve = options.find_subcommand(SERVE);
    let arguments = serve.into_iter().flat_map(Command::get_arguments);
    arguments
        .filter(|argument| !NOT_SETTINGS.contains(&argument.get_id().as_str()))
        .map(Setting::new)
        .collect()
}

impl Setting {
    fn new(argument: &Arg) -> Setting {
        let help = argument.get_long_help().or(argument.get_help());
        let help = help.map(ToString::to_string).unwrap_or_default();
        let (description, described) = split_default(&help);
        let value = argument.get_default_values().first();
        let value = value.map(|value| value.to_string_lossy().into_owned());
        let variable = argument.get_env().unwrap_or_default();
        let parser = argument.get_value_parser();
        let kind = Kind::of(parser);
        let values = match kind {
            Kind::Boolean => Vec::new(),
            _ => possible_values(argument),
        };
        Setting {
            key: argument.get_id().to_string(),
            argument: argument.to_string(),
            variable: variable.to_string_lossy().into_owned(),
            kind,
            is_list: matches!(argument.get_action(), ArgAction::Append),
            description,
            default: match (value, described) {
                (Some(value), _) => DefaultValue::Value(value),
                (None, Some(text)) => DefaultValue::Described(text),
                (None, None) => DefaultValue::Absent,
            },
            values,
            parser: parser.clone(),
        }
    }

    /// Checks a single value with the parser of the argument. Returns a description of the values that
    /// the parser accepts.
    pub(super) fn check(&self, value: &OsStr) -> Result<(), String> {
        let argument = Arg::new("value")
            .value_parser(self.parser.clone())
            .allow_hyphen_values(true);
        let command = Command::new("check").no_binary_name(true).arg(argument);
        let checked = command.try_get_matches_from([value]);
        checked.map(drop).map_err(|error| match error.source() {
            Some(expected) => expected.to_string(),
            None if self.kind == Kind::Boolean => "expected one of true, false".to_owned(),
            None if self.values.is_empty() => "expected a value that is not empty".to_owned(),
            None => {
                let names: Vec<_> = self.values.iter().map(|(name, _)| name.as_str()).collect();
                format!("expected one of {}", names.join(", "))
            }
        })
    }
}

impl Kind {
    fn of(parser: &ValueParser) -> Kind {
        let id = parser.type_id();
        let integers = [
            TypeId::of::<usize>(),
            TypeId::of::<NonZeroUsize>(),
            TypeId::of::<Seconds>(),
            TypeId::of::<Milliseconds>(),
        ];
        if id == TypeId::of::<bool>() {
            Kind::Boolean
        } else if integers.iter().any(|integer| id == *integer) {
            Kind::Integer
        } else if id == TypeId::of::<SampleRatio>() {
            Kind::Ratio
        } else if id == TypeId::of::<PathBuf>() {
            Kind::Path
        } else {
            Kind::String
        }
    }
}

/// Splits a help text into the description and the description of the default.
fn split_default(help: &str) -> (String, Option<String>) {
    let found = help.split_once(DEFAULT).and_then(|(before, rest)| {
        let (default, after) = rest.split_once(']')?;
        let description = format!("{}{after}", before.trim_end());
        Some((description, default.to_owned()))
    });
    match found {
        Some((description, default)) => (description, Some(default)),
        None => (help.to_owned(), None),
    }
}

fn possible_values(argument: &Arg) -> Vec<(String, String)> {
    let values = argument.get_possible_values();
    let values = values.into_iter().map(|value| {
        let help = value.get_help().map(ToString::to_string);
        (value.get_name().to_owned(), help.unwrap_or_default())
    });
    values.collect()
}
