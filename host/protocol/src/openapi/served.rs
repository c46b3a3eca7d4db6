//! The models that the document describes, and the routes to each of their versions.

use super::example::Example;
use crate::call::{InferRequest, ModelDescription, ModelName, Version, VersionLabel};

/// The contents of the document.
#[derive(Debug)]
pub struct Served<'a> {
    /// The version of the program.
    pub version: &'a str,
    pub models: Vec<ServedModel<'a>>,
    pub control: Control,
    pub authentication: Authentication,
}

/// A model of the repository.
#[derive(Debug)]
pub struct ServedModel<'a> {
    pub name: &'a ModelName,
    /// The versions that accept calls, in ascending order. The default is the one with the default label; without such
    /// a label, it is the last.
    pub versions: Vec<ServedVersion<'a>>,
    pub labels: Vec<(&'a VersionLabel, Version)>,
}

/// A version that accepts calls.
#[derive(Debug, Clone, Copy)]
pub struct ServedVersion<'a> {
    pub description: &'a ModelDescription,
    /// A request that the version accepts, if one is known.
    pub example: Option<&'a InferRequest>,
}

/// The party that may load and unload models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    Clients,
    Nobody,
}

/// The way in which clients identify themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Authentication {
    /// Not at all: the server has no tenants.
    #[default]
    None,
    /// With the API keys of tenants.
    Keys,
}

/// One way to address a version that accepts calls.
pub(super) struct RouteVariant<'a> {
    pub(super) model: &'a ModelDescription,
    example: Option<&'a InferRequest>,
    version: RouteVersion<'a>,
}

#[derive(Clone, Copy)]
enum RouteVersion<'a> {
    Default,
    Number,
    Label(&'a VersionLabel),
}

impl<'a> Served<'a> {
    /// Returns every name under which a version accepts calls.
    pub(super) fn route_variants(&self) -> impl Iterator<Item = RouteVariant<'a>> {
        self.models.iter().flat_map(ServedModel::route_variants)
    }

    /// Returns every version that accepts calls.
    pub(super) fn versions(&self) -> impl Iterator<Item = &'a ModelDescription> {
        let versions = self.models.iter().flat_map(|model| &model.versions);
        versions.map(|version| version.description)
    }

    /// Returns the first model with a label whose version accepts calls, and the label.
    pub(super) fn first_label(&self) -> Option<(&'a ModelName, &'a VersionLabel)> {
        self.models.iter().find_map(|model| {
            let mut labels = model.labels.iter();
            let accepts_calls = |number: Version| {
                let mut versions = model.versions.iter();
                versions.any(|served| served.description.version == number)
            };
            let &(label, _) = labels.find(|(_, number)| accepts_calls(*number))?;
            Some((model.name, label))
        })
    }

    /// Returns the newest version of the first model that accepts calls.
    pub(super) fn first_ready(&self) -> Option<&'a ModelDescription> {
        let mut versions = self.models.iter().filter_map(|model| model.versions.last());
        versions.next().map(|version| version.description)
    }
}

impl<'a> ServedModel<'a> {
    fn default_version(&self) -> Option<&ServedVersion<'a>> {
        let mut labels = self.labels.iter();
        let mut versions = self.versions.iter();
        match labels.find(|(label, _)| label.as_str() == VersionLabel::DEFAULT) {
            Some((_, number)) => versions.find(|served| served.description.version == *number),
            None => versions.next_back(),
        }
    }

    fn route_variants(&self) -> Vec<RouteVariant<'a>> {
        let variant = |served: &ServedVersion<'a>, version| RouteVariant {
            model: served.description,
            example: served.example,
            version,
        };
        let default = self.default_version();
        let default = default.map(|served| variant(served, RouteVersion::Default));
        let numbers = self.versions.iter();
        let numbers = numbers.map(|served| variant(served, RouteVersion::Number));
        let labels = self.labels.iter().filter_map(|&(label, number)| {
            let mut versions = self.versions.iter();
            let served = versions.find(|served| served.description.version == number)?;
            Some(variant(served, RouteVersion::Label(label)))
        });
        default.into_iter().chain(numbers).chain(labels).collect()
    }
}

impl RouteVariant<'_> {
    /// Returns a request that the version accepts, or may accept; `None` if it cannot be shown.
    pub(super) fn example(&self) -> Option<Example<'_>> {
        Example::new(self.model, self.example)
    }

    pub(super) fn is_default(&self) -> bool {
        matches!(self.version, RouteVersion::Default)
    }

    pub(super) fn is_label(&self) -> bool {
        matches!(self.version, RouteVersion::Label(_))
    }

    /// Returns the part of a path that follows the model's name.
    pub(super) fn path(&self) -> String {
        match self.version {
            RouteVersion::Default => String::new(),
            RouteVersion::Number => format!("/versions/{}", self.model.version),
            RouteVersion::Label(label) => format!("/labels/{label}"),
        }
    }

    /// Returns the operation id of a verb. No part of it contains a colon, so ids are unique.
    pub(super) fn operation_id(&self, verb: &str) -> String {
        let path = self.path().replace('/', ":");
        format!("{verb}:{}{path}", self.model.model)
    }

    /// Returns the name used in summaries.
    pub(super) fn title(&self) -> String {
        let name = &self.model.model;
        match self.version {
            RouteVersion::Default => name.to_string(),
            RouteVersion::Number => format!("{name}, version {}", self.model.version),
            RouteVersion::Label(label) => format!("{name}, label {label}"),
        }
    }
}

/// Returns the name of a schema of this version. The version contains no dot, so names are unique.
pub(super) fn schema_name(model: &ModelDescription, of: &str) -> String {
    format!("{}.{}.{of}", model.model, model.version)
}
