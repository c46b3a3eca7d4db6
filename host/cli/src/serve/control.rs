//! Changes of the served models while the server runs.

use crate::options::{GrpcAddress, ModelControlMode, ServeArgs};
use std::sync::Arc;
use std::time::Duration;
use wisp_serving::Serving;
use wisp_serving::model_control::{ControlError, ControlMode, ModelControl};
use wisp_serving::registry::loader::{Loaded, Loader};
use wisp_serving::registry::snapshot::Snapshot;
use wisp_serving::repository_poll::{Applied, Change, PollError};

/// Returns the control of the models of the repository.
pub(super) fn model_control(args: &ServeArgs, loader: Loader) -> ModelControl {
    ModelControl::new(
        loader,
        args.repository.clone(),
        control_mode(args),
        report_load,
    )
}

/// Returns the control mode. Loading and unloading affect all clients, and there are no tenants whose
/// rights could be checked. Both are therefore allowed only if the server listens on loopback addresses
/// only.
fn control_mode(args: &ServeArgs) -> ControlMode {
    let grpc = match args.grpc {
        GrpcAddress::At(address) => Some(address),
        GrpcAddress::Disabled => None,
    };
    let is_local = [Some(args.http), grpc]
        .iter()
        .flatten()
        .all(|address| address.ip().is_loopback());
    match args.model_control_mode {
        ModelControlMode::None => ControlMode::Disabled,
        ModelControlMode::Explicit if is_local => ControlMode::Explicit,
        ModelControlMode::Explicit => ControlMode::Forbidden,
        ModelControlMode::Poll => ControlMode::Poll,
    }
}

/// Loads and unloads models as the repository changes, if the server does so. Never completes otherwise.
pub(super) fn poll_repository(
    serving: &Arc<Serving>,
    files: Snapshot,
    interval: Duration,
) -> impl Future<Output = ()> + use<> {
    let poll = serving.poll(files);
    async move {
        match poll {
            Some(poll) => poll.run(interval, report_poll).await,
            None => std::future::pending().await,
        }
    }
}

/// Logs that a version has been loaded, or that loading has failed.
pub(super) fn report_load(model: &str, loaded: Loaded<'_>) {
    match loaded {
        Ok(version) => {
            for (graph, decision) in version.backend_selections() {
                match decision.rule {
                    // A repository may have a thousand tabular models.
                    Some(_) => tracing::debug!(%model, graph, %decision, "the backend by rule"),
                    None => tracing::info!(%model, graph, %decision, "the fastest backend"),
                }
                if let Some(problem) = &decision.record_problem {
                    tracing::warn!(
                        problem,
                        "selected backends cannot be stored, so every start measures them again"
                    );
                }
            }
            tracing::debug!(%model, "loaded");
        }
        Err(error) => tracing::warn!(%model, error = error as &dyn std::error::Error, "not loaded"),
    }
}

/// Logs the changes that a check of the repository has found.
fn report_poll(poll: Result<Vec<Change>, PollError>) {
    let changes = match poll {
        Ok(changes) => changes,
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            return tracing::warn!(
                error,
                "failed to check the repository; nothing is loaded or unloaded"
            );
        }
    };
    for Change { model, outcome } in changes {
        match outcome {
            Ok(Applied::Loaded) => tracing::info!(%model, "loaded after a change"),
            Ok(Applied::Removed) => tracing::info!(%model, "unloaded after its removal"),
            // Already logged by `report_load`, with its causes.
            Err(ControlError::Failed { .. }) => {}
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%model, error, "changed, but not loaded");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Command, Options};
    use clap::Parser;

    #[test]
    fn clients_control_models_only_where_every_address_is_this_machines() -> anyhow::Result<()> {
        for (arguments, expected) in [
            (&[][..], ControlMode::Explicit),
            (
                &["--http", "[::1]:0", "--grpc", "none"],
                ControlMode::Explicit,
            ),
            (&["--http", "0.0.0.0:0"], ControlMode::Forbidden),
            (&["--grpc", "0.0.0.0:0"], ControlMode::Forbidden),
            (&["--model-control-mode", "none"], ControlMode::Disabled),
            (
                &["--model-control-mode", "poll", "--http", "0.0.0.0:0"],
                ControlMode::Poll,
            ),
        ] {
            let line = [&["wisp", "serve", "models"], arguments].concat();
            let Command::Serve(args) = Options::try_parse_from(line)?.command else {
                anyhow::bail!("{arguments:?} is another command");
            };
            assert_eq!(control_mode(&args), expected, "{arguments:?}");
        }
        Ok(())
    }
}
