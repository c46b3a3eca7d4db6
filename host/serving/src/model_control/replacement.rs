//! Loads a model from its files and replaces the served one if that succeeds.
//!
//! Room for it is made before the load. A load for a client waits a moment for room, since whoever reads the entry of an
//! idle model keeps it from leaving for as long; a load for a request waits in `on_demand`.

use super::{ControlError, ModelControl, enter_failure};
use crate::registry::dormancy::expected_bytes;
use crate::registry::loader::log_omissions;
use crate::registry::route_check::with_own_route;
use crate::registry::snapshot::ModelFiles;
use crate::registry::{ModelEntry, Registry, repository};
use crate::residency::{NoRoom, ReservedRoom};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use wisp_protocol::call::ModelName;
use wisp_protocol::load::LoadConfig;

/// The time until the next attempt to find room. No event marks the end of a use, since anything may hold a version.
pub(super) const ROOM_POLL: Duration = Duration::from_millis(10);

/// The time that a load for a client waits for room.
const CLIENT_PATIENCE: Duration = Duration::from_secs(1);

/// The files of a load and the settings that replace those of the model file.
pub(super) struct LoadSource<'a> {
    /// The directory of the model, or its only graph.
    pub(super) path: &'a Path,
    pub(super) config: Option<&'a Arc<LoadConfig>>,
    /// The state of the files, if they and all settings are in the repository.
    pub(super) files: Option<ModelFiles>,
    pub(super) asked: Asked,
}

/// The time at which a model was asked for, and the time that its load waits for room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    at: Instant,
    patience: Duration,
}

impl Asked {
    /// Returns the time of a request or a start, whose load does not wait here.
    pub(super) fn at(at: Instant) -> Asked {
        Asked {
            at,
            patience: Duration::ZERO,
        }
    }

    /// Returns the time of a command of a client, which is now.
    pub(super) fn by_client() -> Asked {
        Asked {
            at: Instant::now(),
            patience: CLIENT_PATIENCE,
        }
    }

    /// Returns the time since the model was asked for.
    pub(super) fn elapsed(&self) -> Duration {
        self.at.elapsed()
    }

    /// Returns the room that `reserve` finds. The calling thread must be one that may block, of a runtime.
    pub(super) fn wait_for_room(
        &self,
        reserve: impl Fn() -> Result<ReservedRoom, NoRoom>,
    ) -> Result<ReservedRoom, NoRoom> {
        let started = Instant::now();
        loop {
            match reserve() {
                Err(NoRoom::InUse { .. }) if started.elapsed() < self.patience => {
                    // Made within the runtime, whose clock it needs.
                    Handle::current().block_on(async { tokio::time::sleep(ROOM_POLL).await });
                }
                found => return found,
            }
        }
    }
}

impl ModelControl {
    /// Loads the model from these files and replaces the served one if that succeeds. A load with the settings or
    /// files of a client that fails changes nothing.
    pub(super) fn load_from(
        &self,
        registry: &Registry,
        model: &ModelName,
        source: LoadSource<'_>,
    ) -> Result<(), ControlError> {
        let LoadSource {
            path,
            config,
            files,
            asked,
        } = source;
        let is_of_repository = files.is_some();
        // Until the registry has the new entry, no other load takes the room of the old one.
        let _loading = self.residency.loading(model);
        let before = registry.entry(model).ok();
        let same = before.as_deref();
        let same = same.filter(|before| files.is_some() && before.files == files);
        let mut reserved = None;
        let mut ends_release = false;
        let (mut entry, failure) = match repository::model_versions(path, config) {
            Ok(mut selected) => {
                let pinned = self.pin_release(path, &mut selected);
                ends_release = pinned.is_gone;
                let expected = expected_bytes(&selected);
                let reserve = || self.residency.make_room(registry, model, expected);
                let room = asked.wait_for_room(reserve);
                reserved = Some(room.map_err(|reason| ControlError::NoRoom {
                    model: model.clone(),
                    reason,
                })?);
                let mut entry = self.loader.load_model(&selected, &self.observer);
                if config.is_none() {
                    self.check_golden_cases(path, &mut entry, same);
                }
                (entry.release, entry.pinned) = (pinned.release, pinned.versions);
                log_omissions(model.as_str(), &entry, before.as_deref());
                let entry = self.with_route(registry, (model, entry));
                let entry = match self.residency.check(&entry) {
                    Ok(()) => entry,
                    Err(too_large) => entry.refused(&too_large.to_string()),
                };
                let failure = entry.failure().map(str::to_owned);
                (entry, failure)
            }
            Err(error) => {
                (self.observer)(model.as_str(), Err(&error));
                let reason = error.client_reason();
                (ModelEntry::problem(reason.clone()), Some(reason))
            }
        };
        if let Some(same) = same {
            entry.continue_statistics(same);
        }
        entry.files = files;
        let Some(reason) = failure else {
            if let Some(room) = reserved {
                let took = asked.elapsed();
                self.residency
                    .enter(registry, (model, &entry), (room, took));
            }
            registry.replace(model.clone(), entry);
            if ends_release {
                self.end_release(model);
            }
            return Ok(());
        };
        if is_of_repository {
            let is_served = registry
                .entry(model)
                .is_ok_and(|before| before.has_loaded());
            if !is_served
                && entry.has_loaded()
                && let Some(room) = reserved
            {
                // Some versions have failed, and the others are served.
                let took = asked.elapsed();
                self.residency
                    .enter(registry, (model, &entry), (room, took));
            }
            self.residency.failed(model, Instant::now());
            enter_failure(registry, model, entry);
        }
        Err(ControlError::Failed {
            model: model.clone(),
            reason,
        })
    }

    /// Returns the entry, or one that cannot be called if another model has its route.
    fn with_route(
        &self,
        registry: &Registry,
        (model, entry): (&ModelName, ModelEntry),
    ) -> ModelEntry {
        // Most models are no web components, and there may be thousands of others.
        if entry.route().is_none() {
            return entry;
        }
        let others = registry.entries();
        let others = others.iter().map(|(model, entry)| (model, &**entry));
        let (entry, taken) = with_own_route(model, entry, others);
        if let Some(error) = &taken {
            (self.observer)(model.as_str(), Err(error));
        }
        entry
    }
}
