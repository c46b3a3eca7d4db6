//! Routing of the paths of the OpenAPI document and of the page that displays it.

use super::call::{DocsFile, RestCall};
use super::error::{RouteError, allow};
use http::Method;

/// Returns the call for a path of the documentation; `None` for other paths.
pub(super) fn route(method: &Method, uri_path: &str) -> Option<Result<RestCall, RouteError>> {
    let call = match uri_path {
        "/openapi.json" => RestCall::OpenApi,
        "/docs" => RestCall::Docs(DocsFile::Page),
        "/docs/initializer.js" => RestCall::Docs(DocsFile::Initializer),
        "/docs/swagger-ui-bundle.js" => RestCall::Docs(DocsFile::Script),
        "/docs/swagger-ui.css" => RestCall::Docs(DocsFile::Style),
        "/docs/key.js" => RestCall::Docs(DocsFile::KeyScript),
        "/docs/console.css" => RestCall::Docs(DocsFile::ConsoleStyle),
        "/docs/console.js" => RestCall::Docs(DocsFile::ConsoleScript),
        "/docs/favicon-32x32.png" => RestCall::Docs(DocsFile::Icon),
        _ => return None,
    };
    Some(allow(method, Method::GET, "GET").map(|()| call))
}
