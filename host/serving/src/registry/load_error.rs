//! The reasons that a model cannot be served, with one message for its operator and one for clients.
//!
//! An error concerns a single model, unless it is about the directory of the repository. Messages
//! for clients contain no path.

use crate::registry::backend_selection::BackendSelectionError;
use crate::registry::baseline_file::BaselineError;
use crate::registry::batch_axis::NoBatchAxis;
use crate::registry::class_labels::ClassLabelsError;
use crate::registry::config_override::ConfigOverrideError;
use crate::registry::handler_configuration::HandlerFilesError;
use crate::registry::input_format::InputFormatError;
use crate::registry::model_file::ModelFileError;
use crate::registry::quality_settings::QualitySettingsError;
use crate::registry::signature_error::VersionSignatureError;
use crate::registry::triton_config::TRITON_CONFIG_FILE;
use crate::registry::web_route::WebRoute;
use crate::signature_check::SignatureMismatch;
use crate::tenants::tenant_grant::TenantGrant;
use std::path::PathBuf;
use wisp_backend::BackendError;
use wisp_protocol::call::{ModelName, ModelNameError, Version};
use wisp_sandbox::component::ComponentError;
use wisp_sandbox::handler::{HandlerLoadError, InitializationError};
use wisp_sandbox::limited_process::ChildError;
use wisp_sandbox::web::WebLoadError;
use wisp_tensor::sanitize::shorten;

/// The maximum length of the reason of a backend or handler for clients.
const MAX_REASON_CHARS: usize = 400;

/// The reason that a model cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("failed to read `{}`", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("`{name}` is not a valid model name")]
    Name {
        name: String,
        source: ModelNameError,
    },
    #[error(
        "there is no version: no directory with a decimal name{}",
        hint(export)
    )]
    NoVersion {
        /// The command that creates the graph of version 1, if the model file names one.
        export: Option<String>,
    },
    #[error("there is no version {number}, which model.toml or `config` selects")]
    NoSuchVersion { number: u64 },
    #[error("there is no version to load: the list of versions in model.toml or `config` is empty")]
    NoSelectedVersion,
    #[error(
        "version {version} has two directories, `{}` and `{}`: remove or rename one of them",
        directories[0], directories[1]
    )]
    SameVersion {
        version: Version,
        directories: [String; 2],
    },
    #[error("version {version} has no model file `{file}`, which `default_model_filename` names")]
    NoMainFile { version: Version, file: String },
    #[error(transparent)]
    Signature(VersionSignatureError),
    #[error(transparent)]
    Config(ConfigOverrideError),
    #[error("{}", of_file(.0))]
    TritonConfig(ConfigOverrideError),
    #[error(
        "label `{label}` is for version {number}, which is not loaded: change `labels` or `versions` in model.toml"
    )]
    Label { label: String, number: u64 },
    #[error(
        "`{label}` in `labels` of model.toml is not a valid label: a label is 1 to 128 letters, digits, `_`, `.` \
         or `-`, and starts with a letter, a digit or `_`"
    )]
    LabelName { label: String },
    #[error("version {version} has no model.onnx; create it with `{export}`, then try again")]
    NotExported { version: Version, export: String },
    #[error("version {version} contains neither a .onnx file nor a handler.wasm")]
    Empty { version: Version },
    #[error("the format of `{file}` is not supported; {conversion}")]
    ForeignFormat { file: String, conversion: String },
    #[error("graph `{graph}` has two files: `{}` and `{}`", files[0], files[1])]
    TwoFiles { graph: String, files: [String; 2] },
    #[error("version {version} has no model.onnx, which a model without a handler needs")]
    NoMainGraph { version: Version },
    #[error("handler.wasm is not built; run `wisp build` on the model, or serve with --build")]
    HandlerNotBuilt,
    #[error(transparent)]
    ModelFile(ModelFileError),
    #[error(transparent)]
    ClassLabels(ClassLabelsError),
    #[error(transparent)]
    InputFormat(InputFormatError),
    #[error(transparent)]
    NoBatchAxis(NoBatchAxis),
    #[error(transparent)]
    QualitySettings(QualitySettingsError),
    #[error(transparent)]
    Baseline(BaselineError),
    #[error("graph `{graph}` cannot be loaded")]
    Graph { graph: String, source: BackendError },
    #[error("{backend} cannot load graph `{graph}` within the limits of a load: {reason}")]
    Probe {
        graph: String,
        backend: &'static str,
        reason: ChildError,
    },
    #[error("graph `{graph}` cannot be loaded: {reason}")]
    BackendSelection {
        graph: String,
        reason: BackendSelectionError,
    },
    #[error("handler.wasm cannot be read")]
    HandlerFile(#[source] std::io::Error),
    #[error("the handler is rejected")]
    Component(#[source] ComponentError),
    #[error(transparent)]
    HandlerFiles(HandlerFilesError),
    #[error("the handler's initialization failed")]
    Initialization(#[source] InitializationError),
    #[error("the handler cannot be used")]
    Handler(#[source] HandlerLoadError),
    #[error("the web component is rejected")]
    WebComponent(#[source] ComponentError),
    #[error("the web component cannot be used")]
    WebLink(#[source] WebLoadError),
    #[error(
        "the handler has the grant `{grant}`, so its responses may differ: remove it, or the cache, from model.toml"
    )]
    CachedGrant { grant: &'static str },
    #[error(
        "model.toml asks for the grant `{grant}`, which the tenant does not have: remove it, or ask the operator of the server"
    )]
    NotGranted { grant: TenantGrant },
    #[error("web components are not cached: remove `enabled` under [cache] from model.toml")]
    CachedWebComponent,
    #[error("`{file}` of a model with a cache cannot be read")]
    CachedFile {
        file: String,
        source: std::io::Error,
    },
    #[error(
        "the version has too many files or folders to be cached: remove those that it does not need"
    )]
    TooManyCachedFiles,
    #[error("model.toml has a table [http], and the model is not a web component")]
    NoWebComponent,
    #[error(
        "model `{other}` has the route `{route}` already: set another `route` under [http] in model.toml"
    )]
    RouteTaken { route: WebRoute, other: ModelName },
    #[error(
        "the handler and the graphs have different signatures: {}",
        mismatches.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    )]
    SignatureMismatch { mismatches: Vec<SignatureMismatch> },
}

/// Returns the error of a client's configuration as one of the file in the directory of the model.
fn of_file(error: &ConfigOverrideError) -> String {
    let file = format!("`{TRITON_CONFIG_FILE}`");
    error.to_string().replacen("`config`", &file, 1)
}

fn hint(export: &Option<String>) -> String {
    match export {
        Some(command) => format!("; create model.onnx with `{command}`, then try again"),
        None => String::new(),
    }
}

impl LoadError {
    /// Returns whether all that is missing is a graph for which the model file has a command.
    pub fn waits_for_export(&self) -> bool {
        matches!(
            self,
            LoadError::NotExported { .. } | LoadError::NoVersion { export: Some(_) }
        )
    }

    /// Returns the backend or device that the model needs and this machine or build does not have, with the
    /// way to install it, if that is the reason.
    pub fn unavailable(&self) -> Option<String> {
        match self {
            LoadError::Graph { source, .. } if source.is_unavailable() => Some(source.to_string()),
            LoadError::BackendSelection { reason, .. } if reason.is_unavailable() => {
                Some(reason.to_string())
            }
            _ => None,
        }
    }

    /// Returns the reason for clients, as shown in the index, without any path.
    pub fn client_reason(&self) -> String {
        match self {
            LoadError::Read { source, .. } => format!("its files cannot be read: {source}"),
            LoadError::ModelFile(error) => {
                format!("its {} is not valid: {}", error.file_name(), error.reason())
            }
            LoadError::Component(source) | LoadError::WebComponent(source) => {
                format!("{self}: {source}")
            }
            LoadError::WebLink(source) => format!("{self}: {source}"),
            // The author of the handler wrote the text for those who load the model.
            LoadError::Initialization(source @ InitializationError::Declared(_)) => {
                format!("{self}: {source}")
            }
            LoadError::Graph { source, .. } => format!("{self}: {}", graph_reason(source)),
            // The cause of an unreadable signature may be a backtrace, which is for the log.
            LoadError::Handler(source) => {
                format!("{self}: {}", shorten(&source.to_string(), MAX_REASON_CHARS))
            }
            // The message of the source contains no path.
            LoadError::HandlerFile(source) | LoadError::CachedFile { source, .. } => {
                format!("{self}: {source}")
            }
            LoadError::BackendSelection { .. }
            | LoadError::Probe { .. }
            | LoadError::Name { .. }
            | LoadError::NoVersion { .. }
            | LoadError::NoSuchVersion { .. }
            | LoadError::NoSelectedVersion
            | LoadError::SameVersion { .. }
            | LoadError::NoMainFile { .. }
            | LoadError::Signature(_)
            | LoadError::Config(_)
            | LoadError::TritonConfig(_)
            | LoadError::Label { .. }
            | LoadError::LabelName { .. }
            | LoadError::NotExported { .. }
            | LoadError::Empty { .. }
            | LoadError::ForeignFormat { .. }
            | LoadError::TwoFiles { .. }
            | LoadError::NoMainGraph { .. }
            | LoadError::HandlerNotBuilt
            | LoadError::ClassLabels(_)
            | LoadError::HandlerFiles(_)
            | LoadError::Initialization(_)
            | LoadError::InputFormat(_)
            | LoadError::NoBatchAxis(_)
            | LoadError::QualitySettings(_)
            | LoadError::Baseline(_)
            | LoadError::NoWebComponent
            | LoadError::CachedGrant { .. }
            | LoadError::NotGranted { .. }
            | LoadError::CachedWebComponent
            | LoadError::TooManyCachedFiles
            | LoadError::RouteTaken { .. }
            | LoadError::SignatureMismatch { .. } => self.to_string(),
        }
    }
}

/// Returns the reason that a backend does not load a graph, in the words of the automatic choice.
fn graph_reason(error: &BackendError) -> String {
    let reason = match error {
        BackendError::Read(error) => format!("the file cannot be read: {error}"),
        BackendError::Load { backend, reason } => format!("{backend} refuses: {reason}"),
        other => other.to_string(),
    };
    shorten(&reason, MAX_REASON_CHARS)
}
