//! The part of a version's description that only its configuration in Triton's format contains.
//!
//! Most of it is in the model file. The inputs that are images are derived from the graph where it shows them
//! (`wisp_backend::image_layouts`), and a `format` in the model file takes precedence.

use crate::registry::input_format::InputFormatError;
use crate::registry::model_file::{
    InputFormat, ModelFile, NamedPolicy, VersionPolicy as SelectedVersions,
};
use crate::registry::repository::{HANDLER_FILE, MAIN_GRAPH, VersionFiles};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use wisp_backend::image_layouts::image_layouts;
use wisp_backend::{Device, Format};
use wisp_protocol::model_configuration::{ModelConfiguration, VersionPolicy};
use wisp_tensor::signature::DimensionList;
use wisp_tensor::{ImageLayout, Signature, TensorSpec};

/// The facts that determine the configuration of a version. Lifetime: one load.
#[derive(Debug)]
pub(crate) struct Configuring<'a> {
    pub(crate) files: &'a VersionFiles,
    pub(crate) model_file: &'a ModelFile,
    pub(crate) signature: &'a Signature,
    /// Set if axis 0 is a batch.
    pub(crate) has_batch: bool,
    /// The number of computations of a graph that may run at the same time.
    pub(crate) instances: NonZeroUsize,
}

impl Configuring<'_> {
    /// Returns the configuration of the version.
    pub(crate) fn configuration(&self) -> Result<ModelConfiguration, InputFormatError> {
        let outputs = self.model_file.outputs.iter();
        let label_files = outputs.filter_map(|(output, section)| {
            let labels = section.labels.as_ref()?;
            Some((output.clone(), labels.display().to_string()))
        });
        Ok(ModelConfiguration {
            version_policy: version_policy(&self.model_file.versions),
            image_layouts: self.image_layouts()?,
            label_files: label_files.collect(),
            instances: u32::try_from(self.instances.get()).unwrap_or(u32::MAX),
            gpu: match self.model_file.device {
                Some(Device::Cuda(index)) => Some(index),
                Some(Device::Cpu) | None => None,
            },
            // Decided by the loader (`batching_choice`, `version_content`).
            dynamic_batching: None,
            response_cache: false,
            file_name: self.file_name(),
        })
    }

    /// Returns the layout of the inputs that are images, by name.
    fn image_layouts(&self) -> Result<BTreeMap<String, ImageLayout>, InputFormatError> {
        let mut layouts = self.derived_layouts();
        for (name, section) in &self.model_file.inputs {
            let Some(format) = section.format else {
                continue;
            };
            let mut inputs = self.signature.inputs.iter();
            let input = inputs.find(|spec| spec.name == *name);
            let input = input.ok_or_else(|| InputFormatError::UnknownInput {
                input: name.clone(),
            })?;
            let layout = match format {
                InputFormat::Nchw => ImageLayout::Nchw,
                InputFormat::Nhwc => ImageLayout::Nhwc,
                InputFormat::NoImage => {
                    layouts.remove(name);
                    continue;
                }
            };
            if !self.may_be_image(input) {
                return Err(InputFormatError::Axes {
                    input: name.clone(),
                    shape: DimensionList(&input.shape).to_string(),
                });
            }
            layouts.insert(name.clone(), layout);
        }
        Ok(layouts)
    }

    /// Returns the layout of the inputs that the main graph shows to be images, if clients call the graph.
    fn derived_layouts(&self) -> BTreeMap<String, ImageLayout> {
        let Some(path) = self.files.graphs.get(MAIN_GRAPH) else {
            return BTreeMap::new();
        };
        let is_onnx = matches!(Format::of(path), Some((Format::Onnx, _)));
        if self.files.handler.is_some() || !is_onnx {
            return BTreeMap::new();
        }
        // A backend has loaded the file. If it has no outline, nothing is derived from it.
        let mut layouts = image_layouts(path, &self.signature.inputs).unwrap_or_default();
        // Triton describes the axes of a single image only.
        let inputs = self.signature.inputs.iter();
        for input in inputs.filter(|input| !self.may_be_image(input)) {
            layouts.remove(&input.name);
        }
        layouts
    }

    fn may_be_image(&self, input: &TensorSpec) -> bool {
        input.shape.len() == ImageLayout::AXES + usize::from(self.has_batch)
    }

    /// Returns the name of the file that answers requests.
    fn file_name(&self) -> String {
        if self.files.handler.is_some() {
            return HANDLER_FILE.to_owned();
        }
        let main = self.files.graphs.get(MAIN_GRAPH);
        let name = main.and_then(|path| path.file_name());
        name.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }
}

fn version_policy(selected: &SelectedVersions) -> VersionPolicy {
    match selected {
        SelectedVersions::Named(NamedPolicy::Latest) => VersionPolicy::Latest(1),
        SelectedVersions::Named(NamedPolicy::All) => VersionPolicy::All,
        SelectedVersions::Newest { latest } => {
            VersionPolicy::Latest(u32::try_from(latest.get()).unwrap_or(u32::MAX))
        }
        SelectedVersions::Specific(versions) => VersionPolicy::Specific(versions.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use wisp_protocol::call::{ModelName, Version};
    use wisp_tensor::{Dimension, ElementType};

    fn configuration(
        model_file: &str,
        shape: &[i64],
        has_batch: bool,
    ) -> anyhow::Result<Result<ModelConfiguration, InputFormatError>> {
        let path = PathBuf::from("/no/such/folder/model.onnx");
        let files = VersionFiles {
            model: ModelName::new("m")?,
            version: Version::FIRST,
            graphs: BTreeMap::from([(MAIN_GRAPH.to_owned(), path)]),
            handler: None,
            directory: None,
            model_directory: None,
            config: None,
            baseline: None,
        };
        let shape = shape.iter().filter_map(|&size| Dimension::from_wire(size));
        let input = TensorSpec {
            name: "x".to_owned(),
            element_type: ElementType::Fp32,
            shape: shape.collect(),
            optional: false,
        };
        let signature = Signature {
            inputs: vec![input],
            outputs: Vec::new(),
        };
        let model_file: ModelFile = toml::from_str(model_file)?;
        let configuring = Configuring {
            files: &files,
            model_file: &model_file,
            signature: &signature,
            has_batch,
            instances: NonZeroUsize::MIN,
        };
        Ok(configuring.configuration())
    }

    #[test]
    fn the_model_file_states_formats_policies_labels_and_devices() -> anyhow::Result<()> {
        let text = "device = 'cuda:1'\nversions = { latest = 2 }\ninputs.x.format = 'NHWC'\n\
            outputs.y.labels = 'labels.txt'";
        let expected = ModelConfiguration {
            version_policy: VersionPolicy::Latest(2),
            image_layouts: BTreeMap::from([("x".to_owned(), ImageLayout::Nhwc)]),
            label_files: BTreeMap::from([("y".to_owned(), "labels.txt".to_owned())]),
            instances: 1,
            gpu: Some(1),
            dynamic_batching: None,
            response_cache: false,
            file_name: "model.onnx".to_owned(),
        };
        assert_eq!(configuration(text, &[-1, 8, 8, 3], true)??, expected);
        let unstated = configuration("inputs.x.format = 'none'", &[-1, 3, 8, 8], true)??;
        assert!(unstated.image_layouts.is_empty());
        let unbatched = configuration("inputs.x.format = 'NCHW'", &[3, 8, 8], false)??;
        assert_eq!(unbatched.image_layouts["x"], ImageLayout::Nchw);
        Ok(())
    }

    #[test]
    fn a_format_is_for_an_input_of_the_model_with_the_axes_of_an_image() -> anyhow::Result<()> {
        let text = "inputs.x.format = 'NCHW'";
        for (shape, has_batch) in [([1, 3, 8, 8].as_slice(), false), (&[-1, 3], true)] {
            let refused = configuration(text, shape, has_batch)?;
            let Err(error @ InputFormatError::Axes { .. }) = refused else {
                anyhow::bail!("{shape:?}: {refused:?}");
            };
            let text = error.to_string();
            anyhow::ensure!(text.contains("3 axes besides a batch axis"), "{text}");
        }
        let unknown = configuration("inputs.z.format = 'none'", &[-1, 3, 8, 8], true)?;
        assert!(matches!(
            unknown,
            Err(InputFormatError::UnknownInput { .. })
        ));
        Ok(())
    }
}
