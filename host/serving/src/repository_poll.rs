//! Keeps the served models up to date with the repository, as in Triton's model control mode `poll`.
//!
//! Each poll compares the files of all models with their last loaded state. A changed model is loaded when two
//! successive polls find the same files, so that a model which is still being copied waits. A model that failed
//! to load is tried again when its files change once more; the version served before continues to be served.

use crate::model_control::{ControlError, ModelControl};
use crate::registry::Registry;
use crate::registry::load_error::LoadError;
use crate::registry::snapshot::{ModelFiles, Snapshot};
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
    taken: Snapshot,
    /// The files at the last poll.
    seen: Snapshot,
}

/// The outcome of loading or removing a model that had changed.
#[derive(Debug)]
pub struct Change {
    pub model: ModelName,
    pub outcome: Result<Taken, ControlError>,
}

/// The reason that a poll failed.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error("the repository cannot be looked at")]
    Repository(#[source] LoadError),
    #[error("the look was lost with its thread")]
    Lost(#[source] ControlError),
}

/// The way that a change was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Loaded,
    /// The model is no longer in the repository and no longer served.
    Removed,
}

impl RepositoryPoll {
    /// Returns a poll for a registry whose models were all loaded at the time of `taken` or later.
    pub(crate) fn new(
        control: Arc<ModelControl>,
        registry: Arc<Registry>,
        taken: Snapshot,
    ) -> RepositoryPoll {
        RepositoryPoll {
            control,
            registry,
            seen: taken.clone(),
            taken,
        }
    }

    /// Polls every `interval`, without end, and passes the outcome of each poll to `report`.
    pub async fn run(
        mut self,
        interval: Duration,
        mut report: impl FnMut(Result<Vec<Change>, LookError>),
    ) {
        let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
        // Two polls right after each other would agree on a model that is still being copied.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            report(self.look().await);
        }
    }

    /// Polls the repository once and loads the models that have changed. A repository that
    /// cannot be read changes nothing.
    pub async fn look(&mut self) -> Result<Vec<Change>, LookError> {
        let now = self.control.snapshot().await.map_err(LookError::Lost)?;
        let now = now.map_err(LookError::Repository)?;
        let before = std::mem::replace(&mut self.seen, now);
        let mut changes = Vec::new();
        for (model, files) in self.settled(&before) {
            let outcome = match &files {
                Some(_) => self.control.reload(&self.registry, model.clone()).await,
                None => self.control.remove(&self.registry, model.clone()).await,
            };
            let outcome = outcome.map(|()| match &files {
                Some(_) => Taken::Loaded,
                None => Taken::Removed,
            });
            match files {
                Some(files) => self.taken.models.insert(model.clone(), files),
                None => self.taken.models.remove(&model),
            };
            changes.push(Change { model, outcome });
        }
        Ok(changes)
    }

    /// Returns the models whose files differ from the loaded ones and equal those of `before`; `None` as
    /// the files of a model that has been removed.
    fn settled(&self, before: &Snapshot) -> Vec<(ModelName, Option<ModelFiles>)> {
        let [taken, now] = [&self.taken.models, &self.seen.models];
        let gone = taken.keys().filter(|model| !now.contains_key(*model));
        let models = now.keys().chain(gone);
        let changed = models.filter(|model| {
            let files = now.get(*model);
            files != taken.get(*model) && files == before.models.get(*model)
        });
        changed
            .map(|model| (model.clone(), now.get(model).cloned()))
            .collect()
    }
}

#[cfg(test)]
mod tests;
