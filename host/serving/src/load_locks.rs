//! Turns for loading and unloading: one at a time for each model, and a few loads at a time in total.
//!
//! A load first waits until no other task loads or unloads the same model, so that the last request takes
//! effect last. Loads of different models do not wait for each other below the limit on concurrent loads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use wisp_protocol::call::ModelName;

/// The number of concurrent loads. Each may compile, for which its child process uses a
/// few threads and much memory.
const LOADS_AT_ONCE: usize = 4;

/// The loads and unloads in progress. Lifetime: the process.
#[derive(Debug)]
pub struct LoadLocks {
    /// The locks of the models that a task loads or waits for, and perhaps some unused ones.
    models: Mutex<HashMap<ModelName, Weak<AsyncMutex<()>>>>,
    loads: Arc<Semaphore>,
    /// Held by the task that loads some models and unloads all others.
    all: Arc<AsyncMutex<()>>,
}

/// The right to load or unload a model, until it is dropped.
#[derive(Debug)]
pub(crate) struct LoadLock {
    _model: OwnedMutexGuard<()>,
    _load: Option<OwnedSemaphorePermit>,
}

impl Default for LoadLocks {
    fn default() -> LoadLocks {
        LoadLocks {
            models: Mutex::default(),
            loads: Arc::new(Semaphore::new(LOADS_AT_ONCE)),
            all: Arc::default(),
        }
    }
}

impl LoadLock {
    /// Gives the place among the loads back. The turn of the model stays.
    pub(crate) fn end_load(&mut self) {
        self._load = None;
    }
}

impl LoadLocks {
    /// Waits until the model may be loaded.
    pub(crate) async fn load(&self, model: &ModelName) -> LoadLock {
        let mut turn = self.unload(model).await;
        // Taken after the model's own turn, so that a task that waits for that turn does not block the
        // loads of other models.
        self.begin_load(&mut turn).await;
        turn
    }

    /// Waits until a model whose turn it is may be loaded.
    pub(crate) async fn begin_load(&self, turn: &mut LoadLock) {
        // The semaphore is never closed.
        turn._load = Arc::clone(&self.loads).acquire_owned().await.ok();
    }

    /// Waits until the model may be unloaded. Unloads are quick and do not count as loads.
    pub(crate) async fn unload(&self, model: &ModelName) -> LoadLock {
        let model = self.model(model);
        LoadLock {
            _model: model.lock_owned().await,
            _load: None,
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// Returns the output of the future if it is ready at its first poll.
    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    fn name(name: &str) -> ModelName {
        ModelName::new(name).unwrap()
    }

    #[test]
    fn one_model_has_one_turn_and_models_do_not_wait_for_each_other() {
        let turns = LoadLocks::default();
        let first = now(turns.load(&name("a")));
        assert!(first.is_some());
        assert!(now(turns.load(&name("a"))).is_none());
        assert!(now(turns.unload(&name("a"))).is_none());
        assert!(now(turns.load(&name("b"))).is_some());
        drop(first);
        assert!(now(turns.unload(&name("a"))).is_some());
    }

    #[test]
    fn more_loads_than_there_are_places_wait_and_unloads_do_not() {
        let turns = LoadLocks::default();
        let load = |number| now(turns.load(&name(&format!("m{number}"))));
        let mut loads: Vec<_> = (0..LOADS_AT_ONCE).map(load).collect();
        assert!(loads.iter().all(Option::is_some));
        assert!(load(LOADS_AT_ONCE).is_none());
        assert!(now(turns.unload(&name("another"))).is_some());
        loads.pop();
        assert!(load(LOADS_AT_ONCE).is_some());
    }

    #[test]
    fn a_load_that_waits_for_room_has_no_place_among_the_loads() {
        let turns = LoadLocks::default();
        let load = |number| now(turns.load(&name(&format!("m{number}"))));
        let mut loads: Vec<Option<LoadLock>> = (0..LOADS_AT_ONCE).map(load).collect();
        assert!(load(LOADS_AT_ONCE).is_none());
        let waiting = loads[0].as_mut().unwrap();
        waiting.end_load();
        assert!(now(turns.unload(&name("m0"))).is_none(), "its turn stays");
        let other = load(LOADS_AT_ONCE);
        assert!(other.is_some());
        assert!(now(turns.begin_load(waiting)).is_none());
        drop(other);
        assert!(now(turns.begin_load(waiting)).is_some());
    }

    #[test]
    fn names_that_nobody_waits_for_are_forgotten() {
        let turns = LoadLocks::default();
        for number in 0..100 {
            drop(now(turns.load(&name(&format!("m{number}")))));
        }
        assert!(turns.models.lock().unwrap().len() <= 1);
    }
}
