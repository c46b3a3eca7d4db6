//! The reload on SIGHUP: the certificate, the configuration file, and the levels of the log.
//!
//! SIGHUP never ends the process. Of the settings in the configuration file, only `log` is applied while the server
//! runs; changes of others are logged. A file that cannot be used changes nothing.

use super::log_lines::LogLevels;
use crate::configuration;
use crate::options::{Command, ServeArgs};
use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use wisp_server::tls::Tls;

/// The key of the setting that a reload applies.
const LOG: &str = "log";

/// Reloads on each SIGHUP. `tls` is the certificate, if there is one.
pub(super) fn reload_on_hangup(
    args: &ServeArgs,
    tls: Option<Arc<Tls>>,
    log: LogLevels,
) -> std::io::Result<impl Future<Output = Infallible>> {
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        while hangup.recv().await.is_some() {
            if let Some(tls) = &tls {
                tls.reload().await;
            }
            match &args.config {
                Some(_) => reload_configuration(args, &log),
                None if tls.is_none() => {
                    tracing::info!(
                        "SIGHUP: there is neither a certificate nor a configuration file to reload"
                    );
                }
                None => {}
            }
        }
        std::future::pending().await
    })
}

/// Reads the configuration file again, and applies the settings that can be changed.
fn reload_configuration(args: &ServeArgs, log: &LogLevels) {
    let changed = changed_settings(args).and_then(|changed| {
        log.set(changed.log.as_deref())?;
        Ok(changed)
    });
    match changed {
        Ok(Changed { keys, .. }) if keys.is_empty() => {
            tracing::info!("reloaded the configuration");
        }
        Ok(Changed { keys, .. }) => {
            let keys = keys.join(", ");
            tracing::warn!(
                %keys,
                "reloaded the configuration; these settings have changed, and apply after a restart"
            );
        }
        Err(error) => {
            let error: &(dyn Error + 'static) = error.as_ref();
            tracing::error!(
                error,
                "failed to reload the configuration; the old one stays in use"
            );
        }
    }
}

/// The settings that have changed since the start.
struct Changed {
    log: Option<String>,
    /// The keys of the settings that are not applied.
    keys: Vec<String>,
}

/// Merges the sources of the settings again, and compares the result with the settings of the start.
fn changed_settings(args: &ServeArgs) -> anyhow::Result<Changed> {
    let options = configuration::parse(std::env::args_os().collect())?;
    let Command::Serve(new) = options.command else {
        anyhow::bail!("the arguments belong to another command");
    };
    let keys = args.effective.changed_keys(&new.effective).into_iter();
    let keys = keys.filter(|key| *key != LOG).map(str::to_owned).collect();
    Ok(Changed { keys, log: new.log })
}
