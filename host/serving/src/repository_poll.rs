//! Keeps what is served the same as the repository: Triton's model control mode `poll`.
//!
//! At each look the files of all models are compared with what they were. A model is taken as it is when
//! it has changed and two looks in a row agree on how, so that one that is still being copied waits.
//! What could not be loaded is tried again when its files change once more, and what was served before
//! goes on being served.

use crate::model_control::{ControlError, ModelControl};
use crate::registry::Registry;
use crate::registry::load_error::LoadError;
use crate::registry::snapshot::{ModelFiles, Snapshot};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};
use wisp_protocol::call::ModelName;

/// What is served, and how its files were. Lifetime: the process.
#[derive(Debug)]
pub struct RepositoryPoll {
    control: Arc<ModelControl>,
    registry: Arc<Registry>,
    /// As of each model's last load.
    taken: Snapshot,
    /// At the last look.
    seen: Snapshot,
}

/// What became of a model that had changed.
#[derive(Debug)]
pub struct Change {
    pub model: ModelName,
    pub outcome: Result<Taken, ControlError>,
}

/// Why there was nothing to see.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error("the repository cannot be looked at")]
    Repository(#[source] LoadError),
    #[error("the look was lost with its thread")]
    Lost(#[source] ControlError),
}

/// How a change was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Loaded,
    /// It is not in the repository any more, and not served.
    Removed,
}

impl RepositoryPoll {
    /// Everything has been loaded as it was in the repository or later.
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

    /// Look every `interval`, for ever; `report` hears of every look.
    pub async fn run(
        mut self,
        interval: Duration,
        mut report: impl FnMut(Result<Vec<Change>, LookError>),
    ) {
        let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
        // Two looks right after each other would agree on what is still being copied.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            report(self.look().await);
        }
    }

    /// Look at the repository once, and load what has changed. A repository that cannot be read
    /// changes nothing.
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

    /// The models whose files are other than those taken and as they were `before`; without files,
    /// those that are gone.
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
