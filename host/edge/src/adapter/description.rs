//! The description of a model in a form that JSON has, and the conversions from it and to it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wisp_protocol::call::{ModelDescription, ModelName, ModelNameError, Version};
use wisp_protocol::model_configuration::{ModelConfiguration, VersionPolicy};
use wisp_tensor::{Dimension, ElementType, ImageLayout, Signature, TensorSpec};

/// The description of a model version. It has the fields of [`ModelDescription`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescriptionEntry {
    pub name: String,
    /// A decimal number, as a string: a JSON number of this size is not exact everywhere.
    pub version: String,
    pub platform: String,
    pub inputs: Vec<TensorEntry>,
    pub outputs: Vec<TensorEntry>,
    pub max_batch_size: u32,
    pub max_rows: Option<u32>,
    pub class_labels: BTreeMap<String, Vec<String>>,
    pub properties: BTreeMap<String, String>,
    pub configuration: ConfigurationEntry,
}

/// The declaration of one input or output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorEntry {
    pub name: String,
    /// The name of the type in V2.
    pub datatype: String,
    /// The sizes per axis, -1 where they vary.
    pub shape: Vec<i64>,
    pub optional: bool,
}

/// The facts that only the configuration of a model contains. It has the fields of [`ModelConfiguration`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigurationEntry {
    pub version_policy: Policy,
    pub image_layouts: BTreeMap<String, Layout>,
    pub label_files: BTreeMap<String, String>,
    pub instances: u32,
    pub gpu: Option<u32>,
    pub file_name: String,
}

/// The versions of a model that its repository serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    Latest(u32),
    All,
    Specific(Vec<u64>),
}

/// The order of the axes of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    Nchw,
    Nhwc,
}

/// The error for an entry that no model has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error("`{name}` is not a name of a model")]
    Name {
        name: String,
        #[source]
        source: ModelNameError,
    },
    #[error("`{0}` is not a version")]
    Version(String),
    #[error("`{name}` has the unknown datatype `{datatype}`")]
    Datatype { name: String, datatype: String },
    #[error("`{name}` has an axis of size {size}")]
    Size { name: String, size: i64 },
}

// === conversions from a description ===

impl From<&ModelDescription> for DescriptionEntry {
    fn from(description: &ModelDescription) -> DescriptionEntry {
        let ModelDescription {
            model,
            version,
            platform,
            signature,
            max_batch_size,
            max_rows,
            class_labels,
            properties,
            configuration,
        } = description;
        DescriptionEntry {
            name: model.to_string(),
            version: version.to_string(),
            platform: platform.clone(),
            inputs: signature.inputs.iter().map(TensorEntry::from).collect(),
            outputs: signature.outputs.iter().map(TensorEntry::from).collect(),
            max_batch_size: *max_batch_size,
            max_rows: *max_rows,
            class_labels: class_labels.clone(),
            properties: properties.clone(),
            configuration: configuration.into(),
        }
    }
}

impl From<&TensorSpec> for TensorEntry {
    fn from(spec: &TensorSpec) -> TensorEntry {
        let TensorSpec {
            name,
            element_type,
            shape,
            optional,
        } = spec;
        TensorEntry {
            name: name.clone(),
            datatype: element_type.name().to_owned(),
            shape: shape.iter().map(|size| size.to_wire()).collect(),
            optional: *optional,
        }
    }
}

impl From<&ModelConfiguration> for ConfigurationEntry {
    fn from(configuration: &ModelConfiguration) -> ConfigurationEntry {
        let ModelConfiguration {
            version_policy,
            image_layouts,
            label_files,
            instances,
            gpu,
            // The hosts of bundles do not compute requests together.
            dynamic_batching: _,
            // Nor do they keep responses.
            response_cache: _,
            file_name,
        } = configuration;
        let layouts = image_layouts.iter();
        ConfigurationEntry {
            version_policy: version_policy.into(),
            image_layouts: layouts
                .map(|(input, &layout)| (input.clone(), layout.into()))
                .collect(),
            label_files: label_files.clone(),
            instances: *instances,
            gpu: *gpu,
            file_name: file_name.clone(),
        }
    }
}

impl From<&VersionPolicy> for Policy {
    fn from(policy: &VersionPolicy) -> Policy {
        match policy {
            VersionPolicy::Latest(count) => Policy::Latest(*count),
            VersionPolicy::All => Policy::All,
            VersionPolicy::Specific(versions) => Policy::Specific(versions.clone()),
        }
    }
}

impl From<ImageLayout> for Layout {
    fn from(layout: ImageLayout) -> Layout {
        match layout {
            ImageLayout::Nchw => Layout::Nchw,
            ImageLayout::Nhwc => Layout::Nhwc,
        }
    }
}

// === conversions to a description ===

impl TryFrom<DescriptionEntry> for ModelDescription {
    type Error = EntryError;

    fn try_from(entry: DescriptionEntry) -> Result<ModelDescription, EntryError> {
        let DescriptionEntry {
            name,
            version,
            platform,
            inputs,
            outputs,
            max_batch_size,
            max_rows,
            class_labels,
            properties,
            configuration,
        } = entry;
        let specs = |entries: Vec<TensorEntry>| entries.into_iter().map(TensorSpec::try_from);
        let version = Version::from_decimal(&version).ok_or(EntryError::Version(version))?;
        Ok(ModelDescription {
            model: ModelName::new(&name).map_err(|source| EntryError::Name { name, source })?,
            version,
            platform,
            signature: Signature {
                inputs: specs(inputs).collect::<Result<_, _>>()?,
                outputs: specs(outputs).collect::<Result<_, _>>()?,
            },
            max_batch_size,
            max_rows,
            class_labels,
            properties,
            configuration: configuration.into(),
        })
    }
}

impl TryFrom<TensorEntry> for TensorSpec {
    type Error = EntryError;

    fn try_from(entry: TensorEntry) -> Result<TensorSpec, EntryError> {
        let TensorEntry {
            name,
            datatype,
            shape,
            optional,
        } = entry;
        let Some(element_type) = ElementType::from_name(&datatype) else {
            return Err(EntryError::Datatype { name, datatype });
        };
        let sizes = shape.into_iter().map(|size| {
            Dimension::from_wire(size).ok_or_else(|| EntryError::Size {
                name: name.clone(),
                size,
            })
        });
        Ok(TensorSpec {
            shape: sizes.collect::<Result<_, _>>()?,
            name,
            element_type,
            optional,
        })
    }
}

impl From<ConfigurationEntry> for ModelConfiguration {
    fn from(entry: ConfigurationEntry) -> ModelConfiguration {
        let ConfigurationEntry {
            version_policy,
            image_layouts,
            label_files,
            instances,
            gpu,
            file_name,
        } = entry;
        let layouts = image_layouts.into_iter();
        ModelConfiguration {
            version_policy: version_policy.into(),
            image_layouts: layouts
                .map(|(input, layout)| (input, layout.into()))
                .collect(),
            label_files,
            instances,
            gpu,
            dynamic_batching: None,
            response_cache: false,
            file_name,
        }
    }
}

impl From<Policy> for VersionPolicy {
    fn from(policy: Policy) -> VersionPolicy {
        match policy {
            Policy::Latest(count) => VersionPolicy::Latest(count),
            Policy::All => VersionPolicy::All,
            Policy::Specific(versions) => VersionPolicy::Specific(versions),
        }
    }
}

impl From<Layout> for ImageLayout {
    fn from(layout: Layout) -> ImageLayout {
        match layout {
            Layout::Nchw => ImageLayout::Nchw,
            Layout::Nhwc => ImageLayout::Nhwc,
        }
    }
}

#[cfg(test)]
mod tests;
