//! The reload on SIGHUP: the certificate, the configuration file, and the levels of the log.
//!
//! SIGHUP never ends the process. Of the settings in the configuration file, only `log` is applied while the server
//! runs; changes of others are logged. A file that cannot be used changes nothing.

use super::log_lines::LogLevels;
use crate::configuration::{self, EffectiveConfiguration};
use crate::options::{Command, ServeArgs};
use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use wisp_server::tls::Tls;

/// The key of the setting that a reload applies.
const LOG: &str = "log";

/// Reloads on each SIGHUP. `effective` is the configuration at the start; `tls` is the certificate, if there is one.
pub(super) fn reload_on_hangup(
    args: &ServeArgs,
    effective: &EffectiveConfiguration,
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
                Some(_) => reload_configuration(effective, &log),
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
fn reload_configuration(effective: &EffectiveConfiguration, log: &LogLevels) {
    let changed = changed_settings(effective).and_then(|changed| {
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
fn changed_settings(effective: &EffectiveConfiguration) -> anyhow::Result<Changed> {
    let new = configuration::parse(std::env::args_os().collect())?;
    let Command::Serve(args) = new.options.command else {
        anyhow::bail!("the arguments belong to another command");
    };
    let keys = effective.changed_keys(&new.effective).into_iter();
    let keys = keys.filter(|key| *key != LOG).map(str::to_owned).collect();
    Ok(Changed {
        keys,
        log: args.log,
    })
}
