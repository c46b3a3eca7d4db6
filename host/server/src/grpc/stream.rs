//! `ModelStreamInfer`: a stream of requests, each of which gets its response before the next is read.
//!
//! A request that fails gets an error response, and the stream continues, unless the client asked for a status
//! that ends it ([`ErrorReport`]). The stream ends when the client has sent its last request, when a message
//! cannot be read, when the server drains, or with the first message after the key of its client was revoked. A request is
//! admitted only when its message has arrived.

use super::admitted::AdmittedRequest;
use super::infer::model_infer;
use super::received::{Received, read_message};
use super::status::{in_v2, normalized};
use crate::failure::Failure;
use crate::panic::catch_panic;
use futures_util::stream::{BoxStream, unfold};
use std::sync::Arc;
use tonic::metadata::MetadataMap;
use tonic::{Status, Streaming};
use wisp_protocol::grpc::message::inference::{ModelInferRequest, ModelStreamInferResponse};
use wisp_protocol::grpc::v2 as messages;
use wisp_protocol::v2::V2Operation;
use wisp_serving::current_request::CurrentRequest;
use wisp_serving::{ReadingSlot, Serving};

/// The responses of one stream. An error ends it. Lifetime: one request.
pub(super) type Responses = BoxStream<'static, Result<ModelStreamInferResponse, Status>>;

/// The metadata with which a client of Triton asks for statuses in place of error responses.
const TRITON_GRPC_ERROR: &str = "triton_grpc_error";

/// The form in which a stream reports the failure of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorReport {
    /// An error response; the stream continues.
    Response,
    /// A status, which ends the stream.
    Status,
}

impl ErrorReport {
    /// Returns the form that the client asks for.
    pub(super) fn from_metadata(metadata: &MetadataMap) -> ErrorReport {
        let value = metadata.get(TRITON_GRPC_ERROR);
        match value.is_some_and(|value| value.as_encoded_bytes() == b"true") {
            true => ErrorReport::Status,
            false => ErrorReport::Response,
        }
    }
}

/// The state from which the responses of a stream are made. Lifetime: one request.
struct Requests {
    serving: Arc<Serving>,
    messages: Streaming<Received<ModelInferRequest>>,
    admitted: AdmittedRequest,
    /// The slot of the stream, from which the slots of its messages are made.
    slot: ReadingSlot,
    report: ErrorReport,
    /// The request, whose owner pays for the work on each message.
    current: Option<CurrentRequest>,
}

/// Returns the responses to the messages of a stream.
pub(super) fn responses(
    serving: Arc<Serving>,
    admitted: AdmittedRequest,
    messages: Streaming<Received<ModelInferRequest>>,
    report: ErrorReport,
) -> Result<Responses, Failure> {
    let requests = Requests {
        slot: admitted.take_slot()?,
        serving,
        messages,
        admitted,
        report,
        current: CurrentRequest::of_task(),
    };
    Ok(Box::pin(unfold(Some(requests), next)))
}

/// The next response, and the state for the one after it.
type Next = Option<(Result<ModelStreamInferResponse, Status>, Option<Requests>)>;

/// Returns the next response. It is made when the response of the request has begun, outside of the work for that.
async fn next(requests: Option<Requests>) -> Next {
    let requests = requests?;
    match requests.current.clone() {
        Some(current) => current.scope(respond(requests)).await,
        None => respond(requests).await,
    }
}

async fn respond(mut requests: Requests) -> Next {
    // The previous response has been sent: the stream is polled only after that.
    requests.admitted.release();
    let message = match requests.messages.message().await {
        Ok(message) => message?,
        Err(status) => return Some((Err(normalized(status)), None)),
    };
    // Streams stay open for days.
    requests.serving = match requests.admitted.renewed() {
        Ok(serving) => serving,
        Err(failure) => return Some((Err(Status::from(failure)), None)),
    };
    requests.admitted.set_slot(requests.slot.next_message());
    let reading = read_message(&requests.serving, &requests.admitted, message);
    let message = match catch_panic(reading).await {
        Ok(message) => message,
        Err(failure) => return Some((Err(Status::from(failure)), None)),
    };
    let id = messages::echoed_id(&message).to_owned();
    let inferring = model_infer(&requests.serving, &requests.admitted, message);
    let response = match (catch_panic(inferring).await, requests.report) {
        (Ok(response), _) => messages::stream_response(response.into_inner()),
        (Err(failure), ErrorReport::Response) => {
            messages::stream_error(&id, &failure.v2_message(V2Operation::Call))
        }
        (Err(failure), ErrorReport::Status) => {
            return Some((Err(in_v2(failure, V2Operation::Call)), None));
        }
    };
    Some((Ok(response), Some(requests)))
}
