//! The heads of forwarded requests and of their responses.
//!
//! A head is passed on unchanged, except for the headers of the connection (RFC 9110, 7.6.1), the key of the client and
//! the HTTP version. The id of the request is added, so that both processes log the same one, and the role of its caller.
//!
//! All requests reach the worker over HTTP/2, where `content-type` alone makes a gRPC request. A request that is not gRPC
//! for the server therefore loses a `content-type` of gRPC.

use crate::access::FORWARDED_ROLE;
use crate::grpc;
use crate::request_id::REQUEST_ID;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, TE};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, Version};
use wisp_serving::tenants::role::Role;

/// The headers of one connection, without `connection` itself and those that it names.
const OF_CONNECTION: [&str; 10] = [
    "keep-alive",
    "proxy-connection",
    "http2-settings",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    // The server has asked for the body already.
    "expect",
];

/// The only value of `te` that HTTP/2 allows in a request.
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// The authority of a request without a valid host.
const NO_HOST: &str = "localhost";

/// Returns the request with this head for the worker, of a caller with this role and with the body of type `B`.
pub(super) fn forwarded<B>(
    (head, role): (&Parts, Role),
    id: Option<HeaderValue>,
    body: B,
) -> Request<B> {
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = uri(head);
    let headers = request.headers_mut();
    *headers = head.headers.clone();
    let takes_trailers = headers.get(TE).is_some_and(|te| *te == TRAILERS);
    remove_of_connection(headers);
    if takes_trailers {
        headers.insert(TE, TRAILERS);
    }
    headers.remove(AUTHORIZATION);
    headers.remove(HOST);
    headers.insert(FORWARDED_ROLE, HeaderValue::from_static(role.name()));
    if grpc::names_grpc(headers) && !grpc::is_grpc(head) {
        headers.remove(CONTENT_TYPE);
    }
    if let Some(id) = id {
        headers.insert(REQUEST_ID, id);
    }
    request
}

/// Removes the headers that belong to one connection.
pub(super) fn remove_of_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in OF_CONNECTION {
        headers.remove(name);
    }
    headers.remove(CONNECTION);
}

/// Returns the target in the form of HTTP/2, with the host of the client.
fn uri(head: &Parts) -> Uri {
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = match head.uri.authority() {
        Some(authority) => Some(authority.clone()),
        None => host.and_then(|host| host.parse().ok()),
    };
    let authority = authority.unwrap_or_else(|| Authority::from_static(NO_HOST));
    let path = head.uri.path_and_query().cloned();
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority);
    parts.path_and_query = Some(path);
    // All three parts are there.
    Uri::from_parts(parts).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(headers: &[(&str, &str)]) -> anyhow::Result<Parts> {
        let mut request = Request::post("/v2/models/m/infer?key=1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(request.body(())?.into_parts().0)
    }

    #[test]
    fn headers_of_the_connection_and_the_key_are_not_forwarded() -> anyhow::Result<()> {
        let head = head(&[
            ("host", "example.com:8000"),
            ("authorization", "Bearer wisp_1_2"),
            ("connection", "keep-alive, X-Hop"),
            ("connection", "te"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic a"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("expect", "100-continue"),
            ("te", "trailers"),
            ("content-type", "application/json"),
            ("grpc-timeout", "1S"),
            ("traceparent", "00-1-2-01"),
            ("wisp-forwarded-role", "admin"),
        ])?;
        let id = Some(HeaderValue::from_static("7"));
        let request = forwarded((&head, Role::Infer), id, ());
        let mut names: Vec<&str> = request.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let expected = [
            "content-type",
            "grpc-timeout",
            "te",
            "traceparent",
            "wisp-forwarded-role",
            "x-request-id",
        ];
        assert_eq!(names, expected);
        assert_eq!(request.headers()[FORWARDED_ROLE], "infer");
        let uri = "http://example.com:8000/v2/models/m/infer?key=1";
        assert_eq!(request.uri().to_string(), uri);
        assert_eq!(request.version(), Version::HTTP_2);
        Ok(())
    }

    #[test]
    fn only_a_request_of_grpc_is_one_in_the_worker() -> anyhow::Result<()> {
        let mut head = head(&[("content-type", "application/grpc+proto")])?;
        for (version, is_kept) in [(Version::HTTP_11, false), (Version::HTTP_2, true)] {
            head.version = version;
            let request = forwarded((&head, Role::Deploy), None, ());
            assert_eq!(request.headers().contains_key(CONTENT_TYPE), is_kept);
        }
        Ok(())
    }

    #[test]
    fn a_host_that_is_none_is_replaced() -> anyhow::Result<()> {
        for headers in [&[("host", "a b")][..], &[]] {
            let request = forwarded((&head(headers)?, Role::Infer), None, ());
            let authority = request.uri().authority().map(Authority::as_str);
            assert_eq!(authority, Some("localhost"));
            assert!(request.headers().get(TE).is_none());
        }
        Ok(())
    }
}
