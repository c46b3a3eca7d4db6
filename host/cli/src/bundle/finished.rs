//! A finished bundle, as its target writes it.

use std::path::Path;
use wisp_protocol::call::ModelDescription;

/// A finished bundle, which has been tried. Lifetime: the end of the command.
#[derive(Debug)]
pub(crate) struct Bundle<'a> {
    /// The component, which exports wasi:http/incoming-handler.
    pub(crate) bytes: &'a [u8],
    /// The size of the component compressed with gzip.
    pub(crate) gzipped_bytes: u64,
    /// The model and the version inside.
    pub(crate) model: &'a ModelDescription,
    /// The name of the engine inside: `rten` or `tract`.
    pub(crate) engine: &'static str,
    /// The interfaces that the component imports, with their versions.
    pub(crate) imports: &'a [String],
    /// Set if an instance may serve several requests.
    pub(crate) keeps_instance: bool,
    /// The largest body of a request that the component accepts, in bytes.
    pub(crate) max_body_bytes: usize,
    /// The model's path, as the command was given it.
    pub(crate) source: &'a Path,
    /// The arguments of the command that another bundle of the model needs too.
    pub(crate) arguments: &'a [String],
    /// The component in two parts, if they were asked for.
    pub(crate) parts: Option<&'a BundleParts>,
}

/// The components of a bundle that its host composes.
#[derive(Debug)]
pub(crate) struct BundleParts {
    /// The component that exports wasi:http/incoming-handler, and imports the model.
    pub(crate) adapter: Vec<u8>,
    /// The component that exports the model.
    pub(crate) model: Vec<u8>,
}

#[cfg(test)]
pub(crate) mod sample {
    //! Bundles of tests, which no host could run.

    use super::*;
    use std::collections::BTreeMap;
    use wisp_protocol::call::{ModelName, Version};
    use wisp_tensor::Signature;

    pub(crate) fn model(name: &str) -> anyhow::Result<ModelDescription> {
        Ok(ModelDescription {
            model: ModelName::new(name)?,
            version: Version::FIRST,
            platform: "rten_onnx".to_owned(),
            signature: Signature {
                inputs: Vec::new(),
                outputs: Vec::new(),
            },
            max_batch_size: 0,
            max_rows: None,
            class_labels: BTreeMap::new(),
            properties: BTreeMap::new(),
            configuration: Default::default(),
        })
    }

    pub(crate) fn bundle(model: &ModelDescription) -> Bundle<'_> {
        Bundle {
            bytes: b"component",
            gzipped_bytes: 0,
            model,
            engine: "rten",
            imports: &[],
            keeps_instance: false,
            max_body_bytes: 1 << 20,
            source: Path::new("models/digits"),
            arguments: &[],
            parts: None,
        }
    }
}
