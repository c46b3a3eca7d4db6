//! `ModelStreamInfer`: one request after the other on one stream, each answered in its turn.
//!
//! A request that fails is told so in its answer, and the stream goes on; it ends when its client
//! has no more requests, with a message that cannot be read, or when the server drains. The next
//! request is not read before the one at hand is answered.

use super::status::settled;
use super::{Held, v2};
use crate::service::catch_panic;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio_stream::Stream;
use tonic::{Status, Streaming};
use wisp_protocol::grpc::message::inference::{ModelInferRequest, ModelStreamInferResponse};
use wisp_protocol::grpc::v2 as messages;
use wisp_serving::Serving;

/// The answers of one stream. Lifetime: one request.
pub(super) struct Answers {
    /// The wait for the next request and its answer; `None` once there are no more.
    next: Option<Pin<Box<dyn Future<Output = Next> + Send>>>,
}

/// An answer, and where the next request comes from; `None` at the end.
type Next = Option<(Result<ModelStreamInferResponse, Status>, Requests)>;

/// What one answer after the other is made of.
struct Requests {
    serving: Arc<Serving>,
    messages: Streaming<ModelInferRequest>,
    held: Option<Held>,
}

impl Answers {
    pub(super) fn new(
        serving: Arc<Serving>,
        messages: Streaming<ModelInferRequest>,
        held: Option<Held>,
    ) -> Answers {
        let requests = Requests {
            serving,
            messages,
            held,
        };
        Answers {
            next: Some(Box::pin(requests.next())),
        }
    }
}

impl Requests {
    async fn next(mut self) -> Next {
        let message = match self.messages.message().await {
            Ok(message) => message?,
            Err(status) => return Some((Err(settled(status)), self)),
        };
        let id = message.id.clone();
        let answer = match catch_panic(v2::model_infer(&self.serving, message)).await {
            Ok(response) => messages::stream_response(response.into_inner()),
            Err(failure) => messages::stream_error(&id, &failure.client_message()),
        };
        if let Some(held) = &self.held {
            held.release();
        }
        Some((Ok(answer), self))
    }
}

impl Stream for Answers {
    type Item = Result<ModelStreamInferResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(next) = &mut self.next else {
            return Poll::Ready(None);
        };
        let answered = ready!(next.as_mut().poll(cx));
        self.next = None;
        Poll::Ready(answered.map(|(answer, requests)| {
            if answer.is_ok() {
                self.next = Some(Box::pin(requests.next()));
            }
            answer
        }))
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answers")
    }
}
