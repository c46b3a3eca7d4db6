//! One release of a model: the version that each request gets, the counts of both versions, and the phase.
//!
//! A request reads the share of the candidate once, in one atomic operation, so that every change applies to whole
//! requests. This module loads nothing and writes no file.

use super::comparison::OutputComparison;
use super::counts::{Arm, Counts, Outcome};
use super::rollback::{LatencyMeasure, RollbackReason, RollbackRule};
use super::split::{WHOLE, is_candidate, position_in_sequence, position_of_key};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use wisp_protocol::call::{ModelName, Version};
use wisp_protocol::release::{
    Latency, Phase, ReleaseEvent, ReleaseEventKind, ReleaseRecord, ReleaseSettings, ReleaseStart,
    ReleaseStatus,
};
use wisp_protocol::routing::{RoutingKey, hash};

/// The release of a model. Lifetime: from its start until it is closed.
#[derive(Debug)]
pub struct Rollout {
    model: ModelName,
    stable: Version,
    candidate: Version,
    /// The number that makes this release select other keys first than the next one.
    salt: u64,
    /// The share of the candidate now.
    share: AtomicU32,
    /// The share of the requests to the stable version that are copied now.
    shadow: AtomicU32,
    /// The number of requests without a key.
    requests: AtomicU64,
    /// The number of requests that could have been copied.
    shadows: AtomicU64,
    record: Mutex<ReleaseRecord>,
    counts: Mutex<Counts>,
}

// === impl Rollout ===

impl Rollout {
    /// Starts a release that moves requests from `stable` to the candidate of the request.
    pub fn start(model: &ModelName, stable: Version, start: ReleaseStart) -> Rollout {
        Rollout::start_with(model, ReleaseRecord::new(model, stable, start))
    }

    /// Starts a release in place of an earlier one, whose events are kept.
    pub fn start_after(earlier: &Rollout, stable: Version, start: ReleaseStart) -> Rollout {
        let mut record = ReleaseRecord::new(&earlier.model, stable, start);
        record.events = earlier.record().events;
        Rollout::start_with(&earlier.model, record)
    }

    fn start_with(model: &ModelName, record: ReleaseRecord) -> Rollout {
        let (candidate, stable) = (record.candidate, record.stable);
        let reason = format!("version {candidate} in place of version {stable}");
        let rollout = Rollout::new(model, record);
        rollout.change(|record| record.add_event(event(ReleaseEventKind::Started, reason)));
        rollout
    }

    /// Continues the release of a record, after a restart.
    pub fn restore(model: &ModelName, record: ReleaseRecord) -> Rollout {
        let rollout = Rollout::new(model, record);
        rollout.change(|record| record.add_event(event(ReleaseEventKind::Restored, String::new())));
        rollout
    }

    fn new(model: &ModelName, record: ReleaseRecord) -> Rollout {
        Rollout {
            model: model.clone(),
            stable: record.stable,
            candidate: record.candidate,
            salt: hash(format!("{model}/{}", record.candidate).as_bytes()),
            share: AtomicU32::new(0),
            shadow: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            shadows: AtomicU64::new(0),
            record: Mutex::new(record),
            counts: Mutex::default(),
        }
    }

    pub fn model(&self) -> &ModelName {
        &self.model
    }

    pub fn stable(&self) -> Version {
        self.stable
    }

    pub fn candidate(&self) -> Version {
        self.candidate
    }

    /// Returns both versions, which the entry of the model has for as long as the release is open.
    pub fn versions(&self) -> [Version; 2] {
        [self.stable, self.candidate]
    }

    pub fn phase(&self) -> Phase {
        self.record_lock().phase
    }

    /// Returns the record of the release, which a restart continues.
    pub fn record(&self) -> ReleaseRecord {
        self.record_lock().clone()
    }

    /// Returns the version that an inference without a version gets.
    pub fn choose(&self, key: RoutingKey) -> Version {
        let share = self.share.load(Relaxed);
        let position = match key.hash() {
            Some(key) => position_of_key(key, self.salt),
            None => position_in_sequence(self.requests.fetch_add(1, Relaxed)),
        };
        match is_candidate(position, share) {
            true => self.candidate,
            false => self.stable,
        }
    }

    /// Returns the version that other requests without a version get, such as those for metadata.
    pub fn default_version(&self) -> Version {
        match self.share.load(Relaxed) >= WHOLE && self.phase() == Phase::Promoted {
            true => self.candidate,
            false => self.stable,
        }
    }

    /// Returns the arm of a version, if it is one of the release.
    pub fn arm(&self, version: Version) -> Option<Arm> {
        match version {
            version if version == self.stable => Some(Arm::Stable),
            version if version == self.candidate => Some(Arm::Candidate),
            _ => None,
        }
    }

    /// Returns whether the next request to the stable version is copied to the candidate.
    pub fn takes_shadow(&self) -> bool {
        let share = self.shadow.load(Relaxed);
        share > 0
            && is_candidate(
                position_in_sequence(self.shadows.fetch_add(1, Relaxed)),
                share,
            )
    }

    /// Replaces the settings of a release that is running.
    pub fn change_settings(&self, settings: ReleaseSettings) {
        self.change(|record| {
            let reason = format!("the candidate gets {} %", settings.weight_percent);
            record.settings = settings;
            record.add_event(event(ReleaseEventKind::Changed, reason));
        });
    }

    /// Gives all requests to the candidate.
    pub fn promote(&self) {
        self.enter(Phase::Promoted, ReleaseEventKind::Promoted);
    }

    /// Gives all requests to the stable version.
    pub fn abort(&self) {
        self.enter(Phase::Aborted, ReleaseEventKind::Aborted);
    }

    /// Gives all requests to the stable version for this reason, if the release is running. Returns whether it was.
    pub fn roll_back(&self, reason: &str) -> bool {
        let mut was_running = false;
        self.change(|record| {
            was_running = record.phase == Phase::Running;
            if was_running {
                record.phase = Phase::RolledBack;
                record.add_event(event(ReleaseEventKind::RolledBack, reason.to_owned()));
            }
        });
        was_running
    }

    fn enter(&self, phase: Phase, kind: ReleaseEventKind) {
        self.change(|record| {
            if record.phase != phase {
                record.phase = phase;
                record.add_event(event(kind, String::new()));
            }
        });
    }

    /// Changes the record, and the shares that follow from it.
    fn change(&self, change: impl FnOnce(&mut ReleaseRecord)) {
        let mut record = self.record_lock();
        change(&mut record);
        let (share, shadow) = match record.phase {
            Phase::Running => (
                share_of(record.settings.weight_percent),
                share_of(record.settings.shadow_percent),
            ),
            Phase::Promoted => (WHOLE, 0),
            Phase::Aborted | Phase::RolledBack => (0, 0),
        };
        // Within the lock, so that the shares belong to the last change.
        self.share.store(share, Relaxed);
        self.shadow.store(shadow, Relaxed);
    }

    /// Counts a request of a client.
    pub fn count(&self, arm: Arm, outcome: Outcome) {
        self.counts_lock().add(arm, outcome);
    }

    /// Counts a copied request.
    pub fn count_shadow(&self, outcome: Outcome) {
        self.counts_lock().add_shadow(outcome);
    }

    /// Counts a copy that was not made.
    pub fn count_dropped(&self) {
        self.counts_lock().add_dropped();
    }

    /// Counts the comparison of a response with the stable version's.
    pub fn count_comparison(&self, outputs: &[OutputComparison], tolerance: Option<f64>) {
        self.counts_lock().add_comparison(outputs, tolerance);
    }

    /// Returns the largest difference of numbers that agree.
    pub fn tolerance(&self) -> Option<f64> {
        self.record_lock().settings.tolerance
    }

    /// Returns the reason to roll the release back, if it is running and there is one.
    pub fn judge(&self) -> Option<RollbackReason> {
        let (phase, rule) = {
            let record = self.record_lock();
            (record.phase, rule(&record.settings))
        };
        if phase != Phase::Running {
            return None;
        }
        let recent = self.counts_lock().recent(&rule);
        rule.verdict(recent.stable, recent.candidate, recent.agreement)
    }

    /// Returns the release with its counts.
    pub fn status(&self) -> ReleaseStatus {
        let record = self.record();
        let counts = self.counts_lock();
        ReleaseStatus {
            default_version: record.default_version(),
            model: record.model,
            stable: record.stable,
            candidate: record.candidate,
            phase: record.phase,
            settings: record.settings,
            stable_requests: counts.of(Arm::Stable),
            candidate_requests: counts.of(Arm::Candidate),
            shadow: counts.of_shadow(),
            events: record.events,
        }
    }

    fn record_lock(&self) -> MutexGuard<'_, ReleaseRecord> {
        // No code panics while the lock is held, so a poisoned lock still guards a consistent record.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts_lock(&self) -> MutexGuard<'_, Counts> {
        // As above.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn event(event: ReleaseEventKind, reason: String) -> ReleaseEvent {
    let since_epoch = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    ReleaseEvent {
        unix_milliseconds: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
        event,
        reason,
    }
}

fn rule(settings: &ReleaseSettings) -> RollbackRule {
    RollbackRule {
        min_requests: settings.min_requests,
        max_error_percent: settings.max_error_percent,
        max_latency_ratio: settings.max_latency_ratio,
        latency: match settings.latency {
            Latency::P99 => LatencyMeasure::P99,
            Latency::Mean => LatencyMeasure::Mean,
        },
        max_disagreement_percent: settings.max_disagreement_percent,
    }
}

/// Returns the share of a part in percent.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the number is within the range of shares"
)]
fn share_of(percent: f64) -> u32 {
    (percent.clamp(0.0, 100.0) * 100.0).round() as u32
}

#[cfg(test)]
mod tests;
