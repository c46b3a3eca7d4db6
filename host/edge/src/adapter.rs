//! The manifest of the HTTP adapter of a bundle: the model that it serves, and its limits.
//!
//! `wisp bundle` writes the description of a model that it has loaded, and the adapter restores it. The types of
//! the manifest are those of `wisp_protocol::call`, in a form that JSON has: names of types as V2 writes them,
//! and -1 for a variable size.

mod description;

pub use description::{
    ConfigurationEntry, DescriptionEntry, EntryError, Layout, Policy, TensorEntry,
};

use serde::{Deserialize, Serialize};
use wisp_protocol::call_check::ModelKind;

/// The manifest of the HTTP adapter. Lifetime: a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterManifest {
    /// The description of the only version of the only model.
    pub model: DescriptionEntry,
    /// The labels of the version, by which requests can name it.
    pub labels: Vec<String>,
    /// The part of the bundle that answers requests.
    pub kind: Kind,
    /// The largest body of a request, in bytes.
    pub max_body_bytes: u64,
    /// The version in the metadata of the server.
    pub server_version: String,
}

/// The part of a bundle that answers requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The provider computes a graph; there is no handler.
    Graph,
    Handler,
}

impl AdapterManifest {
    /// Reads a manifest from its JSON.
    pub fn from_json(text: &[u8]) -> Result<AdapterManifest, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// Returns the JSON of the manifest.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

impl From<Kind> for ModelKind {
    fn from(kind: Kind) -> ModelKind {
        match kind {
            Kind::Graph => ModelKind::Graph,
            Kind::Handler => ModelKind::Handler,
        }
    }
}
