//! May this call run now? A [`Permit`] or a refusal, at once.
//!
//! Counts requests and sandbox instances, and knows nothing of why a call exists. A permit is proof
//! of admission: running a model takes one, and dropping it makes room again.

use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The server's capacity. Lifetime: the process.
#[derive(Debug)]
pub struct Admission {
    requests: Arc<Semaphore>,
    instances: Arc<Semaphore>,
    max_requests: usize,
    max_instances: usize,
}

/// Leave to run one request. Lifetime: one request.
#[derive(Debug)]
pub struct Permit {
    _request: OwnedSemaphorePermit,
    instances: Arc<Semaphore>,
}

/// A place in the sandbox for one instance; given back when dropped, so it goes where the instance goes.
#[derive(Debug)]
pub struct InstanceSlot {
    _slot: OwnedSemaphorePermit,
}

/// Why a call may not run now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    #[error("the server is at its limit of {max_requests} requests")]
    Overloaded { max_requests: usize },
    #[error("no sandbox instance came free before the deadline")]
    NoInstance,
}

impl Admission {
    pub fn new(max_requests: usize, max_instances: usize) -> Admission {
        // More than a semaphore counts is no limit at all, and must not be a panic.
        let [max_requests, max_instances] =
            [max_requests, max_instances].map(|most| most.min(Semaphore::MAX_PERMITS));
        Admission {
            requests: Arc::new(Semaphore::new(max_requests)),
            instances: Arc::new(Semaphore::new(max_instances)),
            max_requests,
            max_instances,
        }
    }

    /// The requests that hold a permit now.
    pub fn admitted_requests(&self) -> usize {
        self.max_requests - self.requests.available_permits()
    }

    /// The places in the sandbox that are taken now.
    pub fn live_instances(&self) -> usize {
        self.max_instances - self.instances.available_permits()
    }

    /// Admit one request, or refuse it without waiting.
    pub fn admit(&self) -> Result<Permit, AdmissionError> {
        let request = Arc::clone(&self.requests)
            .try_acquire_owned()
            .map_err(|_| AdmissionError::Overloaded {
                max_requests: self.max_requests,
            })?;
        Ok(Permit {
            _request: request,
            instances: Arc::clone(&self.instances),
        })
    }
}

impl Permit {
    /// Wait, first come first served, for a place in the sandbox.
    pub async fn instance(&self, deadline: Instant) -> Result<InstanceSlot, AdmissionError> {
        let acquire = Arc::clone(&self.instances).acquire_owned();
        match tokio::time::timeout_at(deadline.into(), acquire).await {
            Ok(Ok(slot)) => Ok(InstanceSlot { _slot: slot }),
            // The semaphore is never closed; were it, there would be no place either.
            Ok(Err(_)) | Err(_) => Err(AdmissionError::NoInstance),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_request_above_the_limit_is_refused_until_one_ends() -> anyhow::Result<()> {
        let admission = Admission::new(2, 1);
        let first = admission.admit()?;
        let _second = admission.admit()?;
        let refusal = AdmissionError::Overloaded { max_requests: 2 };
        assert_eq!(admission.admit().err(), Some(refusal));
        assert_eq!(admission.admitted_requests(), 2);
        drop(first);
        assert!(admission.admit().is_ok());
        Ok(())
    }

    #[test]
    fn a_limit_beyond_all_counting_is_none() {
        assert!(Admission::new(usize::MAX, usize::MAX).admit().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_is_waited_for_until_the_deadline() -> anyhow::Result<()> {
        let admission = Admission::new(2, 1);
        let (first, second) = (admission.admit()?, admission.admit()?);
        let deadline = (tokio::time::Instant::now() + Duration::from_secs(1)).into_std();
        let slot = first.instance(deadline).await?;
        assert_eq!(admission.live_instances(), 1);
        let refused = second.instance(deadline).await;
        assert_eq!(refused.err(), Some(AdmissionError::NoInstance));
        drop(slot);
        assert!(second.instance(deadline).await.is_ok());
        Ok(())
    }
}
