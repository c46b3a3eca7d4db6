//! Inference from a gRPC message that has been read.

use super::admitted::AdmittedRequest;
use super::received::ReadRequest;
use crate::failure::Failure;
use crate::server_timing::{SERVER_TIMING, server_timing};
use crate::usage_header::{USAGE, usage_value};
use std::future::ready;
use tonic::metadata::MetadataValue;
use wisp_protocol::call::{InferCall, Selection};
use wisp_protocol::codec::{RequestDecoder, ResponseEncoder};
use wisp_protocol::grpc::message::inference::{ModelInferRequest, ModelInferResponse};
use wisp_protocol::grpc::v2 as messages;
use wisp_protocol::routing::RoutingKey;
use wisp_serving::{Serving, infer};

/// Runs the inference of a request, whose message the decoder takes as its source.
pub(super) async fn infer_read<D: RequestDecoder>(
    request: ReadRequest<D::Source>,
    selection: Selection,
    decoder: D,
) -> Result<tonic::Response<<D::Encoder as ResponseEncoder>::Encoded>, Failure> {
    let ReadRequest {
        message,
        serving,
        admitted,
    } = request;
    let call = InferCall {
        selection,
        routing: RoutingKey::default(),
        decoder,
    };
    infer_message(&serving, &admitted, call, message).await
}

/// Runs the inference of a message, which the decoder of the call takes as its source. The memory of the
/// response is held by the request.
async fn infer_message<D: RequestDecoder>(
    serving: &Serving,
    admitted: &AdmittedRequest,
    call: InferCall<D>,
    message: D::Source,
) -> Result<tonic::Response<<D::Encoder as ResponseEncoder>::Encoded>, Failure> {
    let slot = admitted.take_slot()?;
    let call = InferCall {
        routing: admitted.routing(),
        ..call
    };
    // Boxed as in `dispatch`.
    let inferred = Box::pin(infer(serving, slot, call, ready(Ok(message)))).await?;
    admitted.hold(inferred.memory);
    let mut response = tonic::Response::new(inferred.response);
    if let Ok(timings) = MetadataValue::try_from(server_timing(&inferred.timings)) {
        response.metadata_mut().insert(SERVER_TIMING, timings);
    }
    if let Some(used) = &inferred.shown_usage
        && let Ok(value) = MetadataValue::try_from(usage_value(used))
    {
        response.metadata_mut().insert(USAGE, value);
    }
    Ok(response)
}

/// Runs one inference of the Open Inference Protocol, for a single request or for one on a stream.
pub(super) async fn model_infer(
    serving: &Serving,
    admitted: &AdmittedRequest,
    message: ModelInferRequest,
) -> Result<tonic::Response<ModelInferResponse>, Failure> {
    let target = messages::target(&message.model_name, &message.model_version)?;
    let call = InferCall {
        selection: Selection::Named(target),
        routing: admitted.routing(),
        decoder: messages::ModelInferDecoder,
    };
    infer_message(serving, admitted, call, message).await
}
