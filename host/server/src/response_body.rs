//! The body of any response: a document, the messages of gRPC, what a web component produces, or the response of the
//! process of a tenant.

use crate::document_body::DocumentBody;
use crate::forward::ForwardedBody;
use crate::grpc::GrpcBody;
use crate::web_response::ComponentBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The body of any response. Lifetime: one request.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    Document(DocumentBody),
    Grpc(GrpcBody),
    Component(ComponentBody),
    Forwarded(ForwardedBody),
}

// === impl ResponseBody ===

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        match self.get_mut() {
            ResponseBody::Document(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|never: Infallible| match never {}),
            ResponseBody::Grpc(body) => Pin::new(body).poll_frame(cx),
            // hyper only ends the stream or connection; the failure is in the log already.
            ResponseBody::Component(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|error| tonic::Status::aborted(error.to_string())),
            ResponseBody::Forwarded(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ResponseBody::Document(body) => body.is_end_stream(),
            ResponseBody::Grpc(body) => body.is_end_stream(),
            ResponseBody::Component(body) => body.is_end_stream(),
            ResponseBody::Forwarded(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Document(body) => body.size_hint(),
            ResponseBody::Grpc(body) => body.size_hint(),
            ResponseBody::Component(body) => body.size_hint(),
            ResponseBody::Forwarded(body) => body.size_hint(),
        }
    }
}
