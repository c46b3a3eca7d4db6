//! Maps the head of a request to the call it makes, before any byte of the body is read.
//!
//! Each protocol has a submodule for its paths and methods. None of them has access to the models that
//! exist.

mod call;
#[cfg(feature = "openapi")]
mod console;
mod console_view;
#[cfg(feature = "openapi")]
mod docs;
mod error;
mod predict;
mod segments;
mod tfs;
mod v2;

pub use call::{DocsFile, RestCall};
pub use console_view::ConsoleView;
pub use error::RouteError;

use crate::v2::HEADER_LENGTH_NAME;
use http::{HeaderMap, HeaderName, Method, header};

/// The headers that determine a call. Others need not be passed to [`route`].
pub const CALL_HEADERS: [HeaderName; 2] = [header::ACCEPT, HEADER_LENGTH_NAME];

/// The path of a tenant's own limits. TF Serving has no route of this form.
const LIMITS: &str = "/v1/limits";

/// Returns the call for a request with this method, path (without query) and headers. [`with_query`] completes it.
pub fn route(method: &Method, uri_path: &str, headers: &HeaderMap) -> Result<RestCall, RouteError> {
    if uri_path == "/" {
        error::allow(method, Method::GET, "GET")?;
        #[cfg(feature = "openapi")]
        if console::accepts_html(headers) {
            return Ok(RestCall::Console(ConsoleView::default()));
        }
        return Ok(RestCall::KserveLive);
    }
    #[cfg(feature = "openapi")]
    if let Some(call) = docs::route(method, uri_path) {
        return call;
    }
    if uri_path == LIMITS {
        error::allow(method, Method::GET, "GET")?;
        return Ok(RestCall::Limits);
    }
    if let Some(path) = uri_path.strip_prefix("/v2") {
        return v2::route(method, path, headers);
    }
    match uri_path.strip_prefix("/v1") {
        Some(path) => tfs::route(method, path),
        None => predict::route(method, uri_path),
    }
}

/// Returns the call with what the query of the request adds to it: in the predict API, the version, and for the console,
/// the models to show.
pub fn with_query(call: RestCall, query: Option<&str>) -> Result<RestCall, RouteError> {
    match (call, query) {
        (RestCall::Console(_), Some(query)) => Ok(RestCall::Console(ConsoleView::of_query(query))),
        (call, Some(query)) => predict::with_query(call, query),
        (call, None) => Ok(call),
    }
}

/// The first segments of the paths of all protocols, and those that operators of servers expect to have a meaning.
const RESERVED: [&str; 10] = [
    "/v1",
    "/v2",
    "/predict",
    "/batch_predict",
    "/docs",
    "/openapi.json",
    "/health",
    "/healthz",
    "/metrics",
    "/readyz",
];

/// Returns the beginning of a path that the protocols use, so that nothing else can be served there. The path of a
/// protocol is always found first.
pub fn reserved_prefix(path: &str) -> Option<&'static str> {
    if path == "/" {
        return Some("/");
    }
    let mut reserved = RESERVED.into_iter();
    reserved.find(|prefix| {
        let rest = path.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

#[cfg(test)]
mod tests;
