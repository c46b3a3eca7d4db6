//! The requests of tenants with processes of their own, which are passed on to them.
//!
//! A reverse proxy for a single kind of server: `worker_slot` supervises the process of a tenant and has a connection to
//! it, over which requests of all protocols go side by side. `head` makes the head of a forwarded request,
//! `request_body` and `forwarded_body` pass bodies on in both directions, and `restarts` are the pauses of a worker that
//! ends. Nothing of a body is interpreted here: whatever a tenant sends is parsed in its own process.

mod forwarded_body;
mod head;
mod request_body;
mod restarts;
mod worker_slot;

pub(crate) use forwarded_body::{Form, ForwardedBody, Places};
pub(crate) use request_body::{BodyProgress, BodyState, ForwardedRequestBody};

use crate::access::RequestCaller;
use crate::failure::Failure;
use crate::worker_counts::WorkerCounts;
use crate::worker_error::WorkerError;
use crate::worker_process::StartWorker;
use http::request::Parts;
use http::{HeaderValue, Response};
use hyper::body::Incoming;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use wisp_serving::namespaces::Namespaces;
use wisp_serving::tenants::isolation::Isolation;
use wisp_serving::tenants::tenant_id::TenantId;
use wisp_serving::tenants::tenant_set::Tenant;
use worker_slot::{Use, WorkerSlot};

/// The time between two looks at the tenants.
const LOOK: Duration = Duration::from_secs(1);

/// The number of times that a request is offered to a worker. A worker may end before it receives the request.
const ATTEMPTS: usize = 3;

/// The workers of all tenants that have one. Lifetime: the process.
#[derive(Debug)]
pub(crate) struct Forwarder {
    starter: Arc<dyn StartWorker>,
    slots: Mutex<Slots>,
    counts: Arc<WorkerCounts>,
}

/// The workers of all tenants.
#[derive(Debug, Default)]
struct Slots {
    /// The workers that receive requests.
    current: BTreeMap<TenantId, Arc<WorkerSlot>>,
    /// The workers of tenants that have changed since, until their requests have ended.
    retired: Vec<Arc<WorkerSlot>>,
    /// The retired workers whose requests have ended. They can report the usage of these until the next look.
    unused: Vec<Arc<WorkerSlot>>,
}

/// A request that is passed on. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct ForwardedRequest<'a> {
    pub(crate) head: &'a Parts,
    pub(crate) caller: &'a RequestCaller,
    pub(crate) body: ForwardedRequestBody,
    /// The id of the request in the log.
    pub(crate) id: Option<HeaderValue>,
    /// Set if the request counts within the limits of its tenant.
    pub(crate) is_inference: bool,
}

impl Forwarder {
    pub(crate) fn new(starter: Arc<dyn StartWorker>) -> Forwarder {
        Forwarder {
            starter,
            slots: Mutex::default(),
            counts: Arc::default(),
        }
    }

    /// Returns the numbers of the workers.
    pub(crate) fn counts(&self) -> Arc<WorkerCounts> {
        Arc::clone(&self.counts)
    }

    /// Passes a request on to the worker of its tenant, and returns the response, whose body is still arriving. Dropping
    /// the future cancels the request in the worker.
    pub(crate) async fn forward(
        &self,
        request: ForwardedRequest<'_>,
    ) -> Result<(Response<Incoming>, Places), Failure> {
        let ForwardedRequest {
            head,
            caller,
            body,
            id,
            is_inference,
        } = request;
        let serving = caller.serving();
        let call = serving.admit_forwarded(is_inference).await?;
        let tenant = tenant_now(caller)?;
        self.look_if_new(&tenant.id, caller.namespaces());
        let (slot, worker) = self.slot(&tenant);
        let progress = body.progress();
        let body = body.for_worker_of(&tenant);
        let mut unsent = head::forwarded((head, caller.role()), id, body);
        for _ in 0..ATTEMPTS {
            let mut sender = slot.sender().await?;
            match sender.try_send_request(unsent).await {
                Ok(mut response) => {
                    head::remove_of_connection(response.headers_mut());
                    let places = Places {
                        progress,
                        _call: call,
                        _worker: worker,
                    };
                    return Ok((response, places));
                }
                Err(mut error) => match error.take_message() {
                    // The worker had ended before; the next one gets the request.
                    Some(request) => unsent = request,
                    None => {
                        let error = error.error();
                        tracing::debug!(%error, "a worker has not answered");
                        return Err(progress.state().failure());
                    }
                },
            }
        }
        Err(WorkerError::Ended.into())
    }

    /// Gives workers of tenants that have changed or do not exist any more no further requests, and ends them as soon as
    /// they are unused. Never completes.
    pub(crate) async fn follow(&self, namespaces: &Namespaces) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            self.look(namespaces);
        }
    }

    /// Looks at the tenants before the first worker of one of them is started, which may have been added since the last look.
    /// The memory of a worker depends on their number.
    fn look_if_new(&self, tenant: &TenantId, namespaces: &Namespaces) {
        if !self.slots().current.contains_key(tenant) {
            self.look(namespaces);
        }
    }

    /// Looks at the tenants as they are now. Until the first look, their number is unknown.
    pub(crate) fn look(&self, namespaces: &Namespaces) {
        let tenants = isolated_tenants(namespaces);
        self.counts.set_isolated(tenants.len());
        self.slots().retire(&tenants);
    }

    /// Ends all workers.
    pub(crate) fn end(&self) {
        let slots = std::mem::take(&mut *self.slots());
        // Outside the lock.
        drop(slots);
    }

    /// Returns the worker of a tenant, and its use by a request, without which it might be ended at once.
    fn slot(&self, tenant: &Arc<Tenant>) -> (Arc<WorkerSlot>, Use) {
        let mut slots = self.slots();
        // Until the next look, the worker may still have other rules for signatures, or other grants.
        let is_stale = |slot: &Arc<WorkerSlot>| !slot.tenant().loads_as(tenant);
        if slots.current.get(&tenant.id).is_some_and(is_stale) {
            let stale = slots.current.remove(&tenant.id);
            slots.retired.extend(stale);
        }
        let slot = slots.current.entry(tenant.id.clone()).or_insert_with(|| {
            let starter = Arc::clone(&self.starter);
            Arc::new(WorkerSlot::new(Arc::clone(tenant), starter, self.counts()))
        });
        (Arc::clone(slot), slot.begin_use())
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        // A panic could at most lose a worker, which then ends, so that a poisoned lock guards a usable value.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Slots ===

impl Slots {
    /// Retires the workers of all tenants but these, and ends the retired ones that no request uses.
    fn retire(&mut self, tenants: &BTreeMap<TenantId, Arc<Tenant>>) {
        let is_current = |slot: &WorkerSlot| {
            let tenant = tenants.get(&slot.tenant().id);
            tenant.is_some_and(|tenant| **tenant == *slot.tenant())
        };
        for (id, slot) in std::mem::take(&mut self.current) {
            match is_current(&slot) {
                true => {
                    self.current.insert(id, slot);
                }
                false => self.retired.push(slot),
            }
        }
        self.unused.clear();
        for slot in std::mem::take(&mut self.retired) {
            match slot.is_unused() {
                true => self.unused.push(slot),
                false => self.retired.push(slot),
            }
        }
    }
}

/// Returns the tenant of a request as it is now: it may have changed while the request waited for its turn. One that is
/// answered elsewhere by now is refused, and another attempt goes there.
fn tenant_now(caller: &RequestCaller) -> Result<Arc<Tenant>, Failure> {
    let serving = caller.renewed()?;
    let (before, now) = (caller.serving().tenant(), serving.tenant());
    match now.id == before.id && now.isolation == Isolation::Worker {
        true => Ok(Arc::clone(now)),
        false => Err(WorkerError::Ended.into()),
    }
}

/// Returns the tenants with a process of their own.
fn isolated_tenants(namespaces: &Namespaces) -> BTreeMap<TenantId, Arc<Tenant>> {
    let tenants = namespaces.all_tenants().into_iter();
    let tenants = tenants.map(|serving| Arc::clone(serving.tenant()));
    let isolated = tenants.filter(|tenant| tenant.isolation == Isolation::Worker);
    isolated.map(|tenant| (tenant.id.clone(), tenant)).collect()
}

#[cfg(test)]
mod tests;
