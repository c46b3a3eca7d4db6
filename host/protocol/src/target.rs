//! The model and version that a client names, common to all protocols and transports.
//!
//! The texts of [`UnknownTarget`] are those of TF Serving and of the predict API; `v2::unknown_target` returns
//! those of V2.

use crate::call::{ModelName, Selection, Target, Version, VersionChoice, VersionLabel};
use crate::quoted::Quoted;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// The error for a name that belongs to no model or version. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownTarget {
    #[error("unknown model: {0}")]
    Model(Quoted),
    #[error("unknown version: `{model}` has no version {version}")]
    Version { model: ModelName, version: Quoted },
    #[error("unknown version: the only model has no version {0}")]
    VersionOfOnlyModel(Quoted),
    #[error("model `{0}` is unloaded and has no available versions")]
    Unloaded(ModelName),
}

/// The version that a client names, before it is parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamedVersion<'a> {
    Default,
    Number(&'a str),
    Label(&'a str),
}

impl UnknownTarget {
    /// Returns the error for a valid name that no model has.
    pub fn model(model: &ModelName) -> UnknownTarget {
        UnknownTarget::Model(Quoted::new(model.as_str()))
    }

    /// Returns the error for a version that the model does not have.
    pub fn version(model: &ModelName, version: Version) -> UnknownTarget {
        UnknownTarget::Version {
            model: model.clone(),
            version: Quoted::new(&version.to_string()),
        }
    }
}

/// Parses the name of a model; a name that breaks the grammar is an unknown model.
pub(crate) fn model(name: &str) -> Result<ModelName, UnknownTarget> {
    ModelName::new(name).map_err(|_| UnknownTarget::Model(Quoted::new(name)))
}

/// Returns the version of a model with this number. Leading zeros are ignored, as in Triton.
pub(crate) fn numbered(model: ModelName, number: &str) -> Result<Target, UnknownTarget> {
    chosen(model, number_choice(number), number)
}

/// Returns the version of a model with this label.
pub(crate) fn labelled(model: ModelName, label: &str) -> Result<Target, UnknownTarget> {
    chosen(model, label_choice(label), label)
}

/// Returns the selection of this version of a model; without a model, of the only one that is served.
pub(crate) fn selection(
    model: Option<ModelName>,
    version: NamedVersion,
) -> Result<Selection, UnknownTarget> {
    let (choice, text) = match version {
        NamedVersion::Default => (Some(VersionChoice::Default), ""),
        NamedVersion::Number(number) => (number_choice(number), number),
        NamedVersion::Label(label) => (label_choice(label), label),
    };
    match (model, choice) {
        (Some(model), choice) => chosen(model, choice, text).map(Selection::Named),
        (None, Some(version)) => Ok(Selection::OnlyModel(version)),
        (None, None) => Err(UnknownTarget::VersionOfOnlyModel(Quoted::new(text))),
    }
}

/// Returns a path segment with its percent escapes decoded exactly once.
pub(crate) fn decoded(segment: &str) -> Cow<'_, str> {
    percent_decode_str(segment).decode_utf8_lossy()
}

fn number_choice(number: &str) -> Option<VersionChoice> {
    Version::from_client(number).map(VersionChoice::Number)
}

fn label_choice(label: &str) -> Option<VersionChoice> {
    VersionLabel::new(label).map(VersionChoice::Label)
}

fn chosen(
    model: ModelName,
    version: Option<VersionChoice>,
    text: &str,
) -> Result<Target, UnknownTarget> {
    match version {
        Some(version) => Ok(Target { model, version }),
        None => {
            let version = Quoted::new(text);
            Err(UnknownTarget::Version { model, version })
        }
    }
}
