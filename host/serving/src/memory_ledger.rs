//! The memory of the loaded models, and the choice of those that make room for another one.
//!
//! A model consists of parts. A part with a key is shared: two models with the same weights have a part with the same
//! key, which counts once, and is freed when the last of them leaves. The module only counts: it loads and unloads
//! nothing.

use std::collections::HashMap;

/// Memory that a loaded version holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPart {
    /// The same for all users of shared memory; `None` for memory of one version alone.
    pub key: Option<String>,
    pub bytes: u64,
}

/// The loaded models and their parts. Lifetime: the process.
#[derive(Debug, Default)]
pub struct MemoryLedger {
    models: HashMap<String, Vec<MemoryPart>>,
    shared: HashMap<String, SharedPart>,
    /// The bytes of all models, and those that loads have reserved.
    total: u64,
}

#[derive(Debug)]
struct SharedPart {
    users: usize,
    bytes: u64,
}

/// The way to the room for another model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Room {
    Free,
    /// There is room once these models have left.
    After(Vec<String>),
    /// There is no room even without the models that may leave.
    None,
}

// === impl MemoryLedger ===

impl MemoryLedger {
    /// Returns the bytes of all models, and those that loads have reserved.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Returns the number of loaded models.
    pub fn models(&self) -> usize {
        self.models.len()
    }

    /// Returns the bytes of a model, shared parts included, or `None` if it is not loaded.
    pub fn bytes_of(&self, model: &str) -> Option<u64> {
        let parts = self.models.get(model)?;
        Some(sum(parts))
    }

    /// Reserves bytes for a load.
    pub fn reserve(&mut self, bytes: u64) {
        self.total = self.total.saturating_add(bytes);
    }

    /// Gives reserved bytes back.
    pub fn release(&mut self, bytes: u64) {
        self.total = self.total.saturating_sub(bytes);
    }

    /// Enters a model that has been loaded, in place of the parts that it had before.
    pub fn enter(&mut self, model: &str, parts: Vec<MemoryPart>) {
        let mut added: u64 = 0;
        for part in &parts {
            let is_new = match &part.key {
                None => true,
                Some(key) => match self.shared.get_mut(key) {
                    Some(shared) => {
                        shared.users = shared.users.saturating_add(1);
                        false
                    }
                    None => {
                        let bytes = part.bytes;
                        self.shared
                            .insert(key.clone(), SharedPart { users: 1, bytes });
                        true
                    }
                },
            };
            if is_new {
                added = added.saturating_add(part.bytes);
            }
        }
        self.total = self.total.saturating_add(added);
        // The parts of before leave last, so that what both have keeps its size.
        if let Some(before) = self.models.insert(model.to_owned(), parts) {
            self.free(&before);
        }
    }

    /// Removes a model that is no longer loaded.
    pub fn remove(&mut self, model: &str) {
        if let Some(parts) = self.models.remove(model) {
            self.free(&parts);
        }
    }

    /// Returns the way to `bytes` of room within `budget`. `idle` are the models that may leave, the least recently
    /// used first; models that are not loaded are ignored.
    pub fn room(&self, bytes: u64, budget: u64, idle: &[String]) -> Room {
        let mut total = self.total.saturating_add(bytes);
        if total <= budget {
            return Room::Free;
        }
        let mut leaving = Vec::new();
        let mut left: HashMap<&str, usize> = HashMap::new();
        for model in idle {
            let Some(parts) = self.models.get(model) else {
                continue;
            };
            for part in parts {
                let freed = match &part.key {
                    None => part.bytes,
                    Some(key) => {
                        let gone = left.entry(key.as_str()).or_insert(0);
                        *gone = gone.saturating_add(1);
                        match self.shared.get(key) {
                            Some(shared) if shared.users == *gone => shared.bytes,
                            _ => 0,
                        }
                    }
                };
                total = total.saturating_sub(freed);
            }
            leaving.push(model.clone());
            if total <= budget {
                return Room::After(leaving);
            }
        }
        Room::None
    }

    fn free(&mut self, parts: &[MemoryPart]) {
        for part in parts {
            let freed = match &part.key {
                None => part.bytes,
                Some(key) => match self.shared.get_mut(key) {
                    Some(shared) if shared.users > 1 => {
                        shared.users = shared.users.saturating_sub(1);
                        0
                    }
                    Some(_) => self.shared.remove(key).map_or(0, |shared| shared.bytes),
                    None => 0,
                },
            };
            self.total = self.total.saturating_sub(freed);
        }
    }
}

/// Returns the bytes of these parts together.
pub fn sum(parts: &[MemoryPart]) -> u64 {
    let bytes = parts.iter().map(|part| part.bytes);
    bytes.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(bytes: u64) -> MemoryPart {
        MemoryPart { key: None, bytes }
    }

    fn shared(key: &str, bytes: u64) -> MemoryPart {
        let key = Some(key.to_owned());
        MemoryPart { key, bytes }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_least_recently_used_leave_first_and_no_more_than_needed() {
        let mut ledger = MemoryLedger::default();
        for model in ["a", "b", "c"] {
            ledger.enter(model, vec![own(10)]);
        }
        let idle = names(&["b", "c", "a"]);
        assert_eq!(ledger.room(10, 40, &idle), Room::Free);
        assert_eq!(ledger.room(10, 30, &idle), Room::After(names(&["b"])));
        assert_eq!(ledger.room(11, 30, &idle), Room::After(names(&["b", "c"])));
        assert_eq!(
            ledger.room(30, 30, &idle),
            Room::After(names(&["b", "c", "a"]))
        );
        assert_eq!(ledger.room(31, 30, &idle), Room::None);
    }

    #[test]
    fn models_in_use_make_no_room() {
        let mut ledger = MemoryLedger::default();
        ledger.enter("busy", vec![own(20)]);
        ledger.enter("idle", vec![own(10)]);
        assert_eq!(ledger.room(11, 30, &names(&["idle"])), Room::None);
        assert_eq!(
            ledger.room(10, 30, &names(&["unknown", "idle"])),
            Room::After(names(&["idle"]))
        );
    }

    #[test]
    fn a_shared_part_counts_once_and_leaves_with_its_last_user() {
        let mut ledger = MemoryLedger::default();
        ledger.enter("a", vec![shared("weights", 100), own(1)]);
        ledger.enter("b", vec![shared("weights", 100), own(2)]);
        assert_eq!((ledger.total(), ledger.models()), (103, 2));
        assert_eq!(ledger.bytes_of("a"), Some(101));
        // The first to leave frees only what is its own.
        assert_eq!(
            ledger.room(10, 100, &names(&["a", "b"])),
            Room::After(names(&["a", "b"]))
        );
        ledger.remove("a");
        assert_eq!(ledger.total(), 102);
        ledger.remove("b");
        assert_eq!((ledger.total(), ledger.models()), (0, 0));
    }

    #[test]
    fn a_model_that_is_loaded_again_replaces_itself() {
        let mut ledger = MemoryLedger::default();
        ledger.enter("a", vec![shared("old", 50), own(1)]);
        ledger.enter("a", vec![shared("old", 50), own(5)]);
        assert_eq!(ledger.total(), 55);
        ledger.enter("a", vec![shared("new", 70)]);
        assert_eq!((ledger.total(), ledger.bytes_of("a")), (70, Some(70)));
        ledger.remove("a");
        ledger.remove("a");
        assert_eq!((ledger.total(), ledger.bytes_of("a")), (0, None));
    }

    #[test]
    fn two_versions_of_one_model_share_a_part_too() {
        let mut ledger = MemoryLedger::default();
        ledger.enter("a", vec![shared("w", 10), shared("w", 10)]);
        assert_eq!(ledger.total(), 10);
        assert_eq!(
            ledger.room(5, 10, &names(&["a"])),
            Room::After(names(&["a"]))
        );
        ledger.remove("a");
        assert_eq!(ledger.total(), 0);
    }

    #[test]
    fn reserved_bytes_count_until_they_are_released() {
        let mut ledger = MemoryLedger::default();
        ledger.reserve(30);
        assert_eq!(ledger.room(1, 30, &[]), Room::None);
        ledger.release(30);
        assert_eq!(ledger.room(30, 30, &[]), Room::Free);
        ledger.release(1);
        assert_eq!(ledger.total(), 0);
    }

    /// Compares with a ledger that counts everything anew, over a fixed sequence of many steps.
    #[test]
    fn the_total_is_that_of_the_distinct_parts_after_every_step() {
        let mut ledger = MemoryLedger::default();
        let mut state: u64 = 7;
        let mut next = move |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for _ in 0..5000 {
            let model = format!("m{}", next(20));
            match next(3) {
                0 => ledger.remove(&model),
                _ => {
                    let parts = (0..next(4)).map(|_| match next(2) {
                        0 => own(next(100)),
                        _ => {
                            let key = next(5);
                            shared(&format!("k{key}"), 100 + key)
                        }
                    });
                    let parts: Vec<MemoryPart> = parts.collect();
                    ledger.enter(&model, parts);
                }
            }
            let mut distinct: HashMap<String, u64> = HashMap::new();
            let mut expected = 0;
            for part in ledger.models.values().flatten() {
                match &part.key {
                    Some(key) => {
                        distinct.insert(key.clone(), part.bytes);
                    }
                    None => expected += part.bytes,
                }
            }
            expected += distinct.values().sum::<u64>();
            assert_eq!(ledger.total(), expected);
        }
    }
}
