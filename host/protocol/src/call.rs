//! Requests and responses, independent of any wire format.
//!
//! These are plain values without behavior. Names from the wire are newtypes that only a validating
//! constructor creates, so a name that reaches the registry or a log has been checked.

use crate::model_configuration::ModelConfiguration;
use crate::routing::RoutingKey;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use wisp_tensor::{NamedTensor, Parameter, Signature};

/// The model that a call names, and its version if the call names one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub model: ModelName,
    pub version: VersionChoice,
}

/// The version that a call names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionChoice {
    /// The version that the repository's policy serves by default.
    Default,
    Number(Version),
    Label(VersionLabel),
}

/// The target of an inference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    Named(Target),
    /// A version of the only model in the repository.
    OnlyModel(VersionChoice),
}

/// An inference whose body has not been read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InferCall<D> {
    pub selection: Selection,
    /// The key of the client, which the routes leave empty and the server fills in.
    pub routing: RoutingKey,
    /// The decoder of the request, which determines the encoder of the response.
    pub decoder: D,
}

/// An inference with its body decoded. Lifetime: one request.
#[derive(Debug, Clone, PartialEq)]
pub struct InferRequest {
    pub inputs: Vec<NamedTensor>,
    /// The client's own parameters. The protocol's reserved parameters are not included: they are applied
    /// or stored in the encoder.
    pub parameters: Vec<Parameter>,
    /// The requested outputs in this order; empty means all.
    pub outputs: Vec<String>,
    pub scheduling: Scheduling,
}

/// The wishes of a client for the queue of a graph. They count only for graphs with a policy that allows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scheduling {
    /// The priority level, of which 1 is the highest; 0 for the default level of the model.
    pub priority: u32,
    /// The time that the request may wait in the queue; `None` for the model's own.
    pub timeout: Option<Duration>,
}

/// The response to an inference. Lifetime: one request.
#[derive(Debug, Clone, PartialEq)]
pub struct InferResponse {
    pub outputs: Vec<NamedTensor>,
    pub parameters: Vec<Parameter>,
}

impl InferRequest {
    /// Returns the total size of the tensors in bytes.
    pub fn content_bytes(&self) -> usize {
        let contents = self.inputs.iter();
        let contents = contents.map(|input| input.tensor.content().len());
        contents.fold(0, usize::saturating_add)
    }
}

impl InferResponse {
    /// Returns the total size of the tensors in bytes.
    pub fn content_bytes(&self) -> usize {
        let contents = self
            .outputs
            .iter()
            .map(|output| output.tensor.content().len());
        contents.fold(0, usize::saturating_add)
    }
}

/// The description of a loaded version, for its clients. Lifetime: a model version.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelDescription {
    pub model: ModelName,
    pub version: Version,
    /// The platform as `<backend>_<format>`, in Triton's style.
    pub platform: String,
    /// The inputs and outputs with their shapes as on the wire, batch axis included.
    pub signature: Signature,
    /// The maximum batch size that clients are told; 0 if axis 0 is not a batch axis.
    pub max_batch_size: u32,
    /// The maximum number of rows along axis 0 in one request. Without one, a request has any number of rows that
    /// its bytes allow, also none.
    pub max_rows: Option<u32>,
    /// The class names of some outputs, keyed by output, in class order.
    pub class_labels: BTreeMap<String, Vec<String>>,
    /// Further facts for the metadata, by name, such as the reasons for its backend.
    pub properties: BTreeMap<String, String>,
    /// The facts that only its configuration contains.
    pub configuration: ModelConfiguration,
}

/// The state of one version in the repository index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// The name of the model, or of a directory that is skipped, which may be any text.
    pub name: String,
    /// The version; `None` if the model has no version at all.
    pub version: Option<Version>,
    pub state: VersionState,
}

/// The lifecycle state of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionState {
    Loading,
    Ready,
    /// The version is not loaded, and the first request loads it. For clients it is ready.
    Dormant,
    /// The version accepts no new requests and finishes those it has accepted.
    Unloading,
    /// The version was loaded before, or could be loaded.
    Unloaded,
    /// The version cannot be served. The reason is written for clients and contains no path.
    Failed(String),
}

/// The name of a model: a letter, digit or underscore, then at most 127 of those, `.` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelName(Box<str>);

/// The error for a model name that breaks the grammar.
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

/// The name that an operator gave to a version; it has the grammar of a [`ModelName`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VersionLabel(ModelName);

impl VersionLabel {
    /// The label of the version that requests without a version get.
    pub const DEFAULT: &'static str = "stable";

    /// Returns the label, or `None` if the string breaks the grammar.
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

/// The number of a model version: a decimal without a leading zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(u64);

impl Version {
    /// Version 1.
    pub const FIRST: Version = Version(1);

    /// Parses the number that a client gives, which may have leading zeros, as in Triton.
    pub(crate) fn from_client(text: &str) -> Option<Version> {
        Version::from_decimal(text.trim_start_matches('0'))
    }

    /// Parses a decimal from 1 to 2^64 - 1 without a leading zero; returns `None` for anything else.
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
    fn model_names_that_look_like_paths_or_hidden_files_are_rejected() {
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

    #[test]
    fn a_client_may_write_leading_zeros() {
        for text in ["12", "012", "00000000000000000000000012"] {
            assert_eq!(Version::from_client(text), Some(Version(12)), "{text}");
        }
        for text in ["", "0", "00", "-01", "0x1", "01.0", "+1"] {
            assert_eq!(Version::from_client(text), None, "{text}");
        }
    }
}
