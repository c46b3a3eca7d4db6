//! Loads a model from its files and replaces the served one if that succeeds.
//!
//! Room for it is made before the load. Until the registry has the new entry, the old one makes no room for others.

use super::control_error::no_room;
use super::load_source::LoadSource;
use super::{ControlError, ModelControl, enter_failure};
use crate::memory_pressure::ExpectedLoad;
use crate::registry::dormancy::expected_bytes;
use crate::registry::omissions::log_omissions;
use crate::registry::route_check::with_own_route;
use crate::registry::{ModelEntry, Registry, repository};
use std::time::Instant;
use wisp_protocol::call::ModelName;

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
        // Before anything changes: the version that is served stays as it is.
        self.pressure.check_load()?;
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
                // Counted until the load has ended.
                let _expected_load = self.expect_load(expected)?;
                let reserve = || self.residency.make_room(registry, model, expected);
                let room = asked.wait_for_room(reserve);
                reserved = Some(room.map_err(|reason| self.no_room(model, reason))?);
                let mut entry = self.loader.load_model(&selected, &self.observer);
                if config.is_none() {
                    self.check_golden_cases(path, &mut entry, same);
                }
                (entry.release, entry.pinned) = (pinned.release, pinned.versions);
                log_omissions(model.as_str(), &entry, before.as_deref());
                let entry = self.with_route(registry, (model, entry));
                let entry = match self.residency.check(&entry) {
                    Ok(()) => entry,
                    Err(too_large) => entry.refused(&no_room(too_large, self.is_of_tenant)),
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

    /// Counts the memory that a load is expected to take, if a tenant asks for it. What the operator loads is refused only
    /// once memory is short: an estimate that is too high refuses no model that fits.
    pub(super) fn expect_load(&self, bytes: u64) -> Result<Option<ExpectedLoad>, ControlError> {
        match self.owner.is_local() {
            true => Ok(None),
            false => Ok(Some(self.pressure.expect_load(bytes)?)),
        }
    }

    /// Returns the entry, or one that cannot be called if another model has its route.
    pub(super) fn with_route(
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
