//! Admission control: grants a [`Permit`] for a request or refuses it at once.
//!
//! Counts requests and sandbox instances, both in total and for each model version. A version's [`Share`]
//! is a part of the total, so that no version can use the whole capacity; an [`OwnerShare`] is one too, so that no
//! tenant can, however many versions it uses. The instances of a version may have [`InstanceSlots`] apart from those of the
//! server. Admission does not depend on the content of a request. Running a model requires a permit; dropping the permit
//! frees its capacity.

use crate::fair_slots::{FairSlot, FairSlots};
use crate::metering::call_meter::CallMeter;
use crate::owner::{OwnedRequest, Owner, OwnerShare};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;
use wisp_sandbox::compute::{ComputeMeter, Payer};
use wisp_tensor::MemoryBudget;

/// The multiple of the free permits that one version, or one owner, may hold. With 7, a single busy version holds at
/// most 7/8 of all permits, two hold 14/15 together, and so on, so that some permits are always free.
const SHARE_OF_FREE: usize = 7;

/// The request and instance capacity of the server. Lifetime: the process.
#[derive(Debug)]
pub struct Admission {
    requests: Arc<Requests>,
    instances: Arc<FairSlots>,
}

#[derive(Debug)]
struct Requests {
    admitted: AtomicUsize,
    max: usize,
    admissions: AtomicU64,
    overloaded: AtomicU64,
    share_used: AtomicU64,
    owner_share_used: AtomicU64,
    no_instance: AtomicU64,
    /// The instances that are alive now.
    live_instances: AtomicUsize,
}

/// The numbers of admitted and refused requests since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AdmissionCounts {
    pub admitted: u64,
    pub overloaded: u64,
    pub share_used: u64,
    /// The requests of owners that had their shares of the capacity.
    pub owner_share_used: u64,
    /// The requests for which no sandbox instance became free in time.
    pub no_instance: u64,
    /// The requests that waited longest for their bodies when there were too many. Set by
    /// [`crate::Serving::admission_counts`].
    pub evicted: u64,
}

/// The requests of one model version that hold a permit. Lifetime: a model version.
#[derive(Debug, Default)]
pub struct Share {
    admitted: AtomicUsize,
    /// The places for the instances of the version, if they are not those of the server.
    instances: Option<InstanceSlots>,
}

/// The places for the instances of some versions, apart from those of the server. Clones are the same places. Lifetime: the
/// versions.
#[derive(Debug, Clone)]
pub struct InstanceSlots(Arc<FairSlots>);

/// The permission to run one request. Lifetime: one request.
#[derive(Debug)]
pub struct Permit {
    requests: Arc<Requests>,
    share: Arc<Share>,
    /// The place of the request in the share of its owner; `None` for the local one.
    owner: Option<OwnedRequest>,
    instances: Arc<FairSlots>,
    /// The meter of the request; `None` for one of the server itself.
    meter: Option<Arc<CallMeter>>,
    /// The budget for the memory of its handler; `None` for one of the server itself.
    memory: Option<Arc<MemoryBudget>>,
}

/// A place in the sandbox for one instance. Dropping it frees the place, so it is kept with the instance.
#[derive(Debug)]
pub struct InstanceSlot {
    _slot: FairSlot,
    requests: Arc<Requests>,
}

/// The reason that a request was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    #[error("the server is at its limit of {max_requests} requests")]
    Overloaded { max_requests: usize },
    #[error(
        "the model is at its share of the server's {max_requests} requests; the rest is for other \
         models"
    )]
    ShareUsed { max_requests: usize },
    #[error(
        "the tenant is at its share of the server's {max_requests} requests; the rest is for other \
         tenants"
    )]
    OwnerShareUsed { max_requests: usize },
    #[error("no sandbox instance became free before the deadline")]
    NoInstance,
}

impl InstanceSlots {
    /// Returns `count` free places.
    pub fn new(count: usize) -> InstanceSlots {
        InstanceSlots(FairSlots::new(count))
    }
}

impl InstanceSlot {
    fn new(slot: FairSlot, requests: &Arc<Requests>) -> InstanceSlot {
        requests.live_instances.fetch_add(1, Relaxed);
        InstanceSlot {
            _slot: slot,
            requests: Arc::clone(requests),
        }
    }
}

impl Drop for InstanceSlot {
    fn drop(&mut self) {
        self.requests.live_instances.fetch_sub(1, Relaxed);
    }
}

impl Share {
    /// Returns the share of a version whose instances have these places, if there are any besides those of the server.
    pub(crate) fn with_instances(instances: Option<InstanceSlots>) -> Share {
        Share {
            admitted: AtomicUsize::new(0),
            instances,
        }
    }

    /// Returns whether no request of the version holds a permit.
    pub(crate) fn is_idle(&self) -> bool {
        self.admitted.load(Relaxed) == 0
    }
}

impl Admission {
    pub fn new(max_requests: usize, max_instances: usize) -> Admission {
        Admission {
            requests: Arc::new(Requests {
                admitted: AtomicUsize::new(0),
                max: max_requests,
                admissions: AtomicU64::new(0),
                overloaded: AtomicU64::new(0),
                share_used: AtomicU64::new(0),
                owner_share_used: AtomicU64::new(0),
                no_instance: AtomicU64::new(0),
                live_instances: AtomicUsize::new(0),
            }),
            instances: FairSlots::new(max_instances),
        }
    }

    /// Returns the number of requests that hold a permit now.
    pub fn admitted_requests(&self) -> usize {
        self.requests.admitted.load(Relaxed)
    }

    /// Returns the largest number of requests that may hold a permit.
    pub fn max_requests(&self) -> usize {
        self.requests.max
    }

    /// Returns the numbers of admitted and refused requests since the start.
    pub fn counts(&self) -> AdmissionCounts {
        let requests = &self.requests;
        AdmissionCounts {
            admitted: requests.admissions.load(Relaxed),
            overloaded: requests.overloaded.load(Relaxed),
            share_used: requests.share_used.load(Relaxed),
            owner_share_used: requests.owner_share_used.load(Relaxed),
            no_instance: requests.no_instance.load(Relaxed),
            evicted: 0,
        }
    }

    /// Returns the number of instances that are alive now, in all places.
    pub fn live_instances(&self) -> usize {
        self.requests.live_instances.load(Relaxed)
    }

    /// Admits one request of the server itself, as [`Admission::admit_for`] does.
    ///
    /// # Errors
    /// Returns the reason if the request is not admitted.
    pub fn admit(&self, share: &Arc<Share>) -> Result<Permit, AdmissionError> {
        self.admit_for(share, None)
    }

    /// Admits one request of an owner for the version that owns `share`, or refuses it without waiting. `None` is the
    /// local owner.
    ///
    /// # Errors
    /// Returns the reason if the request is not admitted.
    pub fn admit_for(
        &self,
        share: &Arc<Share>,
        owner: Option<Arc<OwnerShare>>,
    ) -> Result<Permit, AdmissionError> {
        let max_requests = self.requests.max;
        let admitted = &self.requests.admitted;
        let take = |admitted: usize| (admitted < max_requests).then(|| admitted + 1);
        let before = admitted.fetch_update(Relaxed, Relaxed, take).map_err(|_| {
            self.requests.overloaded.fetch_add(1, Relaxed);
            AdmissionError::Overloaded { max_requests }
        })?;
        let of_version = share.admitted.fetch_add(1, Relaxed);
        let (owner, of_owner) = match owner.map(OwnerShare::enter) {
            Some((owned, before)) => (Some(owned), before),
            None => (None, 0),
        };
        let instances = match &share.instances {
            Some(InstanceSlots(own)) => own,
            None => &self.instances,
        };
        // Dropping the permit from here on gives both counts back.
        let permit = Permit {
            requests: Arc::clone(&self.requests),
            share: Arc::clone(share),
            owner,
            instances: Arc::clone(instances),
            meter: None,
            memory: None,
        };
        let free = max_requests - before;
        if of_version >= free.saturating_mul(SHARE_OF_FREE) {
            self.requests.share_used.fetch_add(1, Relaxed);
            return Err(AdmissionError::ShareUsed { max_requests });
        }
        if of_owner >= free.saturating_mul(SHARE_OF_FREE) {
            self.requests.owner_share_used.fetch_add(1, Relaxed);
            return Err(AdmissionError::OwnerShareUsed { max_requests });
        }
        self.requests.admissions.fetch_add(1, Relaxed);
        Ok(permit)
    }
}

impl Permit {
    /// Returns the owner of the request.
    pub fn owner(&self) -> Owner {
        self.owner
            .as_ref()
            .map_or(Owner::LOCAL, OwnedRequest::owner)
    }

    /// Returns the party that is charged for the computations of the request.
    pub(crate) fn payer(&self) -> Payer {
        let meter = self.meter.clone();
        Payer {
            meter: meter.map(|meter| -> Arc<dyn ComputeMeter> { meter }),
            memory: self.memory.clone(),
            ..Payer::from(self.owner())
        }
    }

    /// Returns the permit with the meter of its request, and the budget of its tenant for memory.
    pub(crate) fn metered(mut self, meter: &Arc<CallMeter>, memory: &Arc<MemoryBudget>) -> Permit {
        self.meter = Some(Arc::clone(meter));
        self.memory = Some(Arc::clone(memory));
        self
    }

    /// Returns the budget for the memory of the request's handler, unless it is one of the server itself.
    pub(crate) fn memory(&self) -> Option<&Arc<MemoryBudget>> {
        self.memory.as_ref()
    }

    /// Returns the meter of the request, unless it is one of the server itself.
    pub(crate) fn meter(&self) -> Option<&Arc<CallMeter>> {
        self.meter.as_ref()
    }

    /// Waits for a place in the sandbox: owners in turns, and the requests of each in the order of their arrival.
    pub async fn instance(&self, deadline: Instant) -> Result<InstanceSlot, AdmissionError> {
        let acquire = self.instances.acquire(self.owner());
        match tokio::time::timeout_at(deadline.into(), acquire).await {
            Ok(slot) => Ok(InstanceSlot::new(slot, &self.requests)),
            Err(_) => {
                self.requests.no_instance.fetch_add(1, Relaxed);
                Err(AdmissionError::NoInstance)
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.share.admitted.fetch_sub(1, Relaxed);
        self.requests.admitted.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_request_above_the_limit_is_refused_until_one_ends() -> anyhow::Result<()> {
        let admission = Admission::new(2, 1);
        let share = Arc::default();
        let first = admission.admit(&share)?;
        let _second = admission.admit(&share)?;
        let refusal = AdmissionError::Overloaded { max_requests: 2 };
        assert_eq!(admission.admit(&share).err(), Some(refusal));
        assert_eq!(admission.admitted_requests(), 2);
        drop(first);
        assert!(admission.admit(&share).is_ok());
        let counts = admission.counts();
        assert_eq!((counts.admitted, counts.overloaded), (3, 1));
        Ok(())
    }

    #[test]
    fn no_version_takes_all_there_is() {
        let admission = Admission::new(1024, 1);
        let (greedy, also_greedy, other) = (Arc::default(), Arc::default(), Arc::default());
        let all =
            |share| -> Vec<Permit> { (0..).map_while(|_| admission.admit(share).ok()).collect() };
        let first = all(&greedy);
        assert_eq!(first.len(), 1024 * 7 / 8);
        assert_eq!(admission.counts().share_used, 1);
        let refusal = AdmissionError::ShareUsed { max_requests: 1024 };
        assert_eq!(admission.admit(&greedy).err(), Some(refusal));
        let second = all(&also_greedy);
        assert!(second.len() > 100, "{}", second.len());
        assert!(admission.admit(&other).is_ok());
        drop((first, second));
        assert_eq!(admission.admitted_requests(), 0);
        assert_eq!(all(&other).len(), 1024 * 7 / 8);
    }

    #[test]
    fn no_owner_takes_all_there_is_however_many_versions_it_uses() {
        let admission = Admission::new(1024, 1);
        let noisy = OwnerShare::new(Owner { id: 1, weight: 1 });
        let quiet = OwnerShare::new(Owner { id: 2, weight: 1 });
        let mut permits = Vec::new();
        for _ in 0..20 {
            let share = Arc::default();
            while let Ok(permit) = admission.admit_for(&share, Some(Arc::clone(&noisy))) {
                permits.push(permit);
            }
        }
        assert_eq!(
            (permits.len(), noisy.admitted()),
            (1024 * 7 / 8, 1024 * 7 / 8)
        );
        assert!(admission.counts().owner_share_used > 0);
        let share = Arc::default();
        let permit = admission.admit_for(&share, Some(Arc::clone(&quiet)));
        assert_eq!(permit.map(|permit| permit.owner().id), Ok(2));
        drop(permits);
        assert_eq!((noisy.admitted(), quiet.admitted()), (0, 0));
    }

    #[test]
    fn a_limit_beyond_all_counting_is_none() {
        let admission = Admission::new(usize::MAX, usize::MAX);
        assert!(admission.admit(&Arc::default()).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_is_waited_for_until_the_deadline() -> anyhow::Result<()> {
        let admission = Admission::new(2, 1);
        let share = Arc::default();
        let (first, second) = (admission.admit(&share)?, admission.admit(&share)?);
        let deadline = (tokio::time::Instant::now() + Duration::from_secs(1)).into_std();
        let slot = first.instance(deadline).await?;
        assert_eq!(admission.live_instances(), 1);
        let refused = second.instance(deadline).await;
        assert_eq!(refused.err(), Some(AdmissionError::NoInstance));
        assert_eq!(admission.counts().no_instance, 1);
        drop(slot);
        assert!(second.instance(deadline).await.is_ok());
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_version_with_places_of_its_own_takes_none_of_the_server_and_leaves_none()
    -> anyhow::Result<()> {
        let admission = Admission::new(8, 1);
        let own = InstanceSlots::new(1);
        let apart = |slots: &InstanceSlots| Arc::new(Share::with_instances(Some(slots.clone())));
        let (shared, first, second) = (Arc::default(), apart(&own), apart(&own));
        let deadline = (tokio::time::Instant::now() + Duration::from_secs(1)).into_std();
        let server = admission.admit(&shared)?;
        let of_server = server.instance(deadline).await?;
        let permit = admission.admit(&first)?;
        let of_own = permit.instance(deadline).await?;
        assert_eq!(admission.live_instances(), 2);
        // All are taken: each waits for its own kind.
        let (another, sibling) = (admission.admit(&shared)?, admission.admit(&second)?);
        assert!(another.instance(deadline).await.is_err());
        assert!(sibling.instance(deadline).await.is_err());
        let deadline = (tokio::time::Instant::now() + Duration::from_secs(1)).into_std();
        drop(of_server);
        assert!(sibling.instance(deadline).await.is_err());
        assert!(another.instance(deadline).await.is_ok());
        drop(of_own);
        assert!(sibling.instance(deadline).await.is_ok());
        assert_eq!(admission.live_instances(), 0);
        Ok(())
    }
}
