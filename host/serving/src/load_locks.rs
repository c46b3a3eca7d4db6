//! Turns for loading and unloading: one at a time for each model, and a few loads at a time in the whole server.
//!
//! A load first waits until no other task loads or unloads the same model, so that the last request takes
//! effect last. Loads of different models do not wait for each other below the limit on concurrent loads. The places for
//! loads are those of all tenants, who get them in turns by the time for which they have held them; one tenant has half
//! of them at most. A task that holds a place waits for nothing but its load, so that every place becomes free.

use crate::fair_slots::{FairSlot, FairSlots};
use crate::owner::Owner;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use wisp_protocol::call::ModelName;

/// The number of concurrent loads of one owner. Each may compile, for which its child process uses a
/// few threads and much memory.
const LOADS_AT_ONCE: usize = 4;

/// The number of concurrent loads of all owners together.
const ALL_LOADS_AT_ONCE: usize = 2 * LOADS_AT_ONCE;

/// The loads and unloads in progress. Lifetime: the process.
#[derive(Debug)]
pub struct LoadLocks {
    /// The locks of the models that a task loads or waits for, and perhaps some unused ones.
    models: Mutex<HashMap<ModelName, Weak<AsyncMutex<()>>>>,
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

impl Default for LoadLocks {
    fn default() -> LoadLocks {
        LoadLocks {
            models: Mutex::default(),
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
    /// Returns locks for other models, whose loads share the places with those of these.
    pub(crate) fn for_other_models(&self) -> LoadLocks {
        LoadLocks {
            loads: Arc::clone(&self.loads),
            ..LoadLocks::default()
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

    /// Waits until a model may be loaded for a request of an owner, or returns `None` once it `is_wanted` no more.
    ///
    /// The request has the turn of the model only together with a place: others may have places before it, and load the
    /// model.
    pub(crate) async fn load_for(
        &self,
        model: &ModelName,
        owner: Owner,
        is_wanted: impl Fn() -> bool,
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    const NOISY: Owner = Owner { id: 1, weight: 1 };
    const QUIET: Owner = Owner { id: 2, weight: 1 };

    /// Returns the output of the future if it is ready at its first poll.
    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        poll(pin!(future))
    }

    /// Returns the output of the future if it is ready at this poll.
    fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    fn name(name: &str) -> ModelName {
        ModelName::new(name).unwrap()
    }

    /// Begins to load a model of the local owner, if it need not wait.
    fn load(turns: &LoadLocks, model: &str) -> Option<LoadLock> {
        now(turns.load(&name(model), Owner::LOCAL))
    }

    /// Begins as many loads of an owner as need not wait, of models with this prefix.
    fn loads(turns: &LoadLocks, owner: Owner, prefix: &str) -> Vec<LoadLock> {
        let begin = |number: usize| {
            let model = name(&format!("{prefix}{number}"));
            now(turns.load_for(&model, owner, || true)).flatten()
        };
        (0..100).map_while(begin).collect()
    }

    #[test]
    fn one_model_has_one_turn_and_models_do_not_wait_for_each_other() {
        let turns = LoadLocks::default();
        let first = load(&turns, "a");
        assert!(first.is_some());
        assert!(load(&turns, "a").is_none());
        assert!(now(turns.unload(&name("a"))).is_none());
        assert!(load(&turns, "b").is_some());
        drop(first);
        assert!(now(turns.unload(&name("a"))).is_some());
    }

    #[test]
    fn more_loads_than_there_are_places_wait_and_unloads_do_not() {
        let turns = LoadLocks::default();
        let begin = |number| load(&turns, &format!("m{number}"));
        let mut loads: Vec<_> = (0..LOADS_AT_ONCE).map(begin).collect();
        assert!(loads.iter().all(Option::is_some));
        assert!(begin(LOADS_AT_ONCE).is_none());
        assert!(now(turns.unload(&name("another"))).is_some());
        loads.pop();
        assert!(begin(LOADS_AT_ONCE).is_some());
    }

    #[test]
    fn a_load_that_waits_for_room_has_no_place_among_the_loads() {
        let turns = LoadLocks::default();
        let begin = |number| load(&turns, &format!("m{number}"));
        let mut loads: Vec<Option<LoadLock>> = (0..LOADS_AT_ONCE).map(begin).collect();
        assert!(begin(LOADS_AT_ONCE).is_none());
        let waiting = loads[0].as_mut().unwrap();
        waiting.end_load();
        assert!(now(turns.unload(&name("m0"))).is_none(), "its turn stays");
        let other = begin(LOADS_AT_ONCE);
        assert!(other.is_some());
        assert!(!turns.try_begin_load(waiting, Owner::LOCAL));
        drop(other);
        assert!(turns.try_begin_load(waiting, Owner::LOCAL));
    }

    #[test]
    fn the_loads_of_all_tenants_are_bounded_and_none_has_all_places() {
        let public = LoadLocks::default();
        let tenants: Vec<LoadLocks> = (0..1000).map(|_| public.for_other_models()).collect();
        let first = loads(&tenants[0], NOISY, "m");
        assert_eq!(first.len(), LOADS_AT_ONCE);
        assert!(loads(&public, NOISY, "public").is_empty());
        let mut others: Vec<Vec<LoadLock>> = Vec::new();
        for (turns, id) in tenants.iter().zip(10..) {
            others.push(loads(turns, Owner { id, weight: 1 }, "m"));
        }
        let count: usize = others.iter().map(Vec::len).sum();
        assert_eq!(count, ALL_LOADS_AT_ONCE - LOADS_AT_ONCE);
        // Nobody waits for a place in vain.
        drop((first, others));
        assert_eq!(public.loads.used(), 0);
        assert_eq!(loads(&public, QUIET, "m").len(), LOADS_AT_ONCE);
    }

    #[test]
    fn a_place_goes_to_the_owner_that_has_used_the_least_and_not_to_the_longest_queue() {
        let turns = LoadLocks::default();
        let mut noisy = loads(&turns, NOISY, "m");
        let other = loads(&turns, Owner { id: 3, weight: 1 }, "o");
        assert_eq!(turns.loads.used(), ALL_LOADS_AT_ONCE);
        let models: Vec<ModelName> = (0..50).map(|number| name(&format!("w{number}"))).collect();
        let mut queue: Vec<_> = (models.iter())
            .map(|model| Box::pin(turns.load_for(model, NOISY, || true)))
            .collect();
        for waiting in &mut queue {
            assert!(poll(waiting.as_mut()).is_none());
        }
        let model = name("quiet");
        let mut quiet = pin!(turns.load_for(&model, QUIET, || true));
        assert!(poll(quiet.as_mut()).is_none());
        noisy.pop();
        assert!(poll(quiet.as_mut()).flatten().is_some());
        drop((noisy, other));
        // All of them get places, and pass them on.
        for waiting in &mut queue {
            assert!(poll(waiting.as_mut()).flatten().is_some());
        }
        assert_eq!(turns.loads.used(), 0);
    }

    #[test]
    fn an_owner_that_waits_for_a_place_does_not_keep_a_model_from_others() {
        let turns = LoadLocks::default();
        let mut held = loads(&turns, NOISY, "m");
        let model = name("public");
        let mut noisy = pin!(turns.load_for(&model, NOISY, || true));
        assert!(poll(noisy.as_mut()).is_none());
        let quiet = now(turns.load_for(&model, QUIET, || true)).flatten();
        assert!(quiet.is_some());
        // It has a place now, and gives it back, because the other owner loads the model.
        held.pop();
        assert!(poll(noisy.as_mut()).is_none());
        assert_eq!(turns.loads.used(), LOADS_AT_ONCE);
        drop(quiet);
        assert!(poll(noisy.as_mut()).flatten().is_some());
    }

    #[test]
    fn a_model_that_another_request_has_loaded_needs_no_place() {
        let turns = LoadLocks::default();
        let _held = loads(&turns, NOISY, "m");
        let not_wanted = now(turns.load_for(&name("a"), NOISY, || false));
        assert!(matches!(not_wanted, Some(None)));
    }

    #[test]
    fn names_that_nobody_waits_for_are_forgotten() {
        let turns = LoadLocks::default();
        for number in 0..100 {
            drop(load(&turns, &format!("m{number}")));
        }
        assert!(turns.models.lock().unwrap().len() <= 1);
    }
}
