//! Tests of turns and places: who waits for whom, and when a wait ends.

use super::*;
use std::cell::Cell;
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

/// Returns the need for a model that nothing else loads.
fn lasting() -> Need<impl Fn() -> bool> {
    Need {
        is_wanted: || true,
        changes: watch::Sender::new(()).subscribe(),
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
        now(turns.load_for(&model, owner, lasting())).flatten()
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
fn the_services_before_and_after_a_change_take_turns_with_a_model() {
    let before = LoadLocks::default();
    let first = load(&before, "a");
    let after = before.for_same_models();
    assert!(now(after.unload(&name("a"))).is_none());
    assert!(load(&after, "b").is_some());
    drop(first);
    assert!(now(after.unload(&name("a"))).is_some());
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
        .map(|model| Box::pin(turns.load_for(model, NOISY, lasting())))
        .collect();
    for waiting in &mut queue {
        assert!(poll(waiting.as_mut()).is_none());
    }
    let model = name("quiet");
    let mut quiet = pin!(turns.load_for(&model, QUIET, lasting()));
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
    let mut noisy = pin!(turns.load_for(&model, NOISY, lasting()));
    assert!(poll(noisy.as_mut()).is_none());
    let quiet = now(turns.load_for(&model, QUIET, lasting())).flatten();
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
    let need = Need {
        is_wanted: || false,
        changes: watch::Sender::new(()).subscribe(),
    };
    let not_wanted = now(turns.load_for(&name("a"), NOISY, need));
    assert!(matches!(not_wanted, Some(None)));
}

#[test]
fn a_wait_for_a_place_ends_once_another_owner_has_loaded_the_model() {
    let turns = LoadLocks::default();
    let held = loads(&turns, NOISY, "m");
    let model = name("public");
    let (is_wanted, changes) = (Cell::new(true), watch::Sender::new(()));
    let need = || Need {
        is_wanted: || is_wanted.get(),
        changes: changes.subscribe(),
    };
    let mut noisy = pin!(turns.load_for(&model, NOISY, need()));
    assert!(poll(noisy.as_mut()).is_none());
    let quiet = now(turns.load_for(&model, QUIET, need())).flatten();
    assert!(quiet.is_some());
    // A change of another model.
    changes.send_replace(());
    assert!(poll(noisy.as_mut()).is_none());
    is_wanted.set(false);
    changes.send_replace(());
    // Neither the place nor the turn of the model is free.
    assert!(matches!(poll(noisy.as_mut()), Some(None)));
    drop((held, quiet));
    assert_eq!(turns.loads.used(), 0);
}

#[test]
fn a_place_that_comes_together_with_the_end_of_the_need_is_given_back() {
    let turns = LoadLocks::default();
    let mut held = loads(&turns, NOISY, "m");
    let model = name("public");
    let (is_wanted, changes) = (Cell::new(true), watch::Sender::new(()));
    let need = Need {
        is_wanted: || is_wanted.get(),
        changes: changes.subscribe(),
    };
    let mut waiting = Box::pin(turns.load_for(&model, NOISY, need));
    assert!(poll(waiting.as_mut()).is_none());
    held.pop();
    is_wanted.set(false);
    changes.send_replace(());
    assert!(matches!(poll(waiting.as_mut()), Some(None)));
    drop((held, waiting));
    assert_eq!(turns.loads.used(), 0);
}

#[test]
fn names_that_nobody_waits_for_are_forgotten() {
    let turns = LoadLocks::default();
    for number in 0..100 {
        drop(load(&turns, &format!("m{number}")));
    }
    assert!(turns.models.lock().unwrap().len() <= 1);
}
