//! The open releases, each of which moves the requests that name no version of a model from one version to another.
//!
//! A [`Rollout`] is one release: it chooses the version of each request, and [`counts`] counts what the versions do.
//! [`split`] and [`rollback`] are its rules. An `observation` counts a request and may copy it to the
//! candidate, whose outputs [`comparison`] compares. The records of releases survive a restart in a `state_directory`.
//! `model_control` loads the versions of a release and starts, changes and closes it.
//!
//! Invariant: while a release is open, the entry of its model in the registry has both of its versions. Both are loaded, or
//! both are dormant and loaded by the next request, unless one has failed to load.

pub mod comparison;
pub mod counts;
pub mod latency;
pub(crate) mod observation;
pub mod rollback;
pub mod rollout;
mod shadow_tasks;
pub mod split;
mod state_directory;

use rollout::Rollout;
use shadow_tasks::{ShadowSlot, ShadowTasks};
use state_directory::StateDirectory;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use wisp_protocol::call::ModelName;
use wisp_protocol::release::{ReleaseRecord, ReleaseStatus};
use wisp_protocol::routing::RoutingSource;

/// The settings of all releases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReleaseOptions {
    /// The directory of the records; `None` if a restart ends all releases.
    pub state_directory: Option<PathBuf>,
    /// The source of the key that keeps a client at its version.
    pub routing: RoutingSource,
}

/// The open releases. Lifetime: the process.
#[derive(Debug, Default)]
pub struct Releases {
    open: RwLock<BTreeMap<ModelName, Arc<Rollout>>>,
    /// The number of rollbacks of each model that has had a release.
    rollbacks: Mutex<BTreeMap<ModelName, u64>>,
    state: Option<StateDirectory>,
    shadows: ShadowTasks,
}

impl Releases {
    /// Returns an empty set of releases, whose records are in this directory.
    pub fn new(state_directory: Option<PathBuf>) -> Releases {
        Releases {
            state: state_directory.map(StateDirectory::new),
            ..Releases::default()
        }
    }

    /// Returns the open release of a model.
    pub fn find(&self, model: &ModelName) -> Option<Arc<Rollout>> {
        // No code panics while the lock is held, so a poisoned lock still guards a consistent map.
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.get(model).map(Arc::clone)
    }

    /// Returns all open releases with their counts, by model.
    pub fn statuses(&self) -> Vec<ReleaseStatus> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let open: Vec<Arc<Rollout>> = open.values().map(Arc::clone).collect();
        open.iter().map(|rollout| rollout.status()).collect()
    }

    /// Returns the number of rollbacks since the start of the server, by model that has had a release.
    pub fn rollbacks(&self) -> Vec<(ModelName, u64)> {
        let rollbacks = self.rollbacks_lock();
        let rollbacks = rollbacks.iter();
        rollbacks
            .map(|(model, count)| (model.clone(), *count))
            .collect()
    }

    /// Makes this the release of its model, in place of an earlier one.
    pub(crate) fn open(&self, rollout: Arc<Rollout>) {
        // Zero exists before the first rollback, so that `increase` sees it.
        self.rollbacks_lock()
            .entry(rollout.model().clone())
            .or_insert(0);
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.insert(rollout.model().clone(), rollout);
    }

    /// Forgets the release of a model. Its record stays.
    pub(crate) fn forget(&self, model: &ModelName) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.remove(model);
    }

    /// Writes the record of a release, if it is the open one of its model.
    pub(crate) fn store(&self, rollout: &Arc<Rollout>) -> io::Result<()> {
        let Some(state) = &self.state else {
            return Ok(());
        };
        // Decided when it is its turn, so that the record of a release does not replace the next one's.
        state.write(|| {
            let open = self.find(rollout.model())?;
            Arc::ptr_eq(&open, rollout).then(|| rollout.record())
        })
    }

    /// Removes the record of a model whose release is forgotten.
    pub(crate) fn remove_record(&self, model: &ModelName) -> io::Result<()> {
        match &self.state {
            Some(state) => state.remove(model),
            None => Ok(()),
        }
    }

    /// Returns the records of releases that were open when the server stopped. Logs those that cannot be read.
    pub(crate) fn stored(&self) -> Vec<(ModelName, ReleaseRecord)> {
        let Some(state) = &self.state else {
            return Vec::new();
        };
        let directory = state.path().display();
        let records = match state.read() {
            Ok(records) => records,
            Err(error) => {
                tracing::warn!(%directory, %error, "the records of releases cannot be read and are ignored");
                return Vec::new();
            }
        };
        let readable = records.into_iter().filter_map(|(model, record)| {
            if record.is_none() {
                tracing::warn!(%directory, %model, "the record of a release is damaged and ignored");
            }
            Some((model, record?))
        });
        readable.collect()
    }

    fn rollbacks_lock(&self) -> MutexGuard<'_, BTreeMap<ModelName, u64>> {
        // No code panics while the lock is held, so a poisoned lock still guards consistent counts.
        self.rollbacks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a place for a copied request, if one is free.
    fn shadow_slot(&self) -> Option<ShadowSlot> {
        self.shadows.slot()
    }

    /// Runs a task with a copied request.
    fn spawn_shadow(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.shadows.spawn(task);
    }

    /// Rolls a release back if its counts are a reason to. The record is written in the background.
    fn judge(self: &Arc<Releases>, rollout: &Arc<Rollout>) {
        let Some(reason) = rollout.judge().map(|reason| reason.to_string()) else {
            return;
        };
        if !rollout.roll_back(&reason) {
            return;
        }
        let (model, candidate, stable) = (rollout.model(), rollout.candidate(), rollout.stable());
        if let Some(count) = self.rollbacks_lock().get_mut(model) {
            *count = count.saturating_add(1);
        }
        tracing::warn!(%model, %candidate, %stable, reason, "rolled back a release");
        let (releases, rollout) = (Arc::clone(self), Arc::clone(rollout));
        // A process that ends first continues the release after its restart, and rolls it back again.
        tokio::task::spawn_blocking(move || {
            if let Err(error) = releases.store(&rollout) {
                let model = rollout.model();
                tracing::error!(%model, %error, "the record of a release cannot be written");
            }
        });
    }
}
