//! What is asked and answered, free of any wire format.
//!
//! Plain values without behaviour. The names that travel are newtypes that only a check can make,
//! so that a name which reaches the registry or a log has been looked at.

use crate::rest;
use std::collections::BTreeMap;
use std::fmt;
use wisp_tensor::{NamedTensor, Parameter, Signature};

/// One request, as far as its head says what it wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Is the process alive?
    ServerLive,
    /// Can it take inference requests?
    ServerReady,
    ServerMetadata,
    /// The models of the repository and their states.
    RepositoryIndex,
    RepositoryLoad(ModelName),
    RepositoryUnload(ModelName),
    /// The names of the models.
    ModelList,
    /// A model's configuration in Triton's words.
    ModelConfig(Target),
    ModelReady(Target),
    ModelMetadata(Target),
    /// What the versions of a model have done: of one, or of all that can be called.
    ModelStatistics(Target),
    /// What every version of every model has done.
    AllStatistics,
    /// The document that describes all of these for the models that are served.
    OpenApi,
    Docs(DocsFile),
    /// Is the process alive, in the words of the simple dialect?
    Health,
    /// Is the process alive, in the words of KServe V1?
    KserveLive,
    /// The names of the models, for KServe V1 and for clients of OpenAI's lists.
    TfsModelList,
    /// The state of a model's versions, for TF Serving, and its readiness, for KServe V1.
    TfsModelStatus(Target),
    TfsModelMetadata(Target),
    Infer(InferCall<rest::Codec>),
}

/// A file of the page that shows the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocsFile {
    Page,
    /// What starts the viewer: the page has no script of its own.
    Initializer,
    Script,
    Style,
    Icon,
}

/// The model a call names, and its version if it names one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub model: ModelName,
    pub version: VersionChoice,
}

/// The version a call names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionChoice {
    /// The version the repository's policy serves by default.
    Default,
    Number(Version),
    Label(VersionLabel),
}

/// What an inference is asked of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    Named(Target),
    /// The only model there is, in the version served by default.
    OnlyModel,
}

/// An inference before its body is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InferCall<C> {
    pub selection: Selection,
    /// The dialect that reads the body and writes the answer.
    pub codec: C,
}

/// An inference with its body decoded. Lifetime: one request.
#[derive(Debug, Clone, PartialEq)]
pub struct InferRequest {
    pub inputs: Vec<NamedTensor>,
    /// The client's own parameters; the protocol's reserved ones are in the reply's format or gone.
    pub parameters: Vec<Parameter>,
    /// The outputs wanted, in this order; empty means all.
    pub outputs: Vec<String>,
}

/// The answer to an inference. Lifetime: one request.
#[derive(Debug, Clone, PartialEq)]
pub struct InferResponse {
    pub outputs: Vec<NamedTensor>,
    pub parameters: Vec<Parameter>,
}

/// What a loaded version tells its clients about itself. Lifetime: a model version.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelDescription {
    pub model: ModelName,
    pub version: Version,
    /// `<engine>_<format>`, in the manner of Triton.
    pub platform: String,
    /// Shapes as on the wire, batch axis included.
    pub signature: Signature,
    /// The most rows of axis 0 in one request; 0 when axis 0 is not a batch.
    pub max_batch_size: u32,
    /// The names of the classes of some outputs, by output, in the order of the classes.
    pub class_labels: BTreeMap<String, Vec<String>>,
}

/// The state of one version in the repository index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    pub model: ModelName,
    /// `None` when the model has no version at all.
    pub version: Option<Version>,
    pub state: VersionState,
}

/// How far a version is from taking requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionState {
    Loading,
    Ready,
    /// It takes no more requests, and answers those it has.
    Unloading,
    /// It was there, or could be.
    Unloaded,
    /// Why it cannot be served, written for clients: no path in it.
    Failed(String),
}

/// The name of a model: a letter, digit or underscore, then at most 127 of those, `.` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelName(Box<str>);

/// The name of a model breaks the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a model name is 1 to 128 letters, digits, `_`, `.` or `-`, and starts with a letter, a digit or `_`"
)]
pub struct ModelNameError;

impl ModelName {
    pub fn new(name: &str) -> Result<ModelName, ModelNameError> {
        let starts = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let goes_on = |c: char| starts(c) || c == '.' || c == '-';
        let fits = name.len() <= 128 && name.starts_with(starts) && name.chars().all(goes_on);
        fits.then(|| ModelName(name.into())).ok_or(ModelNameError)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name an operator gave to a version; the grammar is that of a [`ModelName`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VersionLabel(ModelName);

impl VersionLabel {
    /// `None` for what is no name.
    pub fn new(label: &str) -> Option<VersionLabel> {
        ModelName::new(label).ok().map(VersionLabel)
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for VersionLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a model version: a decimal without leading zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(u64);

impl Version {
    /// Version 1.
    pub const FIRST: Version = Version(1);

    /// `None` for anything but a decimal from 1 to 2^64 - 1 without leading zero.
    pub fn from_decimal(text: &str) -> Option<Version> {
        let decimal = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        decimal.then(|| text.parse().ok().map(Version))?
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_paths_or_hide_something_are_refused() {
        for name in ["digits", "_x", "resnet50-v1.5", "7"] {
            assert!(ModelName::new(name).is_ok(), "{name}");
        }
        let long = "x".repeat(129);
        for name in [
            "", ".", "..", ".hidden", "-x", "a/b", "a\\b", "a b", "é", "a\0", &long,
        ] {
            assert!(ModelName::new(name).is_err(), "{name}");
        }
    }

    #[test]
    fn versions_are_decimals_without_leading_zero() {
        assert_eq!(Version::from_decimal("12"), Some(Version(12)));
        for text in ["", "0", "01", "-1", "1.0", "abc", "99999999999999999999"] {
            assert_eq!(Version::from_decimal(text), None, "{text}");
        }
    }
}
