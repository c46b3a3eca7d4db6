//! The OpenAPI 3.1 document of the REST routes, generated from the signatures of the served models.
//!
//! Inference has one path per model, version and label, so that its schema describes what this model
//! takes; all other routes have path parameters. `v2`, `tfs`, `predict` and `server` each add the routes
//! of their tag. `operation` builds an operation, `error_response` its error responses, `element` the JSON
//! schemas of tensors, and `example` a request that the model accepts. An operation that has no example is
//! marked with `x-no-example`, and the page at `/docs` cannot send it.
//!
//! Design decision: a schema that cannot be exact allows more, never less, so the server refuses whatever
//! a schema forbids. For example, no schema requires that a tensor's `data` fits its `shape`.
//!
//! Invariant: the document contains no route that the server does not serve. It omits a verb that the
//! model has no outputs for, and the load and unload routes if clients may not use them. It describes authentication
//! (`authentication`) only if the server has tenants.

mod authentication;
mod element;
mod error_response;
mod example;
mod operation;
mod parameter;
mod predict;
mod served;
mod server;
mod tfs;
mod v2;

pub use served::{Authentication, Control, Served, ServedModel, ServedVersion};

use crate::call::{InferRequest, ModelDescription};
use bytes::Bytes;
use example::Example;
use operation::{Document, TAGS};
use serde_json::json;

/// Generates the document.
pub fn document(served: &Served) -> Bytes {
    let mut document = Document {
        authentication: served.authentication,
        ..Document::default()
    };
    server::add(&mut document);
    v2::add(&mut document, served);
    tfs::add(&mut document, served);
    predict::add(&mut document, served);
    if served.authentication == Authentication::Keys {
        server::add_limits(&mut document);
    }
    let Document {
        authentication,
        paths,
        schemas,
        responses,
    } = document;
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Wisp",
            "version": served.version,
            "summary": "Inference over REST, with the Open Inference Protocol (V2), TF \
                Serving, KServe V1, and plain JSON.",
            "description": "Generated from the signatures of the served models. Request bodies may be \
                compressed with gzip or deflate; responses are compressed if `Accept-Encoding` \
                allows it. An `X-Request-Id` of the request is returned in the response, and every \
                error response has one. In JSON, a number of a floating-point tensor may be `null` in a \
                request, which is a missing value (NaN), and one of the bare words `NaN`, `Infinity` and \
                `-Infinity` in requests and responses.",
            "license": {
                "name": "Apache-2.0 WITH LLVM-exception",
                "identifier": "Apache-2.0 WITH LLVM-exception",
            },
        },
        "servers": [{"url": "/"}],
        "tags": TAGS.map(|(name, description)| json!({"name": name, "description": description})),
        "paths": paths,
        "components": {"schemas": schemas, "responses": responses},
    });
    if authentication == Authentication::Keys {
        authentication::describe(&mut document);
    }
    Bytes::from(document.to_string())
}

/// Returns the example of a V2 request for a model, as JSON for people, made from a request that it accepts. Returns
/// `None` if there is none that can be shown.
pub fn example_request(model: &ModelDescription, request: Option<&InferRequest>) -> Option<String> {
    let body = Example::new(model, request)?.v2()?;
    serde_json::to_string_pretty(&body).ok()
}

#[cfg(test)]
mod tests;
