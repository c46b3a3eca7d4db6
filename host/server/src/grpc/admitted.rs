//! The admission of a gRPC request: its reading slot, the bytes that it has reserved, its caller, and the key of its client
//! for releases.
//!
//! tonic carries the value in the extensions of the request, from the head to the service. A service that
//! does not find it there fails the request instead of admitting it again.

use crate::access::RequestCaller;
use crate::failure::Failure;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tonic::Request;
use wisp_protocol::routing::RoutingKey;
use wisp_serving::tenants::tenant_set::NotAuthenticated;
use wisp_serving::{ReadingSlot, Serving};
use wisp_tensor::Reservation;

/// A request that may read its messages. Clones share the state. Lifetime: one request.
#[derive(Debug, Clone)]
pub(crate) struct AdmittedRequest(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// The slot of the message that is being read; `None` once its inference has begun.
    slot: Option<ReadingSlot>,
    /// The bytes that the request has reserved in the budget of all bodies.
    reservation: Reservation,
    /// The key that keeps the client at its version during a release.
    routing: RoutingKey,
    /// `None` for a request without a key that needs none.
    caller: Option<RequestCaller>,
}

impl AdmittedRequest {
    pub(crate) fn new(
        slot: ReadingSlot,
        reservation: Reservation,
        routing: RoutingKey,
    ) -> AdmittedRequest {
        AdmittedRequest(Arc::new(Mutex::new(State {
            slot: Some(slot),
            reservation,
            routing,
            caller: None,
        })))
    }

    /// Sets the service of the tenant whose request it is, to which its messages and their memory are charged.
    pub(crate) fn set_caller(&self, caller: Option<RequestCaller>) {
        let mut state = self.lock();
        if let Some(caller) = &caller {
            state.slot = Some(caller.serving().admit());
            state.reservation.charge_to(caller.serving().memory());
        }
        state.caller = caller;
    }

    /// Returns the service of the tenant whose request it is.
    ///
    /// # Errors
    /// Returns an error if the request has no valid key, which only methods that need none let pass.
    pub(super) fn serving(&self) -> Result<Arc<Serving>, Failure> {
        let caller = self.lock().caller.clone().ok_or(NotAuthenticated)?;
        Ok(Arc::clone(caller.serving()))
    }

    /// Returns the service of the tenant for a further message of its request.
    ///
    /// # Errors
    /// Returns an error if the key of the request has been revoked or has expired since.
    pub(super) fn renewed(&self) -> Result<Arc<Serving>, Failure> {
        let caller = self.lock().caller.clone().ok_or(NotAuthenticated)?;
        caller.renewed()
    }

    /// Returns the key that keeps the client at its version during a release.
    pub(super) fn routing(&self) -> RoutingKey {
        self.lock().routing
    }

    /// Returns the admission of a request.
    ///
    /// # Errors
    /// Returns [`Failure::NotAdmitted`] if the request has none, which is a defect of the server.
    pub(super) fn of<M>(request: &Request<M>) -> Result<AdmittedRequest, Failure> {
        let admitted = request.extensions().get::<AdmittedRequest>();
        admitted.cloned().ok_or(Failure::NotAdmitted)
    }

    /// Takes the slot of the message, which is complete.
    ///
    /// # Errors
    /// Returns [`Failure::NotAdmitted`] if the slot has been taken for an earlier message, which is a defect
    /// of the server.
    pub(super) fn take_slot(&self) -> Result<ReadingSlot, Failure> {
        self.lock().slot.take().ok_or(Failure::NotAdmitted)
    }

    /// Sets the slot of the next message.
    pub(super) fn set_slot(&self, slot: ReadingSlot) {
        self.lock().slot = Some(slot);
    }

    /// Counts the request as waiting for its message. Completes when it must make room for newer ones.
    pub(super) fn poll_evicted(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.lock().slot {
            Some(slot) => slot.poll_evicted(cx),
            None => Poll::Pending,
        }
    }

    /// Ends the wait: the message is complete.
    pub(super) fn complete(&self) {
        if let Some(slot) = &mut self.lock().slot {
            slot.complete();
        }
    }

    /// Reserves `bytes` more, or returns false and changes nothing.
    pub(super) fn grow(&self, bytes: usize) -> bool {
        self.lock().reservation.grow(bytes)
    }

    /// Returns whether a message of `bytes` could be reserved.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        bytes == 0 || self.lock().reservation.budget().has_room(bytes)
    }

    /// Releases the bytes of the messages so far. Their responses have been sent.
    pub(super) fn release(&self) {
        self.lock().reservation.release();
    }

    /// Returns the reservation of the messages so far, for code that cannot use an [`AdmittedRequest`].
    pub(super) fn split_off(&self) -> Reservation {
        self.lock().reservation.split_off()
    }

    /// Adds a reservation, which is held until the response has been sent.
    pub(super) fn hold(&self, reservation: Reservation) {
        self.lock().reservation.join(reservation);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent even after a panic in another thread.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
