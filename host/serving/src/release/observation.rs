//! The part of an inference that a release takes: its outcome is counted, and a copy may go to the candidate.
//!
//! A copy is made only if the server has capacity to spare. It runs once the response exists, in a task of its own, and
//! its outcome is counted and never returned.

use super::Releases;
use super::comparison::compare;
use super::counts::{Arm, Outcome};
use super::rollout::Rollout;
use super::shadow_tasks::ShadowSlot;
use crate::account::Account;
use crate::admission::Permit;
use crate::blocking::BlockingPool;
use crate::cache_outcome::CacheOutcome;
use crate::error::InferError;
use crate::serving::Serving;
use crate::version::ModelVersion;
use std::sync::{Arc, Weak};
use std::time::Instant;
use wisp_protocol::call::{InferRequest, InferResponse, Selection, Target, VersionChoice};
use wisp_protocol::error::{ErrorKind, Party};
use wisp_tensor::{NamedTensor, Reservation};

/// A request that may count for a release. Dropped before its outcome, it does not count. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct Observed(Option<Counted>);

#[derive(Debug)]
struct Counted {
    rollout: Arc<Rollout>,
    arm: Arm,
    started: Instant,
    shadow: Option<Shadow>,
}

/// The copy of a request to the stable version. Lifetime: until the candidate has responded.
#[derive(Debug)]
struct Shadow {
    request: InferRequest,
    candidate: Arc<ModelVersion>,
    memory: Reservation,
    slot: ShadowSlot,
}

/// Everything that the task of a copy owns.
struct ShadowCall {
    shadow: Shadow,
    rollout: Arc<Rollout>,
    releases: Weak<Releases>,
    blocking: BlockingPool,
    permit: Permit,
    deadline: Instant,
    /// The outputs of the stable version.
    expected: Vec<NamedTensor>,
}

/// The meaning of a failed call for the version that was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The version rejected the request as invalid.
    Request,
    /// The server had no capacity.
    Capacity,
    Version,
}

impl Observed {
    /// Begins to observe a request, before its version is called.
    pub(crate) fn begin(
        serving: &Serving,
        selection: &Selection,
        version: &ModelVersion,
        request: &InferRequest,
    ) -> Observed {
        let Some((rollout, arm)) = counted(serving, selection, version) else {
            return Observed(None);
        };
        let shadow = match arm {
            Arm::Stable if rollout.takes_shadow() => {
                let shadow = Shadow::of(serving, &rollout, request);
                if shadow.is_none() {
                    rollout.count_dropped();
                }
                shadow
            }
            Arm::Stable | Arm::Candidate => None,
        };
        Observed(Some(Counted {
            rollout,
            arm,
            started: Instant::now(),
            shadow,
        }))
    }

    /// Counts the outcome of the call, and starts the copy of a request that has succeeded.
    pub(crate) fn record(
        self,
        serving: &Serving,
        called: Result<(&InferResponse, CacheOutcome), &InferError>,
    ) {
        let Some(counted) = self.0 else {
            return;
        };
        let Counted {
            rollout,
            arm,
            started,
            shadow,
        } = counted;
        match called {
            Ok((response, cache)) => {
                let outcome = match cache {
                    CacheOutcome::Hit(_) => Outcome::Remembered,
                    CacheOutcome::Miss(_) | CacheOutcome::Bypassed => {
                        Outcome::Succeeded(started.elapsed())
                    }
                };
                rollout.count(arm, outcome);
                if let Some(shadow) = shadow {
                    shadow.start(serving, &rollout, response);
                }
            }
            Err(error) => count_failure(&rollout, arm, error),
        }
        serving.releases.judge(&rollout);
    }

    /// Counts a request that is invalid for the version by its form. Its version has not been called, so that no other
    /// error shows anything about it.
    pub(crate) fn undecoded(
        serving: &Serving,
        selection: &Selection,
        version: &ModelVersion,
        error: &InferError,
    ) {
        if fault(error.kind()) != Fault::Request {
            return;
        }
        if let Some((rollout, arm)) = counted(serving, selection, version) {
            rollout.count(arm, Outcome::Rejected);
            serving.releases.judge(&rollout);
        }
    }
}

/// Returns the release that a request counts for, and the arm of its version.
fn counted(
    serving: &Serving,
    selection: &Selection,
    version: &ModelVersion,
) -> Option<(Arc<Rollout>, Arm)> {
    let description = version.description();
    if !names_no_version(selection) {
        return None;
    }
    let rollout = serving.releases.find(&description.model)?;
    let arm = rollout.arm(description.version)?;
    Some((rollout, arm))
}

fn count_failure(rollout: &Rollout, arm: Arm, error: &InferError) {
    match fault(error.kind()) {
        Fault::Version => rollout.count(arm, Outcome::Failed),
        Fault::Request => rollout.count(arm, Outcome::Rejected),
        Fault::Capacity => {}
    }
}

impl Shadow {
    /// Copies a request, if the server has capacity to spare.
    fn of(serving: &Serving, rollout: &Rollout, request: &InferRequest) -> Option<Shadow> {
        if !serving.has_spare_capacity() {
            return None;
        }
        let slot = serving.releases.shadow_slot()?;
        let target = Target {
            model: rollout.model().clone(),
            version: VersionChoice::Number(rollout.candidate()),
        };
        let candidate = serving.registry.resolve(&target).ok()?;
        let mut memory = serving.options.memory.reservation();
        if !memory.grow(content_bytes(&request.inputs)) {
            return None;
        }
        Some(Shadow {
            request: request.clone(),
            candidate,
            memory,
            slot,
        })
    }

    /// Calls the candidate in a task of its own.
    fn start(mut self, serving: &Serving, rollout: &Arc<Rollout>, response: &InferResponse) {
        let admitted = match self.memory.grow(response.content_bytes()) {
            true => {
                // The work of the owner of the models, who has asked for copies.
                let owner = serving.account.as_ref().and_then(Account::share).cloned();
                let share = self.candidate.share();
                serving.admission.admit_for(share, owner).ok()
            }
            false => None,
        };
        let Some(permit) = admitted else {
            return rollout.count_dropped();
        };
        let call = ShadowCall {
            shadow: self,
            rollout: Arc::clone(rollout),
            releases: Arc::downgrade(&serving.releases),
            blocking: serving.blocking.clone(),
            permit,
            deadline: Instant::now() + serving.options.request_timeout,
            expected: response.outputs.clone(),
        };
        serving.releases.spawn_shadow(call.run());
    }
}

impl ShadowCall {
    async fn run(self) {
        let ShadowCall {
            shadow,
            rollout,
            releases,
            blocking,
            permit,
            deadline,
            expected,
        } = self;
        let Shadow {
            request,
            candidate,
            memory,
            slot,
        } = shadow;
        let started = Instant::now();
        let called = candidate.call(request, &permit, deadline).await;
        drop(permit);
        match called {
            Ok((response, _)) => {
                rollout.count_shadow(Outcome::Succeeded(started.elapsed()));
                let comparing = blocking.run_soon(move || compare(&expected, &response.outputs));
                match comparing.await {
                    Ok(outputs) => rollout.count_comparison(&outputs, rollout.tolerance()),
                    Err(_) => rollout.count_dropped(),
                }
            }
            Err(error) => match fault(InferError::from(error).kind()) {
                Fault::Capacity => rollout.count_dropped(),
                // The stable version has accepted the request.
                Fault::Request | Fault::Version => rollout.count_shadow(Outcome::Failed),
            },
        }
        drop((memory, slot));
        if let Some(releases) = releases.upgrade() {
            releases.judge(&rollout);
        }
    }
}

/// Returns whether an inference leaves the choice of the version to the server.
fn names_no_version(selection: &Selection) -> bool {
    match selection {
        Selection::Named(target) => target.version == VersionChoice::Default,
        Selection::OnlyModel(version) => *version == VersionChoice::Default,
    }
}

fn content_bytes(inputs: &[NamedTensor]) -> usize {
    let lengths = inputs.iter().map(|input| input.tensor.content().len());
    lengths.fold(0, usize::saturating_add)
}

/// Returns the part that a version has in a failed call. One that is too slow has failed.
fn fault(kind: ErrorKind) -> Fault {
    match kind {
        ErrorKind::Unavailable | ErrorKind::OverQuota => Fault::Capacity,
        ErrorKind::DeadlineExceeded => Fault::Version,
        kind if kind.party() == Party::Client => Fault::Request,
        _ => Fault::Version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_protocol::call::{ModelName, Version};
    use wisp_sandbox::compute::ComputeError;
    use wisp_sandbox::handler::HandlerError;

    #[test]
    fn a_request_that_names_a_version_is_not_observed() -> anyhow::Result<()> {
        let named = |version| {
            let model = ModelName::new("m").unwrap();
            names_no_version(&Selection::Named(Target { model, version }))
        };
        assert!(named(VersionChoice::Default));
        assert!(!named(VersionChoice::Number(Version::FIRST)));
        assert!(names_no_version(&Selection::OnlyModel(
            VersionChoice::Default
        )));
        Ok(())
    }

    #[test]
    fn a_version_answers_for_its_own_failures_only() {
        let compute = |error: ComputeError| fault(InferError::from(error).kind());
        let handler = |error: HandlerError| fault(InferError::from(error).kind());
        for (found, expected) in [
            (compute(ComputeError::QueueFull), Fault::Capacity),
            (compute(ComputeError::QueueTimeout), Fault::Capacity),
            (compute(ComputeError::Deadline), Fault::Version),
            (
                compute(ComputeError::Backend("failed".to_owned())),
                Fault::Version,
            ),
            (handler(HandlerError::Client(String::new())), Fault::Request),
            (
                handler(HandlerError::Declared(String::new())),
                Fault::Version,
            ),
            (handler(HandlerError::NoInstance), Fault::Capacity),
        ] {
            assert_eq!(found, expected);
        }
    }
}
