//! When a model may be loaded or unloaded: each by one at a time, and only a few loads at once.
//!
//! What loads a model first waits until nobody else loads or unloads it, so that the last to ask has the last
//! word; models do not wait for each other, unless there are more loads than the machine should make
//! at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use wisp_protocol::call::ModelName;

/// Loads at once. Each may compile, for which its child process takes a few threads and much memory.
const LOADS_AT_ONCE: usize = 4;

/// The loads and unloads under way. Lifetime: the process.
#[derive(Debug)]
pub struct LoadTurns {
    /// Of models that somebody loads or waits for, and perhaps of others.
    models: Mutex<HashMap<ModelName, Weak<AsyncMutex<()>>>>,
    loads: Arc<Semaphore>,
    /// Held by whoever loads some models and unloads all others.
    all: Arc<AsyncMutex<()>>,
}

/// The right to load or unload a model, until it is dropped.
#[derive(Debug)]
pub(crate) struct LoadTurn {
    _model: OwnedMutexGuard<()>,
    _load: Option<OwnedSemaphorePermit>,
}

impl Default for LoadTurns {
    fn default() -> LoadTurns {
        LoadTurns {
            models: Mutex::default(),
            loads: Arc::new(Semaphore::new(LOADS_AT_ONCE)),
            all: Arc::default(),
        }
    }
}

impl LoadTurns {
    /// Waits until the model may be loaded.
    pub(crate) async fn load(&self, model: &ModelName) -> LoadTurn {
        let mut turn = self.unload(model).await;
        // After the model's own turn: who waits for that keeps nobody else from loading. It is never closed.
        turn._load = Arc::clone(&self.loads).acquire_owned().await.ok();
        turn
    }

    /// Waits until the model may be unloaded, which takes no time worth counting.
    pub(crate) async fn unload(&self, model: &ModelName) -> LoadTurn {
        let model = self.model(model);
        LoadTurn {
            _model: model.lock_owned().await,
            _load: None,
        }
    }

    /// Waits until nobody else replaces all that is served. Taken before any model's turn.
    pub(crate) async fn replace_all(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.all).lock_owned().await
    }

    fn model(&self, model: &ModelName) -> Arc<AsyncMutex<()>> {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        // Clients choose the names, so those that nobody waits for do not stay.
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

    /// What the future gives without waiting.
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
        let turns = LoadTurns::default();
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
        let turns = LoadTurns::default();
        let load = |number| now(turns.load(&name(&format!("m{number}"))));
        let mut loads: Vec<_> = (0..LOADS_AT_ONCE).map(load).collect();
        assert!(loads.iter().all(Option::is_some));
        assert!(load(LOADS_AT_ONCE).is_none());
        assert!(now(turns.unload(&name("another"))).is_some());
        loads.pop();
        assert!(load(LOADS_AT_ONCE).is_some());
    }

    #[test]
    fn names_that_nobody_waits_for_are_forgotten() {
        let turns = LoadTurns::default();
        for number in 0..100 {
            drop(now(turns.load(&name(&format!("m{number}")))));
        }
        assert!(turns.models.lock().unwrap().len() <= 1);
    }
}
