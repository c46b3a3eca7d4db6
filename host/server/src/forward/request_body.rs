//! The body of a request on its way to a worker.
//!
//! It is passed on piece by piece, as fast as the worker takes it. The worker bounds its size and its time; here it ends
//! with its client, when the server drains, and, if it is a stream of messages, with the first piece after the key of its
//! client was revoked: the worker has no keys to check.

use crate::access::RequestCaller;
use crate::drain::DrainWatch;
use crate::failure::Failure;
use crate::worker_error::WorkerError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use wisp_serving::tenants::tenant_set::{NotAuthenticated, Tenant};
use wisp_serving::{BodyError, InferError};

/// The body of a forwarded request. Lifetime: one request.
pub(crate) struct ForwardedRequestBody {
    incoming: Incoming,
    progress: Arc<BodyProgress>,
    drain: DrainWatch,
    /// Set if the body consists of any number of messages of this caller, which end when the server drains.
    stream_of: Option<RequestCaller>,
    /// The tenant of the worker, with the settings that it has there; `None` until the worker is chosen.
    worker_of: Option<Arc<Tenant>>,
    /// Completes when the rest of the body is no longer waited for. Created on the first wait, since small bodies arrive
    /// with their heads.
    given_up: Option<GivenUp>,
}

type GivenUp = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The progress of a body, for its request. Lifetime: one request.
#[derive(Debug, Default)]
pub(crate) struct BodyProgress {
    state: AtomicU8,
    received: AtomicU64,
}

/// The state of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyState {
    Coming,
    Ended,
    /// The client has disconnected, or its body is invalid.
    Broken,
    /// The server drains.
    GivenUp,
    /// The key of the client is not valid any more.
    Refused,
}

/// The error that ends the stream of a request whose body ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body of the request ended early")]
pub(crate) struct EarlyEnd;

// === impl BodyState ===

impl BodyState {
    /// Returns the failure of a request that the worker has not answered, or not completely.
    pub(super) fn failure(self) -> Failure {
        match self {
            BodyState::Coming | BodyState::Ended => Failure::Worker(WorkerError::Ended),
            BodyState::Broken => InferError::from(BodyError::Disconnected).into(),
            BodyState::GivenUp => InferError::from(BodyError::Draining).into(),
            BodyState::Refused => NotAuthenticated.into(),
        }
    }
}

// === impl BodyProgress ===

impl BodyProgress {
    /// Returns the state of the body.
    pub(crate) fn state(&self) -> BodyState {
        match self.state.load(Relaxed) {
            0 => BodyState::Coming,
            1 => BodyState::Ended,
            2 => BodyState::Broken,
            3 => BodyState::GivenUp,
            _ => BodyState::Refused,
        }
    }

    /// Returns the number of bytes that have arrived.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.received.load(Relaxed)
    }

    fn set(&self, state: BodyState) {
        let number = match state {
            BodyState::Coming => 0,
            BodyState::Ended => 1,
            BodyState::Broken => 2,
            BodyState::GivenUp => 3,
            BodyState::Refused => 4,
        };
        self.state.store(number, Relaxed);
    }
}

// === impl ForwardedRequestBody ===

impl ForwardedRequestBody {
    /// Returns the body of a request. With `stream_of`, it is a stream of messages, and the key of this caller is checked
    /// for each of them.
    pub(crate) fn new(
        incoming: Incoming,
        drain: DrainWatch,
        stream_of: Option<RequestCaller>,
    ) -> ForwardedRequestBody {
        let progress = BodyProgress::default();
        if incoming.is_end_stream() {
            progress.set(BodyState::Ended);
        }
        ForwardedRequestBody {
            incoming,
            progress: Arc::new(progress),
            drain,
            stream_of,
            worker_of: None,
            given_up: None,
        }
    }

    /// Returns the progress of the body, which outlives it.
    pub(crate) fn progress(&self) -> Arc<BodyProgress> {
        Arc::clone(&self.progress)
    }

    /// Returns the body for a worker of this tenant, which may have other settings than the caller had when it was
    /// identified.
    pub(super) fn for_worker_of(self, tenant: &Arc<Tenant>) -> ForwardedRequestBody {
        ForwardedRequestBody {
            worker_of: Some(Arc::clone(tenant)),
            ..self
        }
    }

    /// Returns the state in which the body ends now, if it is a stream.
    fn early_end(&self) -> Option<BodyState> {
        let caller = self.stream_of.as_ref()?;
        let worker_of = self.worker_of.as_ref();
        end_of_stream(caller, worker_of.unwrap_or(caller.serving().tenant()))
    }

    /// Completes when the rest of the body is not waited for any more.
    fn poll_given_up(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (drain, is_stream) = (&self.drain, self.stream_of.is_some());
        let given_up = self.given_up.get_or_insert_with(|| {
            let drain = drain.clone();
            let given_up: GivenUp = match is_stream {
                true => Box::pin(drain.begun()),
                false => Box::pin(drain.bodies_given_up()),
            };
            given_up
        });
        given_up.as_mut().poll(cx)
    }
}

/// Returns the state in which a stream of this caller ends now: refused if the key is not valid any more, and given up if its
/// worker, which is that of this tenant, has other rules for signatures or other grants than the tenant has now. The client
/// then opens another one.
fn end_of_stream(caller: &RequestCaller, worker_of: &Tenant) -> Option<BodyState> {
    match caller.renewed() {
        Err(_) => Some(BodyState::Refused),
        Ok(serving) if !serving.tenant().loads_as(worker_of) => Some(BodyState::GivenUp),
        Ok(_) => None,
    }
}

impl Body for ForwardedRequestBody {
    type Data = Bytes;
    type Error = EarlyEnd;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EarlyEnd>>> {
        loop {
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if self.incoming.is_end_stream() {
                        self.progress.set(BodyState::Ended);
                    }
                    // No supported protocol has trailers in its requests.
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    if let Some(state) = self.early_end() {
                        self.progress.set(state);
                        return Poll::Ready(Some(Err(EarlyEnd)));
                    }
                    let bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
                    self.progress.received.fetch_add(bytes, Relaxed);
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Poll::Ready(Some(Err(_))) => {
                    self.progress.set(BodyState::Broken);
                    return Poll::Ready(Some(Err(EarlyEnd)));
                }
                Poll::Ready(None) => {
                    self.progress.set(BodyState::Ended);
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    if self.poll_given_up(cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.progress.set(BodyState::GivenUp);
                    // The worker still answers the messages of a stream that it has.
                    let is_stream = self.stream_of.is_some();
                    return Poll::Ready((!is_stream).then_some(Err(EarlyEnd)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl fmt::Debug for ForwardedRequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardedRequestBody")
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Access;
    use std::collections::BTreeSet;
    use wisp_serving::namespaces::Namespaces;
    use wisp_serving::registry::Registry;
    use wisp_serving::tenants::tenant_grant::TenantGrant;
    use wisp_serving::{Serving, ServingOptions};

    #[test]
    fn a_stream_goes_on_if_its_worker_has_the_settings_that_the_tenant_has_now()
    -> anyhow::Result<()> {
        let serving = Serving::new(Registry::default(), None, ServingOptions::default());
        let access = Access::new(Arc::new(Namespaces::local(Arc::new(serving))));
        let path = "/inference.GRPCInferenceService/ModelStreamInfer";
        let (head, ()) = http::Request::post(path).body(())?.into_parts();
        let caller = access.admit_grpc(&head).ok().flatten();
        let caller = caller.ok_or_else(|| anyhow::anyhow!("no caller"))?;
        let now = caller.serving().tenant();
        assert_eq!(end_of_stream(&caller, now), None);
        // A change that waits for the next look at the tenants does not end a stream.
        let heavier = Tenant {
            weight: 2,
            ..Tenant::clone(now)
        };
        assert_eq!(end_of_stream(&caller, &heavier), None);
        // The worker was started with a grant that the tenant has lost, even if the caller never had it.
        let granted = Tenant {
            grants: BTreeSet::from([TenantGrant::Clock]),
            ..Tenant::clone(now)
        };
        let ended = end_of_stream(&caller, &granted);
        assert_eq!(ended, Some(BodyState::GivenUp));
        Ok(())
    }
}
