//! Keeps the served models up to date with the repository, as in Triton's model control mode `poll`.
//!
//! Each poll compares the files of all models with their last loaded state. A changed model is loaded when two
//! successive polls find the same files, so that a model which is still being copied waits. A model that failed
//! to load is tried again when its files change once more; the version served before continues to be served. While the
//! process is short of memory, or of room for models, changes are held back, and the next polls try again.

use crate::model_control::{ControlError, ModelControl};
use crate::registry::Registry;
use crate::registry::load_error::LoadError;
use crate::registry::omissions::enter_skipped_versions;
use crate::registry::skipped_entry::log_new;
use crate::registry::snapshot::{ModelFiles, Snapshot};
use crate::residency::NoRoom;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};
use wisp_protocol::call::ModelName;

/// The served models and the recorded state of their files. Lifetime: the process.
#[derive(Debug)]
pub struct RepositoryPoll {
    control: Arc<ModelControl>,
    registry: Arc<Registry>,
    /// The files of each model at its last load.
    baseline: Snapshot,
    /// The files at the last poll.
    previous: Snapshot,
    /// The changed models that are not loaded because the process is short of memory or of room for models.
    held_back: BTreeSet<ModelName>,
}

/// The outcome of loading or removing a model that had changed.
#[derive(Debug)]
pub struct Change {
    pub model: ModelName,
    pub outcome: Result<Applied, ControlError>,
}

/// The reason that a poll failed.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    #[error("failed to read the repository")]
    Repository(#[source] LoadError),
    #[error("the poll was lost with its thread")]
    Lost(#[source] ControlError),
}

/// The way that a change was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    Loaded,
    /// The model is no longer in the repository and no longer served.
    Removed,
}

impl RepositoryPoll {
    /// Returns a poll for a registry whose models were all loaded at the time of `baseline` or later.
    pub(crate) fn new(
        control: Arc<ModelControl>,
        registry: Arc<Registry>,
        baseline: Snapshot,
    ) -> RepositoryPoll {
        RepositoryPoll {
            control,
            registry,
            previous: baseline.clone(),
            baseline,
            held_back: BTreeSet::new(),
        }
    }

    /// Polls every `interval`, without end, and passes the outcome of each poll to `report`.
    pub async fn run(
        mut self,
        interval: Duration,
        mut report: impl FnMut(Result<Vec<Change>, PollError>),
    ) {
        let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
        // Two polls right after each other would agree on a model that is still being copied.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            report(self.poll_once().await);
        }
    }

    /// Polls the repository once and loads the models that have changed. A repository that
    /// cannot be read changes nothing.
    pub async fn poll_once(&mut self) -> Result<Vec<Change>, PollError> {
        let now = self.control.snapshot().await.map_err(PollError::Lost)?;
        let now = now.map_err(PollError::Repository)?;
        let before = std::mem::replace(&mut self.previous, now);
        if self.previous.skipped != before.skipped {
            log_new(&before.skipped, &self.previous.skipped);
            self.registry.set_skipped(self.previous.skipped.clone());
        }
        for (model, reasons) in &self.previous.skipped_versions {
            enter_skipped_versions(&self.registry, model, reasons);
        }
        let mut changes = Vec::new();
        let settled = self.settled(&before);
        self.held_back
            .retain(|model| settled.iter().any(|(changed, _)| changed == model));
        for (model, files) in settled {
            let outcome = match &files {
                Some(_) => self.control.reload(&self.registry, model.clone()).await,
                None => self.control.remove(&self.registry, model.clone()).await,
            };
            let is_held_back = matches!(
                outcome,
                Err(ControlError::ShortOfMemory(_)
                    | ControlError::NoRoom {
                        reason: NoRoom::InUse { .. },
                        ..
                    })
            );
            if is_held_back {
                // Its files differ from those of its last load until it has been loaded.
                self.hold_back(model);
                continue;
            }
            self.held_back.remove(&model);
            let outcome = outcome.map(|()| match &files {
                Some(_) => Applied::Loaded,
                None => Applied::Removed,
            });
            match files {
                Some(files) => self.baseline.models.insert(model.clone(), files),
                None => self.baseline.models.remove(&model),
            };
            changes.push(Change { model, outcome });
        }
        Ok(changes)
    }

    /// Records that a changed model is not loaded by this poll, which is logged once.
    fn hold_back(&mut self, model: ModelName) {
        if self.held_back.insert(model.clone()) {
            tracing::warn!(
                %model,
                "changed, but not loaded while the server is short of memory or of room for models; the next polls try again"
            );
        }
    }

    /// Returns the models whose files differ from the loaded ones and equal those of `before`; `None` as
    /// the files of a model that has been removed.
    fn settled(&self, before: &Snapshot) -> Vec<(ModelName, Option<ModelFiles>)> {
        let [baseline, now] = [&self.baseline.models, &self.previous.models];
        let gone = baseline.keys().filter(|model| !now.contains_key(*model));
        let models = now.keys().chain(gone);
        let changed = models.filter(|model| {
            let files = now.get(*model);
            files != baseline.get(*model) && files == before.models.get(*model)
        });
        changed
            .map(|model| (model.clone(), now.get(model).cloned()))
            .collect()
    }
}

#[cfg(test)]
mod tests;
