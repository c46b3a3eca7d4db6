//! The response of a web component, whose body is sent while the component produces it.
//!
//! While the component works on the next piece, the request counts as work in progress, no matter how much has been
//! sent already. A component that fails within its body ends the connection or stream, so that the client does not
//! take the part for the whole.
//!
//! On a server with tenants, a page of a component has an origin of its own ([`ComponentResponse::outside_origin`]).

use crate::connection_activity::RequestGuard;
use crate::server_timing::{SERVER_TIMING, server_timing};
use bytes::Bytes;
use http::header::CONTENT_SECURITY_POLICY;
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use wisp_serving::web::{WebBody, WebBodyError, WebResponded};

/// The rights of a page of a component outside of the server's origin. Without `allow-same-origin`, it has an origin of its
/// own, and so no access to the storage, the windows and the service workers of the server's pages.
pub(crate) const OUTSIDE_ORIGIN: HeaderValue = HeaderValue::from_static(
    "sandbox allow-scripts allow-forms allow-modals allow-popups allow-downloads",
);

/// A response that is not yet bound to a connection. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct ComponentResponse(Response<WebBody>);

/// The body of a response. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct ComponentBody {
    /// `None` if the client must not get a body.
    body: Option<WebBody>,
    guard: RequestGuard,
}

// === impl ComponentResponse ===

impl From<WebResponded> for ComponentResponse {
    fn from(responded: WebResponded) -> ComponentResponse {
        let WebResponded {
            mut response,
            timings,
        } = responded;
        if let Ok(timings) = HeaderValue::from_maybe_shared(server_timing(&timings)) {
            // The component may have timings of its own.
            response.headers_mut().append(SERVER_TIMING, timings);
        }
        ComponentResponse(response)
    }
}

impl ComponentResponse {
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// Gives a page of the component an origin of its own: in the server's, people enter the keys of tenants. The
    /// policies of the component stay, because a browser enforces all policies of a response.
    pub(crate) fn outside_origin(mut self) -> ComponentResponse {
        let headers = self.0.headers_mut();
        headers.append(CONTENT_SECURITY_POLICY, OUTSIDE_ORIGIN);
        self
    }

    pub(crate) fn into_response(self, mut guard: RequestGuard) -> Response<ComponentBody> {
        guard.start_responding();
        self.0.map(|body| ComponentBody {
            body: Some(body),
            guard,
        })
    }
}

// === impl ComponentBody ===

impl ComponentBody {
    /// Drops the body of a response to a HEAD request.
    pub(crate) fn discard(&mut self) {
        if let Some(body) = self.body.take() {
            body.discard();
        }
    }
}

impl Body for ComponentBody {
    type Data = Bytes;
    type Error = WebBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, WebBodyError>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = Pin::new(body).poll_frame(cx);
        if frame.is_pending() {
            self.guard.resume_working();
        }
        let frame = ready!(frame);
        if let Some(Ok(frame)) = &frame
            && frame.data_ref().is_some_and(Bytes::is_empty)
        {
            // It would be an empty frame of HTTP/2, and a component can write any number of them. The
            // thread serves other connections before the next one.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.guard.start_responding();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}
