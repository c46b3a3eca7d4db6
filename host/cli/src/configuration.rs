//! Merges the sources of a setting: arguments, environment variables, the configuration file, defaults,
//! in this order of precedence.
//!
//! clap itself implements the order of the other three. The values of the file are passed to it as
//! defaults, so that they go through the same parsers. `setting` derives the settings from the definition
//! of `wisp serve`, `file` reads the configuration file, `effective` contains the result with the source
//! of each value, and `schema` and `reference` describe the settings.

mod effective;
mod file;
pub(crate) mod reference;
pub(crate) mod schema;
mod setting;

use crate::failure::bad_configuration;
use crate::options::{CONFIG_VARIABLE, Command, Options, TlsArgs};
use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, FromArgMatches};
use file::ConfigurationFile;
use setting::{SERVE, settings};
use std::ffi::OsString;
use std::path::PathBuf;

pub(crate) use effective::EffectiveConfiguration;

/// The merged sources.
#[derive(Debug)]
pub(crate) struct Configuration {
    pub(crate) options: Options,
    /// The values and sources of all settings; empty if nothing needs them.
    pub(crate) effective: EffectiveConfiguration,
}

/// Parses the arguments of the program, its environment, and the configuration file that they name.
pub(crate) fn parse(arguments: Vec<OsString>) -> anyhow::Result<Configuration> {
    let command = Options::command();
    let file = configuration_file(&command, &arguments);
    let file = file.map(ConfigurationFile::read).transpose()?;
    let mut command = match &file {
        Some(file) => command.mut_subcommand(SERVE, |serve| file.set_defaults(serve)),
        None => command,
    };
    let matches = command.try_get_matches_from_mut(arguments);
    let matches = matches.map_err(name_variable)?;
    let options = Options::from_arg_matches(&matches);
    let options = options.map_err(|error| error.format(&mut command))?;
    let mut effective = EffectiveConfiguration::default();
    if let (Command::Serve(args), Some(matches)) =
        (&options.command, matches.subcommand_matches(SERVE))
    {
        check_tls(&args.tls)?;
        // Printed, compared with a file that has changed, or passed on to the workers of tenants. Other servers start without the definitions of
        // all settings.
        if args.check_config || file.is_some() || args.tenancy.tenants.is_some() {
            effective = EffectiveConfiguration::new(matches, file.as_ref());
        }
    }
    Ok(Configuration { options, effective })
}

/// Returns the configuration file that the arguments or the environment name. Errors in them are ignored
/// here, and reported by [`parse`].
fn configuration_file(command: &clap::Command, arguments: &[OsString]) -> Option<PathBuf> {
    let is_argument = |argument: &OsString| argument.as_encoded_bytes().starts_with(b"--config");
    if std::env::var_os(CONFIG_VARIABLE).is_none() && !arguments.iter().any(is_argument) {
        return None;
    }
    // The file may contain arguments that are required otherwise.
    let optional = |serve: clap::Command| serve.mut_args(|argument| argument.required(false));
    let command = command.clone().mut_subcommand(SERVE, optional);
    let matches = command.try_get_matches_from(arguments).ok()?;
    matches
        .subcommand_matches(SERVE)?
        .get_one("config")
        .cloned()
}

/// Adds the name of the environment variable to an error in its value, since clap names the argument
/// only.
fn name_variable(error: clap::Error) -> anyhow::Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let (Some(argument), Some(value)) = (
        text(ContextKind::InvalidArg),
        text(ContextKind::InvalidValue),
    ) else {
        return error.into();
    };
    let is_source = |variable: &str| {
        std::env::var(variable).is_ok_and(|found| found.split(',').any(|part| part == value))
    };
    let settings = settings();
    let setting = settings
        .iter()
        .find(|setting| setting.argument == argument && is_source(&setting.variable));
    match setting.map(|setting| (setting, setting.check(value.as_ref()))) {
        Some((setting, Err(expected))) => bad_configuration(format!(
            "`{value}` is not a value of the environment variable {}: {expected}",
            setting.variable
        )),
        _ => error.into(),
    }
}

/// Checks that TLS has a certificate and a key, or nothing at all.
fn check_tls(args: &TlsArgs) -> anyhow::Result<()> {
    if args.tls_client_crl.is_some() && args.tls_client_ca.is_none() {
        return Err(bad_configuration(
            "--tls-client-crl has the certificates that authorities have revoked; --tls-client-ca is not set",
        ));
    }
    let missing = match (&args.tls_cert, &args.tls_key, &args.tls_client_ca) {
        (Some(_), None, _) => "--tls-key",
        (None, Some(_), _) => "--tls-cert",
        (None, None, Some(_)) => {
            return Err(bad_configuration(
                "--tls-client-ca is for the certificates of clients that use TLS; --tls-cert is not set",
            ));
        }
        _ => return Ok(()),
    };
    Err(bad_configuration(format!(
        "TLS needs a certificate and a key; {missing} is not set"
    )))
}

#[cfg(test)]
mod tests;
