//! The response of a web component, which is sent while the component still produces it.
//!
//! The call of the component runs elsewhere and belongs to the response: it ends when the response is dropped before
//! its end, and goes on when the response is complete. A component that fails within its body ends the body with an
//! error, so that the client does not take the part for the whole.

use super::error::WebError;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

/// The head of a response with its unread body, or the error with which the component responded.
pub(super) type GuestResponse = Result<Response<HyperOutgoingBody>, ErrorCode>;

/// The end of a call.
pub(super) type CallEnd = Result<(), Arc<WebError>>;

/// A call that runs in another task. Dropping it must cancel the call.
pub trait RunningCall: Send {
    /// Lets the call run to its end.
    fn detach(self: Box<Self>);
}

/// The response of a call that has begun. Lifetime: one request.
#[derive(Debug)]
pub struct PendingResponse {
    pub(super) head: oneshot::Receiver<GuestResponse>,
    pub(super) end: oneshot::Receiver<CallEnd>,
}

/// The body of a response. Lifetime: one request.
pub struct WebBody {
    frames: HyperOutgoingBody,
    end: oneshot::Receiver<CallEnd>,
    /// `None` once the body is complete.
    running: Option<Box<dyn RunningCall>>,
    /// The number of bytes that are still to come, if the component has declared their number.
    bytes_left: Option<u64>,
    /// The error that ends the body, from the poll that has found it to the next one.
    failing: Option<WebBodyError>,
}

/// The error that ends a body before its end.
#[derive(Debug, thiserror::Error)]
pub enum WebBodyError {
    #[error("the web component failed within its response")]
    Failed(#[source] Arc<WebError>),
    #[error("the web component abandoned its response")]
    Abandoned,
}

// === impl PendingResponse ===

impl PendingResponse {
    /// Waits for the head of the response of a call that runs as `running`.
    ///
    /// The deadline of the call bounds the wait.
    pub async fn wait(
        self,
        running: Box<dyn RunningCall>,
    ) -> Result<Response<WebBody>, Arc<WebError>> {
        let PendingResponse { head, end } = self;
        match head.await {
            // HTTP allows these before a response only.
            Ok(Ok(response)) if response.status().is_informational() => {
                Err(Arc::new(WebError::Failed {
                    reason: format!("its response has the status {}", response.status()),
                    functions: None,
                }))
            }
            Ok(Ok(response)) => Ok(WebBody::of_response(response, end, running)),
            Ok(Err(code)) => Err(Arc::new(WebError::declared(&code))),
            // The component has dropped what a response is made with, or has ended.
            Err(_) => Err(match end.await {
                Ok(Err(error)) => error,
                Ok(Ok(())) => Arc::new(WebError::NoResponse),
                Err(_) => Arc::new(WebError::Lost),
            }),
        }
    }
}

// === impl WebBody ===

impl WebBody {
    fn of_response(
        response: Response<HyperOutgoingBody>,
        end: oneshot::Receiver<CallEnd>,
        running: Box<dyn RunningCall>,
    ) -> Response<WebBody> {
        let (mut head, frames) = response.into_parts();
        let declared = head.headers.get(CONTENT_LENGTH);
        let mut length = declared.and_then(|length| length.to_str().ok()?.parse().ok());
        let actual = frames.size_hint().exact();
        if actual.is_some() {
            // There is no body, even if the component has declared one.
            head.headers.remove(CONTENT_LENGTH);
            length = actual;
        }
        let mut body = WebBody {
            frames,
            end,
            running: Some(running),
            bytes_left: length,
            failing: None,
        };
        let has_body = !matches!(
            head.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
        match has_body {
            true => body.detach_if_complete(),
            false => body.detach(),
        }
        Response::from_parts(head, body)
    }

    /// Drops the body of a response that must not have one, and lets the call run to its end.
    pub fn discard(mut self) {
        self.detach();
    }

    fn detach(&mut self) {
        if let Some(running) = self.running.take() {
            running.detach();
        }
    }

    fn detach_if_complete(&mut self) {
        if self.bytes_left == Some(0) {
            self.detach();
        }
    }

    /// Returns the failure of the call, if it has ended with one.
    fn failure(&mut self) -> Option<WebBodyError> {
        let end = self.end.try_recv().ok()?;
        end.err().map(WebBodyError::Failed)
    }
}

impl Body for WebBody {
    type Data = Bytes;
    type Error = WebBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, WebBodyError>>> {
        if let Some(failure) = self.failing.take() {
            return Poll::Ready(Some(Err(failure)));
        }
        let frame = std::task::ready!(Pin::new(&mut self.frames).poll_frame(cx));
        let polled = match frame {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                self.bytes_left = self
                    .bytes_left
                    .map(|left| left.saturating_sub(length as u64));
                self.detach_if_complete();
                Some(Ok(frame))
            }
            Some(Err(_)) => Some(Err(self.failure().unwrap_or(WebBodyError::Abandoned))),
            // A body that lost its guest ends like one that is complete.
            None => match self.failure() {
                Some(failure) if self.running.is_some() => Some(Err(failure)),
                _ => {
                    self.detach();
                    None
                }
            },
        };
        match polled {
            // hyper drops what it has not written yet when a body fails, so it is given a chance to write the
            // frames before this one.
            Some(Err(failure)) => {
                self.failing = Some(failure);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            polled => Poll::Ready(polled),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failing.is_none() && self.frames.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.frames.size_hint()
    }
}

impl std::fmt::Debug for WebBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebBody")
            .field("bytes_left", &self.bytes_left)
            .finish_non_exhaustive()
    }
}
