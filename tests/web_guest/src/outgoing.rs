//! A request to another server.

use crate::bindings::wasi::http::outgoing_handler;
use crate::bindings::wasi::http::types::{ErrorCode, Fields, OutgoingRequest, Scheme};
use crate::body;

/// Sends a GET request to `<authority>/<path>`, by HTTPS if it begins with `https://`.
pub(crate) fn get(address: &str) -> Result<(u16, String), ErrorCode> {
    let (scheme, address) = match address.strip_prefix("https://") {
        Some(address) => (Scheme::Https, address),
        None => (Scheme::Http, address),
    };
    let (authority, path) = match address.find('/') {
        Some(slash) => address.split_at(slash),
        None => (address, "/"),
    };
    let request = OutgoingRequest::new(Fields::new());
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    request.set_scheme(Some(&scheme)).map_err(invalid)?;
    request.set_authority(Some(authority)).map_err(invalid)?;
    request.set_path_with_query(Some(path)).map_err(invalid)?;
    let pending = outgoing_handler::handle(request, None)?;
    pending.subscribe().block();
    let response = pending.get().and_then(Result::ok);
    let response = response.unwrap_or(Err(ErrorCode::InternalError(None)))?;
    let bytes = response.consume().map(body::read_all).unwrap_or_default();
    Ok((
        response.status(),
        String::from_utf8_lossy(&bytes).into_owned(),
    ))
}
