//! `wisp serve --check-config`: checks a configuration without starting anything.

use super::{expect_build, expect_path, log_lines, startup, tenancy};
use crate::loading::{checked_backends, optional_cache_directory};
use crate::options::ServeArgs;
use std::io::Write;
use std::process::ExitCode;
use wisp_server::ServerOptions;

/// Prints the effective configuration, then checks what the parsers of the values cannot: the files and
/// the limits of this machine. Fails with the first problem.
pub(super) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    write!(std::io::stdout(), "{}", args.effective)?;
    log_lines::filter(args.log.as_deref())?;
    expect_path(&args.repository)?;
    expect_build(args)?;
    tenancy::check(args)?;
    startup::server_options(args, ServerOptions::default())?;
    startup::load_certificate(&args.tls)?;
    args.response_cache.options()?;
    args.upload.signatures()?;
    let cache = optional_cache_directory(args.cache.cache_dir.as_deref());
    checked_backends(&args.backend, cache.as_deref())?;
    Ok(ExitCode::SUCCESS)
}
