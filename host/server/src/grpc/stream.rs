//! `ModelStreamInfer`: a stream of requests, each of which gets its response before the next is read.
//!
//! A request that fails gets an error response, and the stream continues. The stream ends when the client
//! has sent its last request, when a message cannot be read, or when the server drains. A request is
//! admitted only when its message has arrived.

use super::admitted::AdmittedRequest;
use super::infer::model_infer;
use super::received::{Received, read_message};
use super::status::normalized;
use crate::failure::Failure;
use crate::panic::catch_panic;
use futures_util::stream::{BoxStream, unfold};
use std::sync::Arc;
use tonic::{Status, Streaming};
use wisp_protocol::grpc::message::inference::{ModelInferRequest, ModelStreamInferResponse};
use wisp_protocol::grpc::v2 as messages;
use wisp_serving::{ReadingSlot, Serving};

/// The responses of one stream. An error ends it. Lifetime: one request.
pub(super) type Responses = BoxStream<'static, Result<ModelStreamInferResponse, Status>>;

/// The state from which the responses of a stream are made. Lifetime: one request.
struct Requests {
    serving: Arc<Serving>,
    messages: Streaming<Received<ModelInferRequest>>,
    admitted: AdmittedRequest,
    /// The slot of the stream, from which those of its messages are made.
    slot: ReadingSlot,
}

/// Returns the responses to the messages of a stream.
pub(super) fn responses(
    serving: Arc<Serving>,
    admitted: AdmittedRequest,
    messages: Streaming<Received<ModelInferRequest>>,
) -> Result<Responses, Failure> {
    let requests = Requests {
        slot: admitted.take_slot()?,
        serving,
        messages,
        admitted,
    };
    Ok(Box::pin(unfold(Some(requests), next)))
}

/// Returns the next response, and the state for the one after it.
async fn next(
    requests: Option<Requests>,
) -> Option<(Result<ModelStreamInferResponse, Status>, Option<Requests>)> {
    let mut requests = requests?;
    // The previous response has been sent: the stream is polled only after that.
    requests.admitted.release();
    let message = match requests.messages.message().await {
        Ok(message) => message?,
        Err(status) => return Some((Err(normalized(status)), None)),
    };
    requests.admitted.set_slot(requests.slot.next_message());
    let reading = read_message(&requests.serving, &requests.admitted, message);
    let message = match catch_panic(reading).await {
        Ok(message) => message,
        Err(failure) => return Some((Err(Status::from(failure)), None)),
    };
    let id = messages::echoed_id(&message).to_owned();
    let inferring = model_infer(&requests.serving, &requests.admitted, message);
    let response = match catch_panic(inferring).await {
        Ok(response) => messages::stream_response(response.into_inner()),
        Err(failure) => messages::stream_error(&id, &failure.client_message()),
    };
    Some((Ok(response), Some(requests)))
}
