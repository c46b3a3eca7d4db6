//! The decision which models are loaded: on demand, within a budget of memory, the least recently used leave first.
//!
//! A model that is not loaded is dormant: the registry has its entry, which costs kilobytes, and a request loads it.
//! `memory_ledger` counts the memory of the loaded models, and the registry makes an idle model dormant. This
//! module also keeps, for each model, the times of its loads and the failure that requests need not repeat at once.

use crate::memory_ledger::{MemoryLedger, MemoryPart, Room, sum};
use crate::registry::{ModelEntry, Registry};
use crate::version::ModelVersion;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wisp_protocol::call::ModelName;

/// The time after a failed load until a request loads the model again. It doubles with every failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest time after a failed load until a request loads the model again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The settings for loading and evicting models.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResidencyOptions {
    /// Set if nothing is loaded before it is asked for.
    pub load_on_demand: bool,
    /// The budget of bytes of all loaded models together. A load that would exceed it makes idle models dormant.
    pub max_model_memory_bytes: Option<u64>,
}

/// The loaded models, their memory, and the history of their loads. Lifetime: the process.
#[derive(Debug, Default)]
pub struct Residency {
    options: ResidencyOptions,
    state: Mutex<State>,
    /// The number of uses of all models so far, which orders their last uses.
    uses: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    ledger: MemoryLedger,
    /// The models that a load has been attempted of.
    histories: HashMap<ModelName, History>,
    /// The models whose entries a task is about to replace, and which therefore stay.
    loading: HashSet<ModelName>,
}

#[derive(Debug, Clone, Default)]
struct History {
    loads: LoadTimes,
    evictions: u64,
    /// The bytes of the last load.
    bytes: Option<u64>,
    /// The failures since the last load that succeeded.
    failures: u32,
    /// The end of the pause after the last failure.
    paused_until: Option<Instant>,
}

/// The times of a model's loads, each from the request or command that asked for it until the model could be called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadTimes {
    pub count: u64,
    pub last: Duration,
    pub longest: Duration,
}

/// The memory and the loads of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelResidency {
    pub model: ModelName,
    /// The bytes that it holds, those that it shares included; `None` if it is not loaded.
    pub bytes: Option<u64>,
    pub loads: LoadTimes,
    /// The number of times that it made room for another model.
    pub evictions: u64,
}

/// The memory of all loaded models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelMemory {
    /// The number of loaded models.
    pub models: usize,
    /// The bytes that they hold together, and those that loads have reserved.
    pub bytes: u64,
    pub budget: Option<u64>,
}

/// Bytes of the budget that are reserved for a load, until it is dropped.
#[derive(Debug)]
pub(crate) struct ReservedRoom {
    residency: Arc<Residency>,
    bytes: u64,
}

/// A model whose entry a task is about to replace. It does not make room for others until this is dropped.
#[derive(Debug)]
pub(crate) struct Loading {
    residency: Arc<Residency>,
    /// `None` within a longer such time.
    model: Option<ModelName>,
}

/// The reason that a model cannot be loaded within the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    #[error(
        "the models in use leave no room for it within the {budget} bytes for models \
         (--max-model-memory-bytes, or `model_memory_bytes` of a tenant)"
    )]
    InUse { budget: u64 },
    #[error(
        "it takes {bytes} bytes of memory, more than the {budget} for all models together \
         (--max-model-memory-bytes, or `model_memory_bytes` of a tenant)"
    )]
    TooLarge { bytes: u64, budget: u64 },
}

// === impl State ===

impl State {
    /// Records that a model has become dormant. The lock is held since before it did, so no load is between.
    fn evicted(&mut self, model: &ModelName) {
        self.ledger.remove(model.as_str());
        let history = self.histories.entry(model.clone()).or_default();
        history.evictions = history.evictions.saturating_add(1);
        tracing::debug!(%model, "not loaded any more, to make room");
    }
}

// === impl Residency ===

impl Residency {
    /// Returns a residency without any loaded models.
    pub fn new(options: ResidencyOptions) -> Residency {
        Residency {
            options,
            ..Residency::default()
        }
    }

    /// Returns the settings.
    pub fn options(&self) -> ResidencyOptions {
        self.options
    }

    /// Returns whether requests load models that are not loaded.
    pub fn loads_on_demand(&self) -> bool {
        self.options.load_on_demand || self.options.max_model_memory_bytes.is_some()
    }

    /// Returns the memory of all loaded models.
    pub fn memory(&self) -> ModelMemory {
        let state = self.lock();
        ModelMemory {
            models: state.ledger.models(),
            bytes: state.ledger.total(),
            budget: self.options.max_model_memory_bytes,
        }
    }

    /// Returns the memory and the loads of every model that a load has been attempted of, by name.
    pub fn models(&self) -> Vec<ModelResidency> {
        let state = self.lock();
        let histories = state.histories.iter();
        let mut models: Vec<ModelResidency> = histories
            .map(|(model, history)| ModelResidency {
                model: model.clone(),
                bytes: state.ledger.bytes_of(model.as_str()),
                loads: history.loads,
                evictions: history.evictions,
            })
            .collect();
        models.sort_by(|a, b| a.model.cmp(&b.model));
        models
    }

    /// Records that a request uses the version.
    pub(crate) fn touch(&self, version: &ModelVersion) {
        // Without a budget nothing is evicted, and requests need not share a counter.
        if self.options.max_model_memory_bytes.is_some() {
            version.record_use(self.uses.fetch_add(1, Relaxed));
        }
    }

    /// Enters the models that the server has loaded at its start.
    pub(crate) fn adopt(&self, registry: &Registry) {
        for (model, entry) in registry.entries() {
            if entry.has_loaded() {
                self.enter_parts(&model, memory_of(&entry), None);
            }
        }
    }

    /// Reserves room for a model that takes about `expected` bytes, for which idle models become dormant.
    pub(crate) fn make_room(
        self: &Arc<Residency>,
        registry: &Registry,
        model: &ModelName,
        expected: u64,
    ) -> Result<ReservedRoom, NoRoom> {
        let Some(budget) = self.options.max_model_memory_bytes else {
            return Ok(self.reserved(0));
        };
        let known = self
            .lock()
            .histories
            .get(model)
            .and_then(|history| history.bytes);
        // An estimate does not decide that a model is too large: its load shows it.
        let bytes = known.unwrap_or(expected).min(budget);
        self.evict_until_free(registry, (model, bytes), budget)
    }

    /// Reserves room for further versions of a loaded model, which take about `expected` bytes.
    pub(crate) fn make_more_room(
        self: &Arc<Residency>,
        registry: &Registry,
        model: &ModelName,
        expected: u64,
    ) -> Result<ReservedRoom, NoRoom> {
        match self.options.max_model_memory_bytes {
            Some(budget) => self.evict_until_free(registry, (model, expected.min(budget)), budget),
            None => Ok(self.reserved(0)),
        }
    }

    /// Makes at most `most` idle models dormant, the least recently used first, if requests load models. Returns how many.
    pub(crate) fn evict_idle(&self, registry: &Registry, most: usize) -> usize {
        if !self.loads_on_demand() {
            return 0;
        }
        // Dropped last: returning the memory of a model takes time.
        let mut gone: Vec<Arc<ModelEntry>> = Vec::new();
        let mut state = self.lock();
        let mut idle = registry.evictable();
        idle.retain(|(_, model)| !state.loading.contains(model));
        idle.sort();
        for (_, model) in idle {
            if gone.len() >= most {
                break;
            }
            if let Some(before) = registry.evict(&model) {
                state.evicted(&model);
                gone.push(before);
            }
        }
        drop(state);
        gone.len()
    }

    /// Unloads the least recently used model that no request would load again, for this reason. Returns its name and its
    /// bytes.
    pub(crate) fn give_up(&self, registry: &Registry, reason: &str) -> Option<(ModelName, u64)> {
        let mut state = self.lock();
        let mut loaded = registry.unrepeatable();
        loaded.retain(|(_, model)| !state.loading.contains(model));
        loaded.sort();
        for (_, model) in loaded {
            if let Some(before) = registry.give_up(&model, reason) {
                let bytes = state.ledger.bytes_of(model.as_str()).unwrap_or(0);
                state.evicted(&model);
                drop(state);
                // Returning the memory of a model takes time.
                drop(before);
                return Some((model, bytes));
            }
        }
        None
    }

    /// Keeps the model loaded until its entry has been replaced. One task at a time does so.
    pub(crate) fn loading(self: &Arc<Residency>, model: &ModelName) -> Loading {
        let is_first = self.lock().loading.insert(model.clone());
        Loading {
            residency: Arc::clone(self),
            model: is_first.then(|| model.clone()),
        }
    }

    /// Returns an error if the loaded model alone takes more than the budget.
    pub(crate) fn check(&self, entry: &ModelEntry) -> Result<(), NoRoom> {
        let bytes = sum(&memory_of(entry));
        match self.options.max_model_memory_bytes {
            Some(budget) if bytes > budget => Err(NoRoom::TooLarge { bytes, budget }),
            _ => Ok(()),
        }
    }

    /// Enters a model that has been loaded, `took` after it was asked for, before the registry has it. If it takes more
    /// than was reserved, idle models become dormant.
    pub(crate) fn enter(
        self: &Arc<Residency>,
        registry: &Registry,
        (model, entry): (&ModelName, &ModelEntry),
        (room, took): (ReservedRoom, Duration),
    ) {
        // It is not the next one to leave before its first request.
        entry.ready().for_each(|version| self.touch(version));
        self.enter_parts(model, memory_of(entry), Some((room, took)));
        if let Some(budget) = self.options.max_model_memory_bytes {
            // Models in use stay, and the next load makes the room that is missing.
            let _ = self.evict_until_free(registry, (model, 0), budget);
        }
    }

    /// Enters the versions that a loaded model has now, if others than before, before the registry has them.
    pub(crate) fn update(&self, model: &ModelName, entry: &ModelEntry) {
        match entry.has_loaded() {
            true => self.enter_parts(model, memory_of(entry), None),
            false => self.leave(model),
        }
    }

    /// Records that the model is no longer loaded, because it is unloaded or removed, and forgets its failures.
    pub(crate) fn leave(&self, model: &ModelName) {
        let mut state = self.lock();
        state.ledger.remove(model.as_str());
        if let Some(history) = state.histories.get_mut(model) {
            history.failures = 0;
            history.paused_until = None;
        }
    }

    /// Forgets a model that no longer exists.
    pub(crate) fn forget(&self, model: &ModelName) {
        let mut state = self.lock();
        state.ledger.remove(model.as_str());
        state.histories.remove(model);
    }

    /// Records that a load of the model has failed `now`, so that requests load it again only after a pause.
    pub(crate) fn failed(&self, model: &ModelName, now: Instant) {
        let mut state = self.lock();
        let history = state.histories.entry(model.clone()).or_default();
        history.paused_until = now.checked_add(pause(history.failures));
        history.failures = history.failures.saturating_add(1);
    }

    /// Returns whether a load of the model has failed and the pause after it has ended by `now`.
    pub(crate) fn may_retry(&self, model: &ModelName, now: Instant) -> bool {
        let state = self.lock();
        let paused_until = state
            .histories
            .get(model)
            .and_then(|history| history.paused_until);
        self.loads_on_demand() && paused_until.is_some_and(|end| end <= now)
    }

    /// Evicts idle models until there is room, and reserves it. `model` itself stays.
    fn evict_until_free(
        self: &Arc<Residency>,
        registry: &Registry,
        (model, bytes): (&ModelName, u64),
        budget: u64,
    ) -> Result<ReservedRoom, NoRoom> {
        loop {
            // Dropped last: returning the memory of a model takes time.
            let mut gone: Vec<Arc<ModelEntry>> = Vec::new();
            {
                let mut state = self.lock();
                let mut idle = registry.evictable();
                idle.retain(|(_, other)| other != model && !state.loading.contains(other));
                idle.sort();
                let names: Vec<String> = idle.iter().map(|(_, other)| other.to_string()).collect();
                let leaving = match state.ledger.room(bytes, budget, &names) {
                    Room::Free => {
                        state.ledger.reserve(bytes);
                        return Ok(self.reserved(bytes));
                    }
                    Room::After(leaving) => leaving,
                    Room::None => return Err(NoRoom::InUse { budget }),
                };
                for (_, other) in idle {
                    if leaving.iter().any(|name| name == other.as_str())
                        && let Some(before) = registry.evict(&other)
                    {
                        state.evicted(&other);
                        gone.push(before);
                    }
                }
            }
            if gone.is_empty() {
                // All of them have been used in the meantime.
                return Err(NoRoom::InUse { budget });
            }
        }
    }

    fn enter_parts(
        &self,
        model: &ModelName,
        parts: Vec<MemoryPart>,
        load: Option<(ReservedRoom, Duration)>,
    ) {
        let bytes = sum(&parts);
        let mut state = self.lock();
        state.ledger.enter(model.as_str(), parts);
        let history = state.histories.entry(model.clone()).or_default();
        history.bytes = Some(bytes);
        history.failures = 0;
        history.paused_until = None;
        if let Some((mut room, took)) = load {
            history.loads.add(took);
            // In the same step, so that no other load counts the model twice.
            state.ledger.release(room.bytes);
            room.bytes = 0;
        }
    }

    fn reserved(self: &Arc<Residency>, bytes: u64) -> ReservedRoom {
        ReservedRoom {
            residency: Arc::clone(self),
            bytes,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while the lock is held, so a poisoned lock still guards a consistent state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ReservedRoom {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.residency.lock().ledger.release(self.bytes);
        }
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        if let Some(model) = &self.model {
            self.residency.lock().loading.remove(model);
        }
    }
}

impl LoadTimes {
    fn add(&mut self, took: Duration) {
        self.count = self.count.saturating_add(1);
        self.last = took;
        self.longest = self.longest.max(took);
    }
}

/// Returns the memory of the loaded versions of a model.
fn memory_of(entry: &ModelEntry) -> Vec<MemoryPart> {
    let versions = entry.ready();
    versions
        .flat_map(|version| version.memory().to_vec())
        .collect()
}

/// Returns the time after a failed load until the next, if `failures` others came before.
fn pause(failures: u32) -> Duration {
    let factor = 2_u32.checked_pow(failures).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::LoadedVersion;
    use crate::registry::snapshot::ModelFiles;
    use std::collections::BTreeMap;
    use wisp_protocol::call::{ModelDescription, Version};
    use wisp_sandbox::compute::{Compute, ComputeError, ComputeOptions, Computing};
    use wisp_tensor::{NamedTensor, Signature};

    fn on_demand() -> Residency {
        Residency::new(ResidencyOptions {
            load_on_demand: true,
            max_model_memory_bytes: None,
        })
    }

    #[test]
    fn a_failed_load_is_tried_again_after_a_pause_that_doubles_up_to_a_minute() -> anyhow::Result<()>
    {
        let (residency, model) = (on_demand(), ModelName::new("m")?);
        let mut now = Instant::now();
        assert!(!residency.may_retry(&model, now), "it has not failed");
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            residency.failed(&model, now);
            let pause = Duration::from_secs(seconds);
            let before = now + pause - Duration::from_millis(1);
            assert!(!residency.may_retry(&model, before), "{seconds}");
            now += pause;
            assert!(residency.may_retry(&model, now), "{seconds}");
        }
        residency.leave(&model);
        assert!(!residency.may_retry(&model, now), "it is forgotten");
        residency.failed(&model, now);
        assert!(residency.may_retry(&model, now + FIRST_PAUSE));
        Ok(())
    }

    #[test]
    fn without_a_load_on_demand_no_request_tries_again() -> anyhow::Result<()> {
        let (residency, model) = (Residency::default(), ModelName::new("m")?);
        let now = Instant::now();
        residency.failed(&model, now);
        assert!(!residency.may_retry(&model, now + LONGEST_PAUSE));
        Ok(())
    }

    #[test]
    fn a_reservation_ends_with_its_load() -> anyhow::Result<()> {
        let residency = Arc::new(Residency::new(ResidencyOptions {
            load_on_demand: true,
            max_model_memory_bytes: Some(100),
        }));
        let (registry, model) = (Registry::default(), ModelName::new("m")?);
        let room = residency.make_room(&registry, &model, 60)?;
        let refused = residency.make_room(&registry, &ModelName::new("n")?, 60);
        assert_eq!(refused.err(), Some(NoRoom::InUse { budget: 100 }));
        assert_eq!(residency.memory().bytes, 60);
        drop(room);
        // An estimate beyond the budget is not believed before the load.
        let room = residency.make_room(&registry, &model, 1000)?;
        let entry = ModelEntry::default();
        let took = Duration::from_millis(3);
        residency.enter(&registry, (&model, &entry), (room, took));
        assert_eq!(residency.memory().bytes, 0);
        let models = residency.models();
        assert_eq!(models.len(), 1);
        let expected = LoadTimes {
            count: 1,
            last: took,
            longest: took,
        };
        assert_eq!(models[0].loads, expected);
        Ok(())
    }

    #[test]
    fn a_model_that_is_loaded_again_makes_no_room_for_others_meanwhile() -> anyhow::Result<()> {
        let residency = Arc::new(Residency::new(ResidencyOptions {
            load_on_demand: true,
            max_model_memory_bytes: Some(100),
        }));
        let (model, other) = (ModelName::new("m")?, ModelName::new("n")?);
        let entry = loaded(&model, 60);
        let registry = Registry::new([(model.clone(), entry)].into());
        residency.adopt(&registry);
        let loading = residency.loading(&model);
        // The end of a load within it changes nothing.
        drop(residency.loading(&model));
        let refused = residency.make_room(&registry, &other, 60);
        assert_eq!(refused.err(), Some(NoRoom::InUse { budget: 100 }));
        drop(loading);
        let room = residency.make_room(&registry, &other, 60)?;
        assert!(registry.entry(&model)?.is_dormant());
        assert_eq!(residency.memory().bytes, 60);
        drop(room);
        Ok(())
    }

    #[test]
    fn idle_models_become_dormant_only_if_requests_load_them_again() -> anyhow::Result<()> {
        let (model, other) = (ModelName::new("m")?, ModelName::new("n")?);
        for (residency, expected) in [(on_demand(), 1), (Residency::default(), 0)] {
            let entries = [
                (model.clone(), loaded(&model, 60)),
                (other.clone(), loaded(&other, 20)),
            ];
            let registry = Registry::new(entries.into());
            residency.adopt(&registry);
            assert_eq!(residency.evict_idle(&registry, 1), expected);
            assert_eq!(residency.memory().models, 2 - expected);
        }
        Ok(())
    }

    #[test]
    fn models_that_no_request_loads_again_are_given_up_with_the_reason() -> anyhow::Result<()> {
        let (sent, other, kept) = (
            ModelName::new("m")?,
            ModelName::new("n")?,
            ModelName::new("o")?,
        );
        let of_client = |model: &ModelName| ModelEntry {
            files: None,
            ..loaded(model, 60)
        };
        let entries = [
            (sent.clone(), of_client(&sent)),
            (other.clone(), of_client(&other)),
            (kept.clone(), loaded(&kept, 20)),
        ];
        let registry = Registry::new(entries.into());
        let residency = Arc::new(on_demand());
        residency.adopt(&registry);
        let loading = residency.loading(&sent);
        let given_up = residency.give_up(&registry, "short");
        assert_eq!(given_up, Some((other.clone(), 60)));
        assert_eq!(
            residency.give_up(&registry, "short"),
            None,
            "it is being loaded"
        );
        drop(loading);
        let given_up = residency.give_up(&registry, "short");
        assert_eq!(given_up, Some((sent.clone(), 60)));
        assert_eq!(registry.entry(&sent)?.failure(), Some("short"));
        assert_eq!(
            residency.give_up(&registry, "short"),
            None,
            "requests load it"
        );
        assert!(registry.entry(&kept)?.has_loaded());
        assert_eq!(residency.memory().bytes, 20);
        Ok(())
    }

    #[test]
    fn a_model_with_fewer_versions_than_before_holds_fewer_bytes() -> anyhow::Result<()> {
        let residency = Arc::new(Residency::default());
        let model = ModelName::new("m")?;
        residency.update(&model, &loaded(&model, 60));
        assert_eq!(residency.memory().bytes, 60);
        residency.update(&model, &loaded(&model, 20));
        assert_eq!(residency.memory().bytes, 20);
        residency.update(&model, &ModelEntry::default());
        let memory = residency.memory();
        assert_eq!((memory.bytes, memory.models), (0, 0));
        Ok(())
    }

    /// Returns the entry of a model of the repository with a version that holds this many bytes.
    fn loaded(model: &ModelName, bytes: u64) -> ModelEntry {
        let description = ModelDescription {
            model: model.clone(),
            version: Version::FIRST,
            platform: "none".to_owned(),
            signature: Signature::default(),
            max_batch_size: 0,
            max_rows: None,
            class_labels: BTreeMap::new(),
            properties: BTreeMap::new(),
            configuration: Default::default(),
        };
        let graph: Arc<dyn Compute> = Arc::new(Idle(Signature::default()));
        let version = ModelVersion::graph_only(description, graph, Vec::new());
        let version = version.with_memory(vec![MemoryPart { key: None, bytes }]);
        let ready = LoadedVersion::Ready(Arc::new(version));
        ModelEntry {
            versions: BTreeMap::from([(Version::FIRST, ready)]),
            files: Some(ModelFiles::default()),
            ..ModelEntry::default()
        }
    }

    /// A graph that nobody computes.
    #[derive(Debug)]
    struct Idle(Signature);

    impl Compute for Idle {
        fn signature(&self) -> &Signature {
            &self.0
        }

        fn compute(&self, _inputs: Vec<NamedTensor>, _options: ComputeOptions) -> Computing<'_> {
            Box::pin(async { Err(ComputeError::Unprepared) })
        }

        fn compute_inline(
            &self,
            _inputs: &[NamedTensor],
            _deadline: Instant,
        ) -> Result<Vec<NamedTensor>, ComputeError> {
            Err(ComputeError::Unprepared)
        }
    }
}
