//! The model and version that a client names, common to all protocols and transports.
//!
//! The texts of [`UnknownTarget`] are for TF Serving and the predict API; `v2::unknown_target` returns
//! the texts of V2.

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
    #[error("unknown version label: `{model}` has no label {label}")]
    Label { model: ModelName, label: Quoted },
    #[error("unknown version label: the only model has no label {0}")]
    LabelOfOnlyModel(Quoted),
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
    match number_choice(number) {
        Some(version) => Ok(Target { model, version }),
        None => {
            let version = Quoted::new(number);
            Err(UnknownTarget::Version { model, version })
        }
    }
}

/// Returns the version of a model with this label.
pub(crate) fn labelled(model: ModelName, label: &str) -> Result<Target, UnknownTarget> {
    match label_choice(label) {
        Some(version) => Ok(Target { model, version }),
        None => {
            let label = Quoted::new(label);
            Err(UnknownTarget::Label { model, label })
        }
    }
}

/// Returns the selection of this version of a model; without a model, of the only one that is served.
pub(crate) fn selection(
    model: Option<ModelName>,
    version: NamedVersion,
) -> Result<Selection, UnknownTarget> {
    match (model, version) {
        (Some(model), NamedVersion::Default) => Ok(Selection::Named(Target {
            model,
            version: VersionChoice::Default,
        })),
        (Some(model), NamedVersion::Number(number)) => {
            numbered(model, number).map(Selection::Named)
        }
        (Some(model), NamedVersion::Label(label)) => labelled(model, label).map(Selection::Named),
        (None, NamedVersion::Default) => Ok(Selection::OnlyModel(VersionChoice::Default)),
        (None, NamedVersion::Number(number)) => number_choice(number)
            .map(Selection::OnlyModel)
            .ok_or_else(|| UnknownTarget::VersionOfOnlyModel(Quoted::new(number))),
        (None, NamedVersion::Label(label)) => label_choice(label)
            .map(Selection::OnlyModel)
            .ok_or_else(|| UnknownTarget::LabelOfOnlyModel(Quoted::new(label))),
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
