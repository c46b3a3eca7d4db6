//! Changes of the served models while the server runs.

use super::banner::Addresses;
use crate::options::{ModelControlMode, ServeArgs};
use std::sync::Arc;
use std::time::Duration;
use wisp_serving::Serving;
use wisp_serving::model_control::{ControlError, ControlMode, ModelControl};
use wisp_serving::registry::loader::{Loaded, Loader};
use wisp_serving::registry::snapshot::Snapshot;
use wisp_serving::repository_poll::{Applied, Change, PollError};
use wisp_serving::uploads::Uploads;

/// Returns the control of the models of the repository.
pub(super) fn model_control(
    args: &ServeArgs,
    addresses: &Addresses,
    (loader, uploads): (Loader, Option<Uploads>),
) -> ModelControl {
    let mode = match control_mode(args.model_control.model_control_mode, addresses) {
        // The roles of keys decide, and without a tenant only clients of this machine have the role of a deployment.
        ControlMode::Forbidden if args.tenancy.tenants.is_some() => ControlMode::Explicit,
        mode => mode,
    };
    let control = ModelControl::new(loader, args.repository.clone(), mode, report_load)
        .with_residency(args.model_control.residency())
        .with_uploads(uploads);
    match forbids_uploads(addresses, args.tenancy.tenants.is_some()) {
        true => control.forbidding_uploads(),
        false => control,
    }
}

/// Returns whether clients may not upload in any mode. Where roles do not decide, everyone who reaches the server could.
fn forbids_uploads(addresses: &Addresses, has_roles: bool) -> bool {
    !has_roles && !addresses.are_loopback()
}

/// Returns the control mode of a server without tenants. Loading and unloading affect all clients, and there are no
/// rights that could be checked. Both are therefore allowed only if the server listens on loopback addresses only.
fn control_mode(mode: ModelControlMode, addresses: &Addresses) -> ControlMode {
    match mode {
        ModelControlMode::None => ControlMode::Disabled,
        ModelControlMode::Explicit if addresses.are_loopback() => ControlMode::Explicit,
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
            for (graph, decision) in version.batching().decisions() {
                tracing::debug!(%model, graph, %decision, "the batching");
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
    use super::super::banner::Address;
    use super::*;

    #[test]
    fn clients_control_models_only_where_every_address_is_this_machines() -> anyhow::Result<()> {
        const LOCAL: &str = "127.0.0.1:8000";
        const ANY: &str = "0.0.0.0:8000";
        let address = |text: &str| {
            anyhow::Ok(Address {
                address: text.parse()?,
                // The socket that was passed decides, and not the address in the settings.
                is_activated: true,
            })
        };
        for (mode, http, grpc, expected) in [
            (
                ModelControlMode::Explicit,
                LOCAL,
                Some(LOCAL),
                ControlMode::Explicit,
            ),
            (
                ModelControlMode::Explicit,
                "[::1]:8000",
                None,
                ControlMode::Explicit,
            ),
            (
                ModelControlMode::Explicit,
                ANY,
                None,
                ControlMode::Forbidden,
            ),
            (
                ModelControlMode::Explicit,
                LOCAL,
                Some(ANY),
                ControlMode::Forbidden,
            ),
            (ModelControlMode::None, LOCAL, None, ControlMode::Disabled),
            (ModelControlMode::Poll, ANY, None, ControlMode::Poll),
        ] {
            let addresses = Addresses {
                scheme: "http",
                http: address(http)?,
                grpc: grpc.map(address).transpose()?,
                // Metrics for other machines leave the control to clients of this one.
                metrics: Some(ANY.parse()?),
                admin: None,
            };
            let is_open = [Some(http), grpc].contains(&Some(ANY));
            assert_eq!(forbids_uploads(&addresses, false), is_open, "{mode:?}");
            assert!(!forbids_uploads(&addresses, true));
            let found = control_mode(mode, &addresses);
            assert_eq!(found, expected, "{mode:?} {http} {grpc:?}");
        }
        Ok(())
    }
}
