//! The settings of a model in `model.toml`, which its files do not show. Every key has a default.
//!
//! Unknown keys are errors, so that a misspelt limit is not silently ignored. The tables of the file are in
//! `model_sections` and `limits_section`, and `model_settings` adds the settings of a `config.pbtxt` beside the file.

use crate::registry::batching::Batching;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use wisp_backend::bounded_file::read_regular_text;
use wisp_backend::{Device, LoadOptions};
use wisp_protocol::config_text::ConfigText;
use wisp_sandbox::limits::Limits;

pub use crate::registry::limits_section::LimitsSection;
pub use crate::registry::model_file_error::ModelFileError;
pub use crate::registry::model_sections::{
    CacheSection, HandlerSection, HttpSection, InputFormat, InputSection, OutputSection,
};

/// The name of the file in the directory of a model.
pub const FILE_NAME: &str = "model.toml";

/// The size limit of a model file in bytes, about a thousand times a usual file.
const MAX_BYTES: u64 = 1 << 20;

/// The settings of a model.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelFile {
    /// The maximum number of rows of axis 0 in one request; 0 if axis 0 is not a batch. Without a value, axis 0 is a
    /// batch if every input and output has a variable first axis and the graph's file does not name different ones.
    pub max_batch_size: Option<u32>,
    /// The versions that are loaded; by default the highest.
    pub versions: VersionPolicy,
    /// Labels of versions, usually `stable` and `canary`, which clients of TF Serving request.
    pub labels: BTreeMap<String, u64>,
    /// The command that creates a `model.onnx` that the repository does not contain.
    pub export: Option<String>,
    /// Set if the server starts and is ready without this model when it cannot be loaded.
    pub optional: bool,
    /// The backend of its graphs: a name or `auto`; by default the choice of the server, which is `auto` by default.
    pub backend: Option<BackendChoice>,
    /// The device that computes its graphs, `cpu` or `cuda:0`; by default the CPU.
    #[serde(deserialize_with = "device")]
    pub device: Option<Device>,
    /// The number of threads that one computation may use; by default one, since other cores serve other requests.
    pub threads: Option<NonZeroUsize>,
    /// The number of computations of a graph that may run at the same time; by default one per core.
    pub instances: Option<NonZeroUsize>,
    /// The rules by which requests for its graphs are computed together; by default a measurement decides.
    pub batching: Batching,
    /// Set to false if its inputs and outputs are not written to the payload log of the server.
    pub payload_log: Option<bool>,
    /// Texts for clients, by name, which its configuration and its metadata contain as `parameters`.
    pub parameters: BTreeMap<String, String>,
    /// The settings of inputs, by name: shapes belong to its main graph, and values are what clients send.
    pub inputs: BTreeMap<String, InputSection>,
    /// The settings of outputs, by name.
    pub outputs: BTreeMap<String, OutputSection>,
    pub cache: CacheSection,
    pub handler: HandlerSection,
    pub http: HttpSection,
    pub limits: LimitsSection,
    /// The configuration of Triton beside the file. Its settings are in the other fields, unless the file has them too.
    #[serde(skip)]
    pub triton: Option<Arc<ConfigText>>,
}

/// The versions of a model that are loaded, in the terms of Triton: `"latest"`, `"all"`,
/// `{ latest = 2 }` or `[1, 3]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "expected \"latest\", \"all\", { latest = N } or an array of versions"
)]
pub enum VersionPolicy {
    Named(NamedPolicy),
    #[serde(rename_all = "snake_case")]
    Newest {
        latest: NonZeroUsize,
    },
    Specific(Vec<u64>),
}

/// The policies without a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamedPolicy {
    Latest,
    All,
}

impl Default for VersionPolicy {
    fn default() -> VersionPolicy {
        VersionPolicy::Named(NamedPolicy::Latest)
    }
}

/// The choice of the backend for the graphs of a model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum BackendChoice {
    /// The backend with this name.
    Named(String),
    /// The fastest of the available backends that agree, which are measured when a version is first loaded.
    Auto,
}

impl From<String> for BackendChoice {
    fn from(name: String) -> BackendChoice {
        match name.as_str() {
            "auto" => BackendChoice::Auto,
            _ => BackendChoice::Named(name),
        }
    }
}

fn device<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Device>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

impl ModelFile {
    /// Reads the file in the directory of a model, and returns it with its text; returns the defaults if there is none.
    pub(super) fn read(model_directory: &Path) -> Result<(ModelFile, String), ModelFileError> {
        let path = model_directory.join(FILE_NAME);
        let text = match read_regular_text(&path, MAX_BYTES) {
            Ok(text) => text,
            // A dangling link is an error: the file is meant to exist.
            Err(error) if error.kind() == ErrorKind::NotFound && !path.is_symlink() => {
                return Ok((ModelFile::default(), String::new()));
            }
            Err(source) => return Err(ModelFileError::Read { path, source }),
        };
        let file: ModelFile = toml::from_str(&text).map_err(|source| ModelFileError::Parse {
            path: path.clone(),
            source: Box::new(source),
        })?;
        let limit = max_threads();
        for (key, value) in [("threads", file.threads), ("instances", file.instances)] {
            if let Some(value) = value.filter(|value| value.get() > limit) {
                return Err(ModelFileError::TooManyThreads {
                    path,
                    key,
                    value: value.get(),
                    limit,
                });
            }
        }
        Ok((file, text))
    }

    /// Returns the paths of the files that the model file names, relative to the directory of the model.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let outputs = self.outputs.values();
        let labels = outputs.filter_map(|output| output.labels.as_deref());
        labels.chain(self.handler.files.iter().map(Path::new))
    }

    /// Returns the settings for the backend of its main graph.
    pub fn load_options(&self) -> LoadOptions {
        let inputs = self.inputs.iter();
        let shapes = inputs.filter_map(|(name, input)| Some((name.clone(), input.shape.clone()?)));
        LoadOptions {
            device: self.device.unwrap_or_default(),
            threads: self.threads.unwrap_or(NonZeroUsize::MIN),
            shapes: shapes.collect(),
        }
    }

    /// Returns the limits of this model's handler: the server's `defaults` where the file sets none.
    pub fn limits(
        &self,
        model_directory: &Path,
        defaults: &Limits,
    ) -> Result<Limits, ModelFileError> {
        self.limits
            .of_handler(&model_directory.join(FILE_NAME), defaults)
    }
}

/// Returns the maximum number of threads of a model, which is enough to keep any machine busy.
pub(crate) fn max_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    cores.saturating_mul(4).max(256)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::model_file_error::operator_setting;
    use crate::registry::web_route::WebRoute;
    use std::collections::BTreeSet;
    use wisp_sandbox::grants::Grant;
    use wisp_sandbox::web::AllowedHosts;
    use wisp_tensor::Dimension;

    #[test]
    fn no_more_threads_are_asked_for_than_a_machine_can_start() -> anyhow::Result<()> {
        let limit = max_threads();
        for key in ["threads", "instances"] {
            assert!(load(&format!("{key} = {limit}"))?.is_ok());
            let refusal = load(&format!("{key} = 100000"))?.expect_err("it is too many");
            let text = refusal.to_string();
            let expected = format!("{key} is 100000, the limit on this machine is {limit}");
            anyhow::ensure!(text.ends_with(&expected), "{text}");
        }
        Ok(())
    }

    #[test]
    fn a_settings_file_that_is_no_small_file_is_not_read() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join(FILE_NAME);
        let refused = |kind| match ModelFile::load(directory.path()) {
            Err(ModelFileError::Read { source, .. }) => {
                assert_eq!(source.kind(), kind);
                std::fs::remove_file(&path)
            }
            other => panic!("{other:?}"),
        };
        std::os::unix::fs::symlink("nowhere", &path)?;
        refused(ErrorKind::NotFound)?;
        std::os::unix::fs::symlink("/dev/zero", &path)?;
        refused(ErrorKind::InvalidInput)?;
        std::fs::File::create(&path)?.set_len(2 << 30)?;
        refused(ErrorKind::FileTooLarge)?;
        anyhow::ensure!(
            std::process::Command::new("mkfifo")
                .arg(&path)
                .status()?
                .success()
        );
        refused(ErrorKind::InvalidInput)?;
        assert_eq!(ModelFile::load(directory.path())?, ModelFile::default());
        Ok(())
    }

    fn load(text: &str) -> anyhow::Result<Result<ModelFile, ModelFileError>> {
        let directory = tempfile::tempdir()?;
        std::fs::write(directory.path().join(FILE_NAME), text)?;
        Ok(ModelFile::load(directory.path()))
    }

    #[test]
    fn a_damaged_file_is_read_or_refused() -> anyhow::Result<()> {
        let text = "threads = 1\n[limits]\nmemory_bytes = 65536\nguest_time_milliseconds = 5\n\
                    [outputs.y]\nlabels = 'a.txt'\n";
        assert!(load(text)?.is_ok());
        let directory = tempfile::tempdir()?;
        for position in 0..text.len() {
            for change in [1, 0x20, 0x80, 0xff] {
                let mut damaged = text.as_bytes().to_vec();
                damaged[position] ^= change;
                std::fs::write(directory.path().join(FILE_NAME), damaged)?;
                if let Err(error) = ModelFile::load(directory.path()) {
                    assert!(!error.reason().is_empty(), "byte {position}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn a_model_without_a_file_has_the_defaults() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        assert_eq!(ModelFile::load(directory.path())?, ModelFile::default());
        Ok(())
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() -> anyhow::Result<()> {
        for text in ["max_batchsize = 1", "[limits]\nmemory = 1", "[handlers]"] {
            let Err(ModelFileError::Parse { source, .. }) = load(text)? else {
                anyhow::bail!("`{text}` was accepted");
            };
            assert!(source.to_string().contains("unknown field"), "{source}");
        }
        Ok(())
    }

    #[test]
    fn a_client_receives_the_position_of_an_error_and_no_path() -> anyhow::Result<()> {
        for (text, expected) in [
            (
                "threads = 1\nmax_batchsize = 1",
                "line 2, column 1: unknown field `max_batchsize`, expected one of ",
            ),
            ("threads = 0", "line 1, column "),
            ("threads 1", "line 1, column "),
            (
                "instances = 100000",
                "instances is 100000, the limit on this machine is ",
            ),
        ] {
            let reason = load(text)?.expect_err(text).reason();
            assert!(reason.starts_with(expected), "{reason}");
            assert!(!reason.contains(['/', '\n']), "{reason}");
        }
        Ok(())
    }

    #[test]
    fn the_files_of_the_model_are_those_that_it_names() -> anyhow::Result<()> {
        let file = load("[outputs.x]\nlabels = 'texts/labels.txt'\n[outputs.y]")??;
        let files: Vec<&Path> = file.files().collect();
        assert_eq!(files, [Path::new("texts/labels.txt")]);
        Ok(())
    }

    #[test]
    fn versions_are_chosen_in_four_ways() -> anyhow::Result<()> {
        let two = NonZeroUsize::new(2).expect("two is not zero");
        for (text, policy) in [
            ("", VersionPolicy::default()),
            (
                "versions = 'latest'",
                VersionPolicy::Named(NamedPolicy::Latest),
            ),
            ("versions = 'all'", VersionPolicy::Named(NamedPolicy::All)),
            (
                "versions = { latest = 2 }",
                VersionPolicy::Newest { latest: two },
            ),
            ("versions = [1, 3]", VersionPolicy::Specific(vec![1, 3])),
        ] {
            assert_eq!(load(text)??.versions, policy, "{text}");
        }
        for text in [
            "versions = 'newest'",
            "versions = { latest = 0 }",
            "versions = 3",
        ] {
            let Err(ModelFileError::Parse { source, .. }) = load(text)? else {
                anyhow::bail!("`{text}` was accepted");
            };
            assert!(
                source.to_string().contains("an array of versions"),
                "{source}"
            );
        }
        Ok(())
    }

    #[test]
    fn a_model_chooses_its_engine_device_and_threads() -> anyhow::Result<()> {
        let file = load("backend = 'onnxruntime'\ndevice = 'cuda:1'\nthreads = 2\ninstances = 3")??;
        assert_eq!(
            file.backend,
            Some(BackendChoice::Named("onnxruntime".to_owned()))
        );
        assert_eq!(file.device, Some(Device::Cuda(1)));
        assert_eq!(file.threads, NonZeroUsize::new(2));
        assert_eq!(file.instances, NonZeroUsize::new(3));
        assert_eq!(
            load("backend = 'auto'")??.backend,
            Some(BackendChoice::Auto)
        );
        for (text, complaint) in [
            ("device = 'tpu'", "`tpu` is not a device"),
            ("threads = 0", "nonzero"),
            ("instances = -1", "nonzero"),
        ] {
            let Err(ModelFileError::Parse { source, .. }) = load(text)? else {
                anyhow::bail!("`{text}` was accepted");
            };
            assert!(source.to_string().contains(complaint), "{source}");
        }
        Ok(())
    }

    #[test]
    fn a_model_has_texts_for_its_clients() -> anyhow::Result<()> {
        let file = load("[parameters]\nmetadata = '{}'\n\"a b\" = \"\"")??;
        let expected = [("metadata", "{}"), ("a b", "")];
        let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(file.parameters, BTreeMap::from(expected));
        let Err(ModelFileError::Parse { source, .. }) = load("[parameters]\nstride = 32")? else {
            anyhow::bail!("a number was accepted");
        };
        assert!(source.to_string().contains("expected a string"), "{source}");
        Ok(())
    }

    #[test]
    fn a_model_fixes_the_shapes_of_inputs() -> anyhow::Result<()> {
        let file = load("[inputs.x]\nshape = [1, 3, -1, 640]\n[inputs.y]")??;
        let shapes: Vec<(String, Vec<Dimension>)> =
            file.load_options().shapes.into_iter().collect();
        let x = [1, 3, -1, 640].into_iter().filter_map(Dimension::from_wire);
        assert_eq!(shapes, [("x".to_owned(), x.collect())]);
        for (text, complaint) in [
            ("[inputs.x]\nshape = [1, -2]", "-2 is not a size"),
            (
                "[inputs.x]\nshape = [4294967296]",
                "4294967296 is not a size",
            ),
            ("[inputs.x]\nshape = 3", "expected a sequence"),
            ("[inputs.x]\nshapes = [3]", "unknown field"),
            (
                "[inputs.x]\nformat = 'nchw'",
                "expected one of `NCHW`, `NHWC`, `none`",
            ),
        ] {
            let Err(ModelFileError::Parse { source, .. }) = load(text)? else {
                anyhow::bail!("`{text}` was accepted");
            };
            assert!(source.to_string().contains(complaint), "{source}");
        }
        Ok(())
    }

    #[test]
    fn responses_are_cached_if_the_file_says_so() -> anyhow::Result<()> {
        assert!(!load("")??.cache.enabled);
        let file = load("[cache]\nenabled = true\nttl_seconds = 5")??;
        assert!(file.cache.enabled);
        assert_eq!(file.cache.ttl_seconds.get(), 5);
        assert!(load("[cache]\nttl_seconds = 0")?.is_err());
        Ok(())
    }

    #[test]
    fn a_model_grants_capabilities_by_name() -> anyhow::Result<()> {
        let file = load("[handler]\ngrants = ['clock', 'random']")??;
        assert_eq!(file.handler.grants, BTreeSet::from(Grant::ALL));
        assert!(load("[handler]")??.handler.grants.is_empty());
        let refusal = load("[handler]\ngrants = ['files']")?.expect_err("it is no grant");
        let reason = refusal.reason();
        let expected = "`files` is not a grant; expected one of `random`, `clock`";
        assert!(reason.ends_with(expected), "{reason}");
        Ok(())
    }

    #[test]
    fn a_web_component_has_a_route_and_hosts() -> anyhow::Result<()> {
        let file = load("[http]\nroute = '/hello'\nallowed_hosts = ['a.example']")??;
        assert_eq!(file.http.route, Some(WebRoute::new("/hello")?));
        assert_ne!(file.http.allowed_hosts, AllowedHosts::default());
        for (text, reason) in [
            ("route = '/v2/x'", "collides with `/v2`"),
            ("route = 'hello'", "`hello` is not a route"),
            ("allowed_hosts = ['http://a']", "`http://a` is not a host"),
        ] {
            let refusal = load(&format!("[http]\n{text}"))?.expect_err(text);
            assert!(refusal.reason().contains(reason), "{}", refusal.reason());
        }
        Ok(())
    }

    #[test]
    fn a_model_can_lower_each_limit_and_raise_none() -> anyhow::Result<()> {
        let path = Path::new("m");
        let defaults = Limits::default();
        for key in [
            "memory_bytes",
            "table_elements",
            "tensor_bytes",
            "transfer_bytes",
            "handles",
            "guest_time_milliseconds",
            "log_bytes",
        ] {
            let lower = load(&format!("[limits]\n{key} = 17"))??;
            assert_ne!(lower.limits(path, &defaults)?, defaults, "{key}");
            let higher = load(&format!("[limits]\n{key} = 1000000000"))??;
            match higher.limits(path, &defaults) {
                Err(error @ ModelFileError::AboveLimit { .. }) => {
                    let text = error.to_string();
                    let expected = format!("`m/model.toml`: limits.{key} is 1000000000, ");
                    assert!(text.starts_with(&expected), "{text}");
                    assert!(text.ends_with(operator_setting(key)), "{text}");
                }
                other => anyhow::bail!("{key}: {other:?}"),
            }
        }
        assert_eq!(ModelFile::default().limits(path, &defaults)?, defaults);
        Ok(())
    }

    #[test]
    fn a_model_can_use_what_the_operator_has_raised() -> anyhow::Result<()> {
        let path = Path::new("m");
        let raised = Limits {
            memory_bytes: 512 << 20,
            ..Limits::default()
        };
        let file = load("[limits]\nmemory_bytes = 402653184")??;
        assert_eq!(file.limits(path, &raised)?.memory_bytes, 384 << 20);
        let refusal = file.limits(path, &Limits::default());
        let refusal = refusal.expect_err("it is above the default");
        let reason = "limits.memory_bytes is 402653184, the server's limit is 134217728; the operator can \
                      raise it with --max-handler-memory-bytes";
        assert_eq!(refusal.to_string(), format!("`m/model.toml`: {reason}"));
        assert_eq!(refusal.reason(), reason, "for clients");
        Ok(())
    }
}
