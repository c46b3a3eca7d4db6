//! Loads of dormant models for the requests that ask for them.
//!
//! The first request of a model loads it, and all others of that model wait for the same load. So does one that waits for
//! a place among the loads of its tenant, if a request of another tenant loads the model first. A load that has begun is
//! completed even if its request has gone, and is one of the loads of the tenant that asked for it. While models in use
//! leave no room, the load waits for one of them to become idle. A failed load is remembered for a while, in which requests
//! are refused with its reason.

use super::load_source::{Asked, ROOM_POLL};
use super::{ControlError, ModelControl, enter_failure, run};
use crate::load_locks::{LoadLock, Need};
use crate::owner::Owner;
use crate::registry::dormancy::dormant_entry;
use crate::registry::omissions::log_omissions;
use crate::registry::snapshot::ModelFiles;
use crate::registry::{ModelEntry, Registry, ResolveError, repository};
use std::sync::Arc;
use std::time::Instant;
use wisp_protocol::call::ModelName;

impl ModelControl {
    /// Returns whether a load may help a request that was refused with `error`.
    pub(crate) fn may_load_after(&self, error: &ResolveError) -> bool {
        match error {
            ResolveError::Dormant { .. } => true,
            ResolveError::Unavailable { model, .. } => {
                self.residency.may_retry(model, Instant::now())
            }
            ResolveError::UnknownModel { .. }
            | ResolveError::UnknownVersion { .. }
            | ResolveError::UnknownLabel { .. }
            | ResolveError::AmbiguousModel { .. }
            | ResolveError::Unloaded { .. } => false,
        }
    }

    /// Loads a dormant model for a request of an owner, unless another request has loaded it meanwhile. Its failure is that
    /// of the model's entry, which the caller looks up again.
    pub(crate) async fn load_on_demand(
        self: &Arc<ModelControl>,
        registry: &Arc<Registry>,
        model: &ModelName,
        owner: Owner,
    ) -> Result<(), ControlError> {
        let asked = Asked::at(Instant::now());
        let mut held: Option<LoadLock> = None;
        loop {
            let need = Need {
                is_wanted: || self.is_wanted(registry, model),
                changes: registry.changes(),
            };
            let lock = match held.take() {
                Some(lock) => lock,
                None => match self.locks.load_for(model, owner, need).await {
                    Some(lock) => lock,
                    None => return Ok(()),
                },
            };
            let (control, registry) = (Arc::clone(self), Arc::clone(registry));
            let name = model.clone();
            // The work holds the lock, also without the request.
            let work = move || {
                let loaded = control.load_from_repository(&registry, &name, asked);
                (lock, loaded)
            };
            let (mut returned, loaded) = run(work).await?;
            match loaded {
                Err(ControlError::NoRoom { .. }) => {
                    // Others may load meanwhile.
                    returned.end_load();
                    tokio::time::sleep(ROOM_POLL).await;
                    // Without a place, the model is not kept from those that have one.
                    let has_place = self.locks.try_begin_load(&mut returned, owner);
                    held = has_place.then_some(returned);
                }
                // The entry of the model has the reason.
                Err(ControlError::Failed { .. }) => return Ok(()),
                loaded => return loaded,
            }
        }
    }

    /// Finds a model of the repository again without loading it. Its lock is held.
    pub(super) fn find_again(
        &self,
        registry: &Registry,
        model: &ModelName,
    ) -> Result<(), ControlError> {
        let Some(path) = self.model_path(registry, model)? else {
            let model = model.clone();
            return Err(ControlError::UnknownModel { model });
        };
        let files = ModelFiles::take(&path);
        let mut selected = repository::model_versions(&path, None).map_err(|error| {
            (self.observer)(model.as_str(), Err(&error));
            let reason = error.client_reason();
            self.residency.failed(model, Instant::now());
            enter_failure(registry, model, ModelEntry::problem(reason.clone()));
            ControlError::Failed {
                model: model.clone(),
                reason,
            }
        })?;
        let before = registry.entry(model).ok();
        let pinned = self.pin_release(&path, &mut selected);
        let mut entry = dormant_entry(&selected);
        log_omissions(model.as_str(), &entry, before.as_deref());
        (entry.release, entry.pinned) = (pinned.release, pinned.versions);
        entry.files = Some(files);
        if let Some(before) = &before {
            entry.keep_statistics(before);
        }
        self.residency.leave(model);
        registry.replace(model.clone(), entry);
        if pinned.is_gone {
            self.end_release(model);
        }
        Ok(())
    }

    /// Returns whether a request still has to load the model.
    fn is_wanted(&self, registry: &Registry, model: &ModelName) -> bool {
        registry.entry(model).is_ok_and(|entry| {
            let has_failed = entry.failure().is_some();
            entry.is_dormant() || (has_failed && self.residency.may_retry(model, Instant::now()))
        })
    }
}
