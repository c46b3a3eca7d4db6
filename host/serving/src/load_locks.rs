//! Turns for loading and unloading: one at a time for each model, and a few loads at a time in the whole server.
//!
//! A load first waits until no other task loads or unloads the same model, so that the last request takes
//! effect last. Loads of different models do not wait for each other below the limit on concurrent loads. The places for
//! loads are shared by all tenants, which get them in turns by the time for which they have held them; one tenant has half
//! of them at most. A task that holds a place waits for nothing but its load, so that every place becomes free.

use crate::fair_slots::{FairSlot, FairSlots};
use crate::owner::Owner;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, watch};
use wisp_protocol::call::ModelName;

/// The number of concurrent loads of one owner. Each may compile, for which its child process uses a
/// few threads and much memory.
const LOADS_AT_ONCE: usize = 4;

/// The number of concurrent loads of all owners together.
pub const ALL_LOADS_AT_ONCE: usize = 2 * LOADS_AT_ONCE;

/// The lock of each model.
type Turns = HashMap<ModelName, Weak<AsyncMutex<()>>>;

/// The loads and unloads in progress. Lifetime: the process.
#[derive(Debug)]
pub struct LoadLocks {
    /// The locks of the models that a task loads or waits for, and perhaps some unused ones.
    models: Arc<Mutex<Turns>>,
    /// The places for loads, which the models of all tenants share.
    loads: Arc<FairSlots>,
    /// Held by the task that loads some models and unloads all others.
    all: Arc<AsyncMutex<()>>,
}

/// The right to load or unload a model, until it is dropped.
#[derive(Debug)]
pub(crate) struct LoadLock {
    _model: OwnedMutexGuard<()>,
    load: Option<FairSlot>,
}

/// The need of a request for a load, which ends once another one has loaded the model.
#[derive(Debug)]
pub(crate) struct Need<F> {
    /// Returns whether the model still has to be loaded.
    pub(crate) is_wanted: F,
    /// Notified whenever that may have changed.
    pub(crate) changes: watch::Receiver<()>,
}

impl Default for LoadLocks {
    fn default() -> LoadLocks {
        LoadLocks {
            models: Arc::default(),
            loads: FairSlots::shared(ALL_LOADS_AT_ONCE, LOADS_AT_ONCE),
            all: Arc::default(),
        }
    }
}

impl LoadLock {
    /// Gives the place among the loads back. The turn of the model stays.
    pub(crate) fn end_load(&mut self) {
        self.load = None;
    }
}

impl LoadLocks {
    /// Returns locks for other models, whose loads share the places with these.
    pub(crate) fn for_other_models(&self) -> LoadLocks {
        LoadLocks {
            loads: Arc::clone(&self.loads),
            ..LoadLocks::default()
        }
    }

    /// Returns locks for the same models, which another service loads from now on. The loads and unloads of both take turns.
    pub(crate) fn for_same_models(&self) -> LoadLocks {
        LoadLocks {
            models: Arc::clone(&self.models),
            loads: Arc::clone(&self.loads),
            all: Arc::clone(&self.all),
        }
    }

    /// Waits until the owner of the model may load it.
    pub(crate) async fn load(&self, model: &ModelName, owner: Owner) -> LoadLock {
        let mut turn = self.unload(model).await;
        // Taken after the model's own turn, so that a task that waits for that turn does not block the
        // loads of other models.
        turn.load = Some(self.loads.acquire(owner).await);
        turn
    }

    /// Waits until a model may be loaded for a request of an owner, or returns `None` once it is wanted no more, even if
    /// the owner has no place yet: others may have places before it, and load the model.
    pub(crate) async fn load_for<F: Fn() -> bool>(
        &self,
        model: &ModelName,
        owner: Owner,
        need: Need<F>,
    ) -> Option<LoadLock> {
        let Need { is_wanted, changes } = need;
        tokio::select! {
            biased;
            lock = self.load_while(model, owner, &is_wanted) => lock,
            () = until_unwanted(changes, &is_wanted) => None,
        }
    }

    /// Waits until a model may be loaded, or returns `None` if it is not wanted when it is its turn.
    ///
    /// The request has the turn of the model only together with a place.
    async fn load_while(
        &self,
        model: &ModelName,
        owner: Owner,
        is_wanted: &impl Fn() -> bool,
    ) -> Option<LoadLock> {
        loop {
            let mut turn = self.unload(model).await;
            // Those who have waited for the load of another request need no place among the loads.
            if !is_wanted() {
                return None;
            }
            if self.try_begin_load(&mut turn, owner) {
                return Some(turn);
            }
            drop(turn);
            let place = self.loads.acquire(owner).await;
            // Another task loads the model otherwise. The place is not kept from others until it has.
            if let Ok(model) = self.model(model).try_lock_owned() {
                let turn = LoadLock {
                    _model: model,
                    load: Some(place),
                };
                return is_wanted().then_some(turn);
            }
        }
    }

    /// Takes a place for the load of a model whose turn it is, and returns whether the owner may have one now.
    pub(crate) fn try_begin_load(&self, turn: &mut LoadLock, owner: Owner) -> bool {
        turn.load = self.loads.try_acquire(owner);
        turn.load.is_some()
    }

    /// Waits until the model may be unloaded. Unloads are quick and do not count as loads.
    pub(crate) async fn unload(&self, model: &ModelName) -> LoadLock {
        let model = self.model(model);
        LoadLock {
            _model: model.lock_owned().await,
            load: None,
        }
    }

    /// Waits until no other task replaces all served models. Taken before the turn of any model.
    pub(crate) async fn replace_all(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.all).lock_owned().await
    }

    fn model(&self, model: &ModelName) -> Arc<AsyncMutex<()>> {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        // Clients choose the names, so the locks that no task uses are removed.
        models.retain(|_, lock| lock.strong_count() > 0);
        let waiting = models.get(model).and_then(Weak::upgrade);
        waiting.unwrap_or_else(|| {
            let lock = Arc::default();
            models.insert(model.clone(), Arc::downgrade(&lock));
            lock
        })
    }
}

/// Completes once a model is wanted no more.
async fn until_unwanted(mut changes: watch::Receiver<()>, is_wanted: &impl Fn() -> bool) {
    while is_wanted() {
        // The sender lives as long as the models.
        if changes.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

#[cfg(test)]
mod tests;
