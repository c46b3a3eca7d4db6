//! `ModelStreamInfer`: a stream of requests, each of which gets its response before the next is read.
//!
//! A request that fails gets an error response, and the stream continues. The stream ends when the client
//! has sent its last request, when a message cannot be read, or when the server drains. A request is
//! admitted only when its message has arrived.

use super::received::{Received, read_message};
use super::status::settled;
use super::unfold::Unfold;
use super::{Held, v2};
use crate::failure::Failure;
use crate::service::catch_panic;
use std::sync::Arc;
use tonic::{Status, Streaming};
use wisp_protocol::grpc::message::inference::{ModelInferRequest, ModelStreamInferResponse};
use wisp_protocol::grpc::v2 as messages;
use wisp_serving::Serving;

/// The responses of one stream. An error ends it. Lifetime: one request.
pub(super) type Answers = Unfold<Option<Requests>, Result<ModelStreamInferResponse, Status>>;

/// The state from which the responses of a stream are made. Lifetime: one request.
pub(super) struct Requests {
    pub(super) serving: Arc<Serving>,
    pub(super) messages: Streaming<Received<ModelInferRequest>>,
    pub(super) held: Option<Held>,
}

impl Requests {
    pub(super) fn answers(self) -> Answers {
        Unfold::new(Some(self), |requests| Box::pin(next(requests)))
    }

    async fn answer(
        &self,
        message: ModelInferRequest,
    ) -> Result<ModelStreamInferResponse, Failure> {
        let response = v2::model_infer(&self.serving, self.held.as_ref(), message).await?;
        Ok(messages::stream_response(response.into_inner()))
    }
}

/// Returns the next response, and the state for the one after it.
async fn next(
    requests: Option<Requests>,
) -> Option<(Result<ModelStreamInferResponse, Status>, Option<Requests>)> {
    let mut requests = requests?;
    if let Some(held) = &requests.held {
        // The previous response has been sent: the stream is polled only after that.
        held.release();
    }
    let message = match requests.messages.message().await {
        Ok(message) => message?,
        Err(status) => return Some((Err(settled(status)), None)),
    };
    let reading = read_message(&requests.serving, requests.held.as_ref(), message);
    let message = match catch_panic(reading).await {
        Ok(message) => message,
        Err(failure) => return Some((Err(Status::from(failure)), None)),
    };
    let id = messages::echoed_id(&message).to_owned();
    let answered = catch_panic(requests.answer(message)).await;
    let answer =
        answered.unwrap_or_else(|failure| messages::stream_error(&id, &failure.client_message()));
    Some((Ok(answer), Some(requests)))
}
