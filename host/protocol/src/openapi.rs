//! The OpenAPI 3.1 document of the REST routes, generated from the signatures of the served models.
//!
//! Inference has one path per model, version and label, so that its schema describes what this model
//! takes; all other routes have path parameters. `v2`, `tfs`, `predict` and `server` each add the routes
//! of their tag. `operation` builds an operation, `error_response` its error responses, `element` the JSON
//! schemas of tensors, and `example` a request that the model accepts.
//!
//! Design decision: a schema that cannot be exact allows more, never less, so the server refuses whatever
//! a schema forbids. For example, no schema requires that a tensor's `data` fits its `shape`.
//!
//! Invariant: the document contains no route that the server does not serve. It omits a verb that the
//! model has no outputs for, and the load and unload routes if clients may not use them.

mod element;
mod error_response;
mod example;
mod operation;
mod predict;
mod server;
mod tfs;
mod v2;

use crate::call::{Call, DocsFile, ModelDescription, ModelName, Version, VersionLabel};
use bytes::Bytes;
use operation::{Document, TAGS};
use serde_json::json;

/// The contents of the document.
#[derive(Debug)]
pub struct Served<'a> {
    /// The version of the program.
    pub version: &'a str,
    pub models: Vec<ServedModel<'a>>,
    pub control: Control,
}

/// A model of the repository.
#[derive(Debug)]
pub struct ServedModel<'a> {
    pub name: &'a ModelName,
    /// The versions that accept calls, in ascending order: the last is the default.
    pub versions: Vec<&'a ModelDescription>,
    pub labels: Vec<(&'a VersionLabel, Version)>,
}

/// The party that may load and unload models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    Clients,
    Nobody,
}

/// One way to address a version that accepts calls.
struct RouteVariant<'a> {
    model: &'a ModelDescription,
    version: RouteVersion<'a>,
}

#[derive(Clone, Copy)]
enum RouteVersion<'a> {
    Default,
    Number,
    Label(&'a VersionLabel),
}

/// Returns the call for a path of the documentation; `None` for other paths.
pub(crate) fn call(uri_path: &str) -> Option<Call> {
    let file = match uri_path {
        "/openapi.json" => return Some(Call::OpenApi),
        "/docs" => DocsFile::Page,
        "/docs/initializer.js" => DocsFile::Initializer,
        "/docs/swagger-ui-bundle.js" => DocsFile::Script,
        "/docs/swagger-ui.css" => DocsFile::Style,
        "/docs/favicon-32x32.png" => DocsFile::Icon,
        _ => return None,
    };
    Some(Call::Docs(file))
}

/// Generates the document.
pub fn document(served: &Served) -> Bytes {
    let mut document = Document::default();
    server::add(&mut document);
    v2::add(&mut document, served);
    tfs::add(&mut document, served);
    predict::add(&mut document, served);
    let Document {
        paths,
        schemas,
        responses,
    } = document;
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Wisp",
            "version": served.version,
            "summary": "Inference over REST, with the Open Inference Protocol (V2), TF \
                Serving, KServe V1, and plain JSON.",
            "description": "Made from the signatures of the models as they are served at this moment. \
                Bodies may come in gzip or deflate, and answers go out so where `Accept-Encoding` asks \
                for it. An `X-Request-Id` comes back as it was given; every error has one.",
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
    Bytes::from(document.to_string())
}

impl<'a> Served<'a> {
    /// Returns every name under which a version accepts calls.
    fn route_variants(&self) -> impl Iterator<Item = RouteVariant<'a>> {
        self.models.iter().flat_map(ServedModel::route_variants)
    }

    /// Returns every version that accepts calls.
    fn versions(&self) -> impl Iterator<Item = &'a ModelDescription> {
        let versions = self.models.iter().flat_map(|model| &model.versions);
        versions.copied()
    }
}

impl<'a> ServedModel<'a> {
    fn route_variants(&self) -> Vec<RouteVariant<'a>> {
        let default = self.versions.last().map(|&model| RouteVariant {
            model,
            version: RouteVersion::Default,
        });
        let numbers = self.versions.iter().map(|&model| RouteVariant {
            model,
            version: RouteVersion::Number,
        });
        let labels = self.labels.iter().filter_map(|&(label, number)| {
            let mut versions = self.versions.iter();
            let model = versions.find(|model| model.version == number)?;
            let version = RouteVersion::Label(label);
            Some(RouteVariant { model, version })
        });
        default.into_iter().chain(numbers).chain(labels).collect()
    }
}

impl RouteVariant<'_> {
    fn is_default(&self) -> bool {
        matches!(self.version, RouteVersion::Default)
    }

    fn is_label(&self) -> bool {
        matches!(self.version, RouteVersion::Label(_))
    }

    /// Returns the part of a path that follows the model's name.
    fn path(&self) -> String {
        match self.version {
            RouteVersion::Default => String::new(),
            RouteVersion::Number => format!("/versions/{}", self.model.version),
            RouteVersion::Label(label) => format!("/labels/{label}"),
        }
    }

    /// Returns the operation id of a verb. No part of it contains a colon, so ids are unique.
    fn operation_id(&self, verb: &str) -> String {
        let path = self.path().replace('/', ":");
        format!("{verb}:{}{path}", self.model.model)
    }

    /// Returns the name used in summaries.
    fn title(&self) -> String {
        let name = &self.model.model;
        match self.version {
            RouteVersion::Default => name.to_string(),
            RouteVersion::Number => format!("{name}, version {}", self.model.version),
            RouteVersion::Label(label) => format!("{name}, the version labelled {label}"),
        }
    }
}

/// Returns the name of a schema of this version. The version contains no dot, so names are unique.
fn schema_name(model: &ModelDescription, of: &str) -> String {
    format!("{}.{}.{of}", model.model, model.version)
}

#[cfg(test)]
mod tests;
