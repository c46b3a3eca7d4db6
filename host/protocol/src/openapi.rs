//! The OpenAPI 3.1 document of the REST routes, made of the signatures of the models that are served.
//!
//! Inference has a path for each model, version and label, so that its schema can say what this model
//! takes; all else has paths with parameters. `v2`, `tfs`, `predict` and `server` each add the routes of
//! their tag; `operation` is how one is written, `failure` what its errors look like, `element` what
//! tensors look like in JSON, and `example` a request that a model can answer.
//!
//! Judgement: where a schema cannot say exactly what is taken, it allows more, never less, so that
//! whatever it forbids is refused. That a tensor's `data` fits its `shape` is such a thing.
//!
//! Invariant: nothing is in the document that this server does not answer: no route of a verb that a
//! model has no outputs for, and none to control models where clients may not.

mod element;
mod example;
mod failure;
mod operation;
mod predict;
mod server;
mod tfs;
mod v2;

use crate::call::{Call, DocsFile, ModelDescription, ModelName, Version, VersionLabel};
use bytes::Bytes;
use operation::{Document, TAGS};
use serde_json::json;

/// What there is to describe.
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
    /// The versions that can be called, in order: the last is the one served by default.
    pub versions: Vec<&'a ModelDescription>,
    pub labels: Vec<(&'a VersionLabel, Version)>,
}

/// Whether clients may load and unload models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    Clients,
    Nobody,
}

/// One way to name a version that can be called.
struct Spelling<'a> {
    model: &'a ModelDescription,
    choice: Choice<'a>,
}

#[derive(Clone, Copy)]
enum Choice<'a> {
    Default,
    Number,
    Label(&'a VersionLabel),
}

/// The call for a path of the documentation; `None` for other paths.
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

/// The document.
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
            "summary": "Inference over REST, in the dialects of the Open Inference Protocol (V2), TF \
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
    /// Every name under which something can be called.
    fn spellings(&self) -> impl Iterator<Item = Spelling<'a>> {
        self.models.iter().flat_map(ServedModel::spellings)
    }

    /// Every version that can be called.
    fn versions(&self) -> impl Iterator<Item = &'a ModelDescription> {
        let versions = self.models.iter().flat_map(|model| &model.versions);
        versions.copied()
    }
}

impl<'a> ServedModel<'a> {
    fn spellings(&self) -> Vec<Spelling<'a>> {
        let default = self.versions.last().map(|&model| Spelling {
            model,
            choice: Choice::Default,
        });
        let numbers = self.versions.iter().map(|&model| Spelling {
            model,
            choice: Choice::Number,
        });
        let labels = self.labels.iter().filter_map(|&(label, number)| {
            let mut versions = self.versions.iter();
            let model = versions.find(|model| model.version == number)?;
            let choice = Choice::Label(label);
            Some(Spelling { model, choice })
        });
        default.into_iter().chain(numbers).chain(labels).collect()
    }
}

impl Spelling<'_> {
    fn is_default(&self) -> bool {
        matches!(self.choice, Choice::Default)
    }

    fn is_label(&self) -> bool {
        matches!(self.choice, Choice::Label(_))
    }

    /// What follows the model's name in a path.
    fn path(&self) -> String {
        match self.choice {
            Choice::Default => String::new(),
            Choice::Number => format!("/versions/{}", self.model.version),
            Choice::Label(label) => format!("/labels/{label}"),
        }
    }

    /// The id of an operation on it. No part of it holds a colon, so that none is another's id.
    fn operation_id(&self, verb: &str) -> String {
        let path = self.path().replace('/', ":");
        format!("{verb}:{}{path}", self.model.model)
    }

    /// How a summary calls it.
    fn title(&self) -> String {
        let name = &self.model.model;
        match self.choice {
            Choice::Default => name.to_string(),
            Choice::Number => format!("{name}, version {}", self.model.version),
            Choice::Label(label) => format!("{name}, the version labelled {label}"),
        }
    }
}

/// The name of a schema of this version. The version has no dot, so that none is another's name.
fn schema_name(model: &ModelDescription, of: &str) -> String {
    format!("{}.{}.{of}", model.model, model.version)
}

#[cfg(test)]
mod tests;
