//! One inference, from its routed head to its encoded response: the steps of `wisp_serving::infer`, in their order.

use crate::adapter::Adapter;
use crate::failure::Failure;
use crate::model::{Model, ModelError, ModelOutputs};
use crate::request::{Body, BodyError};
use bytes::Bytes;
use wisp_protocol::call::{InferCall, InferRequest, InferResponse};
use wisp_protocol::call_check::{ModelKind, check_request, select_outputs};
use wisp_protocol::codec::{RequestDecoder, ResponseEncoder};
use wisp_protocol::encoded_response::EncodedResponse;
use wisp_protocol::error::ErrorKind;
use wisp_protocol::rest::RestDecoder;
use wisp_tensor::NamedTensor;
use wisp_tensor::response_names::check_response_names;
use wisp_tensor::sanitize::shorten;

/// The maximum number of characters of a handler's text that a client receives, as from the server.
const MAX_TEXT: usize = 1000;

/// Runs one inference and returns its encoded response.
pub(crate) fn infer(
    adapter: &Adapter,
    call: InferCall<RestDecoder>,
    body: &mut dyn Body,
    model: &mut dyn Model,
) -> Result<EncodedResponse, Failure> {
    // There is one version for all keys of clients.
    let InferCall {
        selection, decoder, ..
    } = call;
    let (description, kind) = (&adapter.description, adapter.kind);
    adapter.select(&selection)?;
    let body = read(body, adapter.max_body_bytes)?;
    let (request, encoder) = decoder.decode(body, description)?;
    check_request(description, kind, &request)?;
    let response = model.infer(&request);
    let response = response.map_err(|error| model_failure(kind, error, &request))?;
    check_names(&response).map_err(|error| invalid_response(kind, error))?;
    let ModelOutputs {
        outputs,
        parameters,
    } = response;
    let outputs = select_outputs(description, kind, outputs, &request.outputs);
    let response = InferResponse {
        outputs: outputs.map_err(|error| mismatch(kind, error))?,
        parameters,
    };
    Ok(encoder.encode(response, description)?)
}

/// Reads a body of at most `limit` bytes.
pub(crate) fn read(body: &mut dyn Body, limit: usize) -> Result<Bytes, Failure> {
    body.read(limit).map_err(|error| match error {
        BodyError::TooLarge => Failure::new(
            ErrorKind::TooLarge,
            format_args!("the body is larger than {limit} bytes, the limit of this server"),
        ),
        BodyError::Disconnected => {
            Failure::new(ErrorKind::ClientGone, "the client has disconnected")
        }
    })
}

fn check_names(response: &ModelOutputs) -> Result<(), String> {
    let outputs = response.outputs.iter().map(|output| &*output.name);
    let parameters = response.parameters.iter().map(|value| &*value.name);
    let (outputs, parameters): (Vec<_>, Vec<_>) = (outputs.collect(), parameters.collect());
    check_response_names(&outputs, &parameters).map_err(|error| error.to_string())
}

/// Returns the failure for a model that did not respond.
fn model_failure(kind: ModelKind, error: ModelError, request: &InferRequest) -> Failure {
    let is_empty = |input: &NamedTensor| input.tensor.shape().elements() == 0;
    match (kind, error) {
        (_, ModelError::Client(text)) => {
            Failure::new(ErrorKind::InvalidRequest, shorten(&text, MAX_TEXT))
        }
        (ModelKind::Handler, ModelError::Model(text)) => {
            Failure::new(ErrorKind::Handler, shorten(&text, MAX_TEXT))
        }
        // No engine computes every batch without rows, which clients may send.
        (ModelKind::Graph, ModelError::Model(cause)) if request.inputs.iter().any(is_empty) => {
            let text = "the model cannot compute these inputs: an input has no elements";
            Failure::new(ErrorKind::InvalidRequest, text).caused_by(cause)
        }
        (ModelKind::Graph, ModelError::Model(cause)) => {
            Failure::new(ErrorKind::Internal, "the model failed to compute").caused_by(cause)
        }
        (kind, ModelError::Invalid(cause)) => invalid_response(kind, cause),
    }
}

/// Returns the failure for a response that violates the contract of handlers.
fn invalid_response(kind: ModelKind, cause: impl ToString) -> Failure {
    let failure = match kind {
        ModelKind::Graph => Failure::new(ErrorKind::Internal, "the model failed to compute"),
        ModelKind::Handler => Failure::new(ErrorKind::Handler, "the model's handler failed"),
    };
    failure.caused_by(cause)
}

/// Returns the failure for outputs that do not match the signature of the model.
fn mismatch(kind: ModelKind, cause: impl ToString) -> Failure {
    let failure = match kind {
        ModelKind::Graph => Failure::new(
            ErrorKind::Internal,
            "the model computed outputs that do not match its signature",
        ),
        ModelKind::Handler => Failure::new(
            ErrorKind::Handler,
            "the model's handler returned outputs that do not match its signature",
        ),
    };
    failure.caused_by(cause)
}
