//! The console: one page for people, at `/`, with the models, their states and their statistics.
//!
//! The page is made for each request from what the APIs return too, so that it needs no rights of its own. [`snapshot`]
//! reads the state of the server, and [`overview`] writes the page: a table of the models of one page, and the details
//! of a few ([`model`], [`traffic`], [`version`]) with their tables and plots. It refers to a style sheet and a script of
//! this server. The script sends the example request of a version through the API; everything else works without it.
//!
//! On a server with tenants, the script also asks for an API key and loads the page with it ([`frame`]): a browser sends no
//! key when it opens an address. Without a key, the page has no content.
//!
//! Every name and reason is escaped ([`page_text`]), and the content security policy blocks inline scripts and styles and
//! other servers. Invariant: the length of a page is bounded for any number of models.

mod batches;
mod drift;
mod failures;
mod frame;
mod model;
mod overview;
mod page_text;
mod phases;
mod plot;
mod quantity;
mod snapshot;
mod traffic;
mod version;

use crate::access::CallerKey;
use crate::failure::Failure;
use crate::http_response::{File, HttpResponse};
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue};
use snapshot::Snapshot;
use wisp_protocol::route::ConsoleView;
use wisp_serving::{InferError, Serving};

/// The script and the style are files of this server. The search is a form of the page.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
);

/// Returns the page with these models. It is made on a thread of the blocking pool, because it reads many statistics.
/// Callers without a key that is necessary get the page without content.
pub(crate) async fn page(
    serving: &Serving,
    view: ConsoleView,
    key: CallerKey,
) -> Result<HttpResponse, Failure> {
    let has_key_form = match key {
        CallerKey::NotRequired => false,
        CallerKey::Valid => true,
        CallerKey::Missing => return Ok(response(frame::empty_page())),
    };
    let snapshot = Snapshot {
        has_key_form,
        ..Snapshot::take(serving, view)
    };
    let making = serving
        .blocking()
        .run_soon(move || overview::html(&snapshot));
    Ok(response(making.await.map_err(InferError::from)?))
}

fn response(html: String) -> HttpResponse {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    HttpResponse::page(File {
        content_type: HeaderValue::from_static("text/html; charset=utf-8"),
        content: Some(Bytes::from(html)),
        coding: None,
        varies: false,
        headers,
    })
}
