//! Checks of the configuration before anything is started: those of every start, and the further ones of
//! `wisp serve --check-config`.

use super::{log_lines, startup, tenancy};
use crate::configuration::EffectiveConfiguration;
use crate::failure::bad_configuration;
use crate::loading::{checked_backends, optional_cache_directory};
use crate::options::ServeArgs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use wisp_server::ServerOptions;

/// Prints the effective configuration, then checks what the parsers of the values cannot: the files and
/// the limits of this machine. Fails with the first problem.
pub(super) fn run(
    args: &ServeArgs,
    effective: &EffectiveConfiguration,
) -> anyhow::Result<ExitCode> {
    write!(std::io::stdout(), "{effective}")?;
    log_lines::filter(args.log.as_deref())?;
    check(args)?;
    startup::server_options(args, ServerOptions::default())?;
    startup::load_certificate(&args.tls)?;
    args.response_cache.options()?;
    args.upload.signatures()?;
    let cache = optional_cache_directory(args.cache.cache_dir.as_deref());
    checked_backends(&args.backend, cache.as_deref())?;
    Ok(ExitCode::SUCCESS)
}

/// Checks the settings that depend on each other or on files, as every start does.
pub(super) fn check(args: &ServeArgs) -> anyhow::Result<()> {
    expect_path(&args.repository)?;
    expect_build(args)?;
    tenancy::check(args)
}

/// Rejects a watch without a build.
fn expect_build(args: &ServeArgs) -> anyhow::Result<()> {
    match args.watch && !args.build {
        true => Err(bad_configuration(
            "--watch rebuilds handlers and needs --build: give both, or neither",
        )),
        false => Ok(()),
    }
}

/// Rejects a path that is neither a directory nor a regular file.
fn expect_path(path: &Path) -> anyhow::Result<()> {
    let problem = match path.exists() {
        true if path.is_dir() || path.is_file() => return Ok(()),
        true => "is neither a directory nor a model file",
        false => "does not exist",
    };
    let path = path.display();
    Err(bad_configuration(format!("`{path}` {problem}")))
}
