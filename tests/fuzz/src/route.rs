//! Request heads: a line with the method and the path, followed by header lines.
//!
//! Any head is a call or the client's mistake. Names are decoded once, so that the name of a call,
//! escaped again, is the same call. The codings of requests and responses are read from the headers.

use super::models::check_refusal;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use wisp_protocol::content_coding::{self, AcceptedCoding};
use wisp_protocol::error::HasErrorKind;
use wisp_protocol::rest::RestProtocol;
use wisp_protocol::route::{RestCall, route};

/// Checks one input.
pub fn run(head: &[u8]) {
    let mut lines = head.split(|&byte| byte == b'\n');
    let Some((method, path)) = lines.next().and_then(request_line) else {
        return;
    };
    let mut headers = HeaderMap::new();
    for line in lines.take(64) {
        let mut parts = line.splitn(2, |&byte| byte == b':');
        let name = parts
            .next()
            .and_then(|name| HeaderName::from_bytes(name).ok());
        let value = parts
            .next()
            .and_then(|value| HeaderValue::from_bytes(value.trim_ascii()).ok());
        if let (Some(name), Some(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    match route(&method, path, &headers) {
        Ok(call) => {
            assert!(
                [Method::GET, Method::HEAD, Method::POST].contains(&method),
                "{method} {call:?}"
            );
            if let RestCall::ModelMetadata(target) = &call
                && !path.contains("/versions/")
            {
                let escaped: String = (target.model.as_str().bytes())
                    .map(|byte| format!("%{byte:02X}"))
                    .collect();
                let again = route(&method, &format!("/v2/models/{escaped}"), &headers);
                assert_eq!(again, Ok(call));
            }
        }
        Err(error) => {
            check_refusal(error.kind(), &error.to_string());
            let status = RestProtocol::from_path(path).status(error.kind());
            assert!(status.is_client_error() || status == 501, "{status}");
            assert_eq!(error.allow().is_some(), status == 405);
        }
    }
    if let Err(error) = content_coding::of_body(&headers) {
        check_refusal(error.kind(), &error.to_string());
    }
    let accepted = AcceptedCoding::from_headers(&headers);
    assert!(accepted.for_body(0).is_none() || headers.contains_key("accept-encoding"));
}

fn request_line(line: &[u8]) -> Option<(Method, &str)> {
    let (method, path) = str::from_utf8(line).ok()?.split_once(' ')?;
    Some((Method::from_bytes(method.as_bytes()).ok()?, path))
}
