//! The successful response to a request that is not gRPC, from the protocols or from a web component.

use crate::connection_activity::RequestGuard;
use crate::framing::Framing;
use crate::http_response::HttpResponse;
use crate::response_body::ResponseBody;
use crate::web_response::ComponentResponse;
use http::{Response, StatusCode};

/// A response that is not yet bound to a connection. Lifetime: one request.
#[derive(Debug)]
pub(crate) enum UnboundResponse {
    Document(HttpResponse),
    Component(ComponentResponse),
}

impl UnboundResponse {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            UnboundResponse::Document(response) => response.status(),
            UnboundResponse::Component(response) => response.status(),
        }
    }

    /// Returns the bytes of the body, if they are known before it is sent.
    pub(crate) fn bytes(&self) -> Option<u64> {
        match self {
            UnboundResponse::Document(response) => u64::try_from(response.bytes()).ok(),
            UnboundResponse::Component(_) => None,
        }
    }

    pub(crate) fn into_response(
        self,
        framing: Framing,
        guard: RequestGuard,
    ) -> Response<ResponseBody> {
        match self {
            UnboundResponse::Document(response) => {
                let response = response.into_response(framing, guard);
                response.map(ResponseBody::Document)
            }
            UnboundResponse::Component(response) => {
                let response = response.into_response(guard);
                response.map(ResponseBody::Component)
            }
        }
    }
}
