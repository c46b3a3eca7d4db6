//! The settings of a model from both of its files: from `model.toml`, and from Triton's `config.pbtxt` for the
//! keys that `model.toml` leaves out.
//!
//! A key of `model.toml` counts as set if the file has it, even with the value of its default. Parameters, the
//! settings of inputs and outputs and `cache.enabled` count one by one.

use crate::registry::batching::{Batching, BatchingError, policy_of_configuration};
use crate::registry::config_override::policy;
use crate::registry::model_file::{
    BackendChoice, InputFormat, ModelFile, ModelFileError, max_threads,
};
use crate::registry::triton_config::{self, TRITON_CONFIG_FILE};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wisp_backend::Device;
use wisp_protocol::config_text::ConfigText;
use wisp_tensor::ImageLayout;

impl ModelFile {
    /// Reads the files in the directory of a model; returns the defaults if there is neither.
    pub fn load(model_directory: &Path) -> Result<ModelFile, ModelFileError> {
        let (mut file, text) = ModelFile::read(model_directory)?;
        let triton = triton_config::load(model_directory).map_err(ModelFileError::Triton)?;
        let Some(triton) = triton else {
            return Ok(file);
        };
        if let Some(instances) = triton.config.instances {
            let limit = max_threads();
            if instances.get() > limit {
                return Err(ModelFileError::TooManyThreads {
                    path: model_directory.join(TRITON_CONFIG_FILE),
                    key: "the sum of the counts in instance_group",
                    value: instances.get(),
                    limit,
                });
            }
        }
        // It has been parsed as a model file already.
        let keys: toml::Table = toml::from_str(&text).unwrap_or_default();
        fill(&mut file, &triton, &keys).map_err(|source| ModelFileError::Batching {
            path: model_directory.join(TRITON_CONFIG_FILE),
            source,
        })?;
        file.triton = Some(Arc::new(triton));
        Ok(file)
    }

    /// Returns the names of the fields in its `config.pbtxt` that have no effect.
    pub(crate) fn ignored_settings(&self) -> Vec<String> {
        let triton = self.triton.as_ref();
        triton.map_or_else(Vec::new, |triton| triton.ignored.clone())
    }

    /// Returns the name of the file that its `config.pbtxt` declares as the main one.
    pub(crate) fn main_file(&self) -> Option<&str> {
        let triton = self.triton.as_ref()?;
        triton.config.default_model_filename.as_deref()
    }
}

/// Takes the settings of Triton's configuration for the keys that the model file does not have.
fn fill(
    file: &mut ModelFile,
    triton: &ConfigText,
    keys: &toml::Table,
) -> Result<(), BatchingError> {
    let config = &triton.config;
    if !keys.contains_key("backend") {
        file.backend = config.backend.clone().map(BackendChoice::from);
    }
    if !keys.contains_key("device") {
        file.device = config.gpu.map(Device::Cuda);
    }
    if !keys.contains_key("max_batch_size") {
        file.max_batch_size = config.max_batch_size;
    }
    if !keys.contains_key("instances") {
        file.instances = config.instances;
    }
    if let Some(versions) = &config.versions
        && !keys.contains_key("versions")
    {
        file.versions = policy(versions);
    }
    if let Some(batching) = &config.dynamic_batching
        && !keys.contains_key("batching")
    {
        let policy = policy_of_configuration(batching, file.max_batch_size)?;
        file.batching = Batching::Dynamic(policy);
    }
    let cache = keys.get("cache").and_then(toml::Value::as_table);
    if let Some(is_enabled) = config.response_cache
        && !cache.is_some_and(|cache| cache.contains_key("enabled"))
    {
        file.cache.enabled = is_enabled;
    }
    for (name, text) in config.parameters.iter().flatten() {
        let own = file.parameters.entry(name.clone());
        own.or_insert_with(|| text.clone());
    }
    for (name, layout) in &triton.layouts {
        let section = file.inputs.entry(name.clone()).or_default();
        section.format.get_or_insert(match layout {
            ImageLayout::Nchw => InputFormat::Nchw,
            ImageLayout::Nhwc => InputFormat::Nhwc,
        });
    }
    for output in &config.outputs {
        if let Some(labels) = &output.labels {
            let section = file.outputs.entry(output.name.clone()).or_default();
            section.labels.get_or_insert_with(|| PathBuf::from(labels));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::model_file::{FILE_NAME, NamedPolicy, VersionPolicy};
    use std::collections::BTreeMap;
    use std::num::NonZeroUsize;

    /// Loads a model file beside a configuration of Triton.
    fn load(text: &str, triton: &str) -> anyhow::Result<Result<ModelFile, ModelFileError>> {
        let directory = tempfile::tempdir()?;
        if !text.is_empty() {
            std::fs::write(directory.path().join(FILE_NAME), text)?;
        }
        std::fs::write(directory.path().join(TRITON_CONFIG_FILE), triton)?;
        Ok(ModelFile::load(directory.path()))
    }

    const TRITON: &str = r#"
backend: "rten" max_batch_size: 8 instance_group { count: 2 kind: KIND_CPU }
version_policy { all { } } response_cache { enable: true } default_model_filename: "net.onnx"
parameters { key: "a" value { string_value: "theirs" } }
parameters { key: "b" value { string_value: "theirs" } }
input { name: "x" format: FORMAT_NCHW }
output { name: "y" label_filename: "y.txt" } output { name: "z" label_filename: "z.txt" }
optimization { graph { level: 1 } }
dynamic_batching { max_queue_delay_microseconds: 100 }
"#;

    #[test]
    fn a_configuration_of_triton_has_what_the_model_file_leaves_out() -> anyhow::Result<()> {
        let alone = load("", TRITON)??;
        assert_eq!(alone.backend, Some(BackendChoice::from("rten".to_owned())));
        assert_eq!(alone.device, None);
        assert_eq!(alone.max_batch_size, Some(8));
        assert_eq!(alone.instances, NonZeroUsize::new(2));
        assert_eq!(alone.versions, VersionPolicy::Named(NamedPolicy::All));
        assert!(alone.cache.enabled);
        assert!(matches!(&alone.batching, Batching::Dynamic(policy)
            if policy.max_batch_size.get() == 8 && policy.max_queue_delay.as_micros() == 100));
        assert_eq!(alone.inputs["x"].format, Some(InputFormat::Nchw));
        assert_eq!(alone.main_file(), Some("net.onnx"));
        assert_eq!(alone.ignored_settings(), ["optimization"]);
        let files: Vec<&Path> = alone.files().collect();
        assert_eq!(files, [Path::new("y.txt"), Path::new("z.txt")]);
        Ok(())
    }

    #[test]
    fn each_key_of_the_model_file_takes_precedence() -> anyhow::Result<()> {
        // Two of them have the value of their default.
        let own = "backend = 'tract'\nmax_batch_size = 4\ninstances = 3\nversions = 'latest'\ndevice = 'cpu'\n\
            parameters = { a = 'ours' }\noutputs.y.labels = 'ours.txt'\ninputs.x.format = 'none'\n\
            cache = { enabled = false }";
        let both = load(own, TRITON)??;
        assert_eq!(both.backend, Some(BackendChoice::from("tract".to_owned())));
        assert_eq!(both.device, Some(Device::Cpu));
        assert_eq!(both.max_batch_size, Some(4));
        assert_eq!(both.instances, NonZeroUsize::new(3));
        assert_eq!(both.versions, VersionPolicy::Named(NamedPolicy::Latest));
        assert!(!both.cache.enabled);
        assert_eq!(both.inputs["x"].format, Some(InputFormat::NoImage));
        let parameters = [("a", "ours"), ("b", "theirs")];
        let parameters = parameters.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(both.parameters, BTreeMap::from(parameters));
        let files: Vec<&Path> = both.files().collect();
        assert_eq!(files, [Path::new("ours.txt"), Path::new("z.txt")]);
        let ttl = load("cache = { ttl_seconds = 5 }", TRITON)??;
        assert!(ttl.cache.enabled, "`enabled` is not set");
        Ok(())
    }

    #[test]
    fn an_error_names_the_file_that_has_it() -> anyhow::Result<()> {
        for (own, triton, file, reason) in [
            ("", "max_batchsize: 8", TRITON_CONFIG_FILE, "line 1: "),
            ("batch = 1", "", FILE_NAME, "line 1, column 1: "),
            (
                "",
                "instance_group { count: 100000 kind: KIND_CPU }",
                TRITON_CONFIG_FILE,
                "the sum of the counts in instance_group is 100000",
            ),
        ] {
            let error = load(own, triton)?.expect_err(triton);
            assert_eq!(error.file_name(), file);
            let text = error.reason();
            anyhow::ensure!(text.starts_with(reason), "{text}");
        }
        Ok(())
    }
}
