//! The manifests of the two kinds of artifacts: Wasm components, and versions of models.
//!
//! A component has the layout that the tools of WebAssembly share (CNCF, "Wasm OCI Artifact Layout"). A
//! model has a type of its own. Its layers are its files as they are, one each, so that a registry stores
//! a file once that several versions have; titles are relative to the directory of the model, as `oras
//! pull` writes them. A manifest has no time in it: the same files always make the same bytes.

use super::digest::{Blob, ContentDigest};
use super::file_title::{FileTitle, TitleError, check_distinct};
use anyhow::Context;
use oci_client::annotations::{ORG_OPENCONTAINERS_IMAGE_TITLE, ORG_OPENCONTAINERS_IMAGE_VERSION};
use oci_client::manifest::{
    IMAGE_CONFIG_MEDIA_TYPE, IMAGE_DOCKER_CONFIG_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciDescriptor,
    OciImageManifest,
};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use wisp_protocol::call::{ModelName, Version};
use wisp_tensor::OneLine;

/// The media type of every manifest that is pushed.
pub(crate) const MANIFEST: &str = OCI_IMAGE_MEDIA_TYPE;

/// The configuration of a component, which marks the artifact as one.
const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";

/// A component.
const WASM: &str = "application/wasm";

/// The type of an artifact that is a version of a model.
const MODEL: &str = "application/vnd.wisp.model.v1";

/// The configuration of an artifact that has none, and its content.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
pub(crate) const EMPTY_CONFIG: &[u8] = b"{}";

/// An artifact that can be pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Artifact {
    Component(ComponentArtifact),
    Model(ModelArtifact),
}

/// A component, and the name of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ComponentArtifact {
    pub(crate) blob: Blob,
    pub(crate) title: Option<FileTitle>,
}

/// One version of a model with the files of the model that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModelArtifact {
    pub(crate) name: ModelName,
    pub(crate) version: Version,
    /// The files, in the order of the layers.
    pub(crate) files: BTreeMap<FileTitle, Blob>,
}

/// The reason that an artifact cannot be pulled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArtifactError {
    #[error("its manifest is not an OCI manifest")]
    Manifest { source: serde_json::Error },
    #[error(
        "it is {}, neither a Wasm component (`{WASM_CONFIG}`) nor a model of Wisp (`{MODEL}`)",
        OneLine(kind)
    )]
    OtherKind { kind: String },
    #[error(
        "a Wasm component has one layer of type `{WASM}`, and this one has {}",
        OneLine(layers)
    )]
    Layers { layers: String },
    #[error(
        "its manifest has a layer with the digest `{}` and {size} bytes",
        OneLine(digest)
    )]
    Descriptor { digest: String, size: i64 },
    #[error("its layer {} has no file name", .index + 1)]
    Untitled { index: usize },
    #[error(transparent)]
    Title(#[from] TitleError),
    #[error(
        "its manifest names no valid model and version (annotations \
         `{ORG_OPENCONTAINERS_IMAGE_TITLE}` and `{ORG_OPENCONTAINERS_IMAGE_VERSION}`)"
    )]
    Name,
    #[error("its file `{title}` is not part of version {version}")]
    OtherVersion { title: FileTitle, version: Version },
    #[error("it has no file of version {version}")]
    NoVersion { version: Version },
}

/// The parts of any manifest that show its kind.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Outline {
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<OutlineConfig>,
    manifests: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OutlineConfig {
    media_type: String,
}

impl Artifact {
    /// Reads a manifest.
    pub(crate) fn parse(manifest: &[u8]) -> Result<Artifact, ArtifactError> {
        let invalid = |source| ArtifactError::Manifest { source };
        let outline: Outline = serde_json::from_slice(manifest).map_err(invalid)?;
        let config = outline.config.as_ref();
        let config = config.map_or("", |config| config.media_type.as_str());
        let is_model = outline.artifact_type.as_deref() == Some(MODEL);
        if outline.manifests.is_some() || !(is_model || config == WASM_CONFIG) {
            let kind = outline.kind();
            return Err(ArtifactError::OtherKind { kind });
        }
        let manifest: OciImageManifest = serde_json::from_slice(manifest).map_err(invalid)?;
        match is_model {
            true => ModelArtifact::parse(&manifest).map(Artifact::Model),
            false => ComponentArtifact::parse(&manifest).map(Artifact::Component),
        }
    }

    /// Returns the size of all files together.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Artifact::Component(component) => component.blob.size,
            Artifact::Model(model) => {
                let sizes = model.files.values().map(|blob| blob.size);
                sizes.fold(0, u64::saturating_add)
            }
        }
    }
}

impl ComponentArtifact {
    fn parse(manifest: &OciImageManifest) -> Result<ComponentArtifact, ArtifactError> {
        let [layer] = manifest.layers.as_slice() else {
            let layers = manifest.layers.len().to_string();
            return Err(ArtifactError::Layers { layers });
        };
        if layer.media_type != WASM {
            let layers = format!("one of type `{}`", layer.media_type);
            return Err(ArtifactError::Layers { layers });
        }
        Ok(ComponentArtifact {
            blob: blob(layer)?,
            title: title(layer).map(FileTitle::new).transpose()?,
        })
    }

    /// Returns the manifest, with this configuration.
    pub(crate) fn manifest(&self, config: &[u8]) -> anyhow::Result<Vec<u8>> {
        let title = self.title.as_ref();
        encode(OciImageManifest {
            config: descriptor(WASM_CONFIG, &Blob::of(config), None)?,
            layers: vec![descriptor(WASM, &self.blob, title)?],
            ..OciImageManifest::default()
        })
    }
}

impl ModelArtifact {
    fn parse(manifest: &OciImageManifest) -> Result<ModelArtifact, ArtifactError> {
        let annotation = |key| {
            let annotations = manifest.annotations.as_ref();
            annotations.and_then(|annotations| annotations.get(key))
        };
        let name =
            annotation(ORG_OPENCONTAINERS_IMAGE_TITLE).and_then(|name| ModelName::new(name).ok());
        let version = annotation(ORG_OPENCONTAINERS_IMAGE_VERSION);
        let version = version.and_then(|version| Version::from_decimal(version));
        let (Some(name), Some(version)) = (name, version) else {
            return Err(ArtifactError::Name);
        };
        let mut titles = Vec::new();
        let mut files = BTreeMap::new();
        for (index, layer) in manifest.layers.iter().enumerate() {
            let title = title(layer).ok_or(ArtifactError::Untitled { index })?;
            let title = FileTitle::new(title)?;
            if !is_part(&title, version) {
                return Err(ArtifactError::OtherVersion { title, version });
            }
            titles.push(title.clone());
            files.insert(title, blob(layer)?);
        }
        check_distinct(titles.iter())?;
        let model = ModelArtifact {
            name,
            version,
            files,
        };
        match model.files.keys().any(|title| model.is_of_version(title)) {
            true => Ok(model),
            false => Err(ArtifactError::NoVersion { version }),
        }
    }

    /// Returns whether the file is in the directory of the version, and not of the model.
    pub(crate) fn is_of_version(&self, title: &FileTitle) -> bool {
        let (first, rest) = title.split_first();
        rest.is_some() && first == self.version.to_string()
    }

    /// Returns the manifest. Its configuration is [`EMPTY_CONFIG`].
    pub(crate) fn manifest(&self) -> anyhow::Result<Vec<u8>> {
        let layers = self.files.iter();
        let layers = layers.map(|(title, blob)| descriptor(media_type(title), blob, Some(title)));
        let annotation = |key: &str, value: String| (key.to_owned(), value);
        encode(OciImageManifest {
            artifact_type: Some(MODEL.to_owned()),
            config: descriptor(EMPTY, &Blob::of(EMPTY_CONFIG), None)?,
            layers: layers.collect::<anyhow::Result<_>>()?,
            annotations: Some(BTreeMap::from([
                annotation(ORG_OPENCONTAINERS_IMAGE_TITLE, self.name.to_string()),
                annotation(ORG_OPENCONTAINERS_IMAGE_VERSION, self.version.to_string()),
            ])),
            ..OciImageManifest::default()
        })
    }
}

impl Outline {
    /// Describes an artifact that is neither a component nor a model.
    fn kind(&self) -> String {
        if self.manifests.is_some() {
            let media_type = self.media_type.as_deref().unwrap_or("no media type");
            return format!("an index of several artifacts (`{media_type}`)");
        }
        if let Some(artifact_type) = &self.artifact_type {
            return format!("an artifact of type `{artifact_type}`");
        }
        match self
            .config
            .as_ref()
            .map(|config| config.media_type.as_str())
        {
            Some(config @ (IMAGE_CONFIG_MEDIA_TYPE | IMAGE_DOCKER_CONFIG_MEDIA_TYPE)) => {
                format!("a container image (`{config}`)")
            }
            Some(config) => format!("an artifact with the configuration type `{config}`"),
            None => "something without a configuration".to_owned(),
        }
    }
}

/// Returns whether a file with this title can belong to the version: it is not in the directory of another one.
pub(crate) fn is_part(title: &FileTitle, version: Version) -> bool {
    let (first, rest) = title.split_first();
    let is_number = first.bytes().all(|byte| byte.is_ascii_digit());
    !is_number || (rest.is_some() && first == version.to_string())
}

/// Returns the media type of a file of a model.
fn media_type(title: &FileTitle) -> &'static str {
    let ending = title.as_str().rsplit_once('.').map(|(_, ending)| ending);
    match ending {
        Some("wasm") => WASM,
        Some("json") => "application/json",
        Some("toml") => "application/toml",
        Some("txt") => "text/plain",
        _ => "application/octet-stream",
    }
}

fn title(layer: &OciDescriptor) -> Option<&str> {
    let title = layer
        .annotations
        .as_ref()?
        .get(ORG_OPENCONTAINERS_IMAGE_TITLE)?;
    Some(title)
}

fn blob(layer: &OciDescriptor) -> Result<Blob, ArtifactError> {
    match (
        ContentDigest::parse(&layer.digest),
        u64::try_from(layer.size),
    ) {
        (Some(digest), Ok(size)) => Ok(Blob { digest, size }),
        _ => Err(ArtifactError::Descriptor {
            digest: layer.digest.chars().take(200).collect(),
            size: layer.size,
        }),
    }
}

fn descriptor(
    media_type: &str,
    blob: &Blob,
    title: Option<&FileTitle>,
) -> anyhow::Result<OciDescriptor> {
    let title = title.map(|title| {
        let key = ORG_OPENCONTAINERS_IMAGE_TITLE.to_owned();
        BTreeMap::from([(key, title.as_str().to_owned())])
    });
    Ok(OciDescriptor {
        media_type: media_type.to_owned(),
        digest: blob.digest.to_string(),
        size: i64::try_from(blob.size).context("a file is too large")?,
        annotations: title,
        ..OciDescriptor::default()
    })
}

fn encode(manifest: OciImageManifest) -> anyhow::Result<Vec<u8>> {
    Ok(serde_json::to_vec(&OciImageManifest {
        media_type: Some(MANIFEST.to_owned()),
        ..manifest
    })?)
}

#[cfg(test)]
mod tests;
