//! The arguments of `wisp bundle`.

use super::{BackendArgs, CacheArgs, HandlerLimitArgs, value};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use wisp_protocol::call::Version;

/// The default size limit of a bundled model in bytes. Hosts take seconds to start a larger one.
const MAX_MODEL_BYTES: usize = 256 << 20;

/// The default of the largest body of a request that the bundle reads, in bytes.
const MAX_BODY_BYTES: usize = 16 << 20;

/// Bundle a model with a backend for WebAssembly hosts.
///
/// Writes one component that exports wasi:http/incoming-handler. It contains the handler, its graphs, a backend
/// and the protocols, answers V2 REST and TF Serving REST, and runs on any host of wasi:http: `wasmtime serve`,
/// Spin, jco. The golden cases of the model are run in the bundle and on the native backend, and nothing is written
/// unless the answers agree.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp bundle models/digits                      writes digits.wasm
  wisp bundle models/wine --version 3 -o wine-3.wasm
  wisp bundle resnet18.onnx --max-model-bytes 500000000
  wisp bundle models/digits --target spin        writes an application for `spin up`
  wasmtime serve -Scli digits.wasm               serves the bundle

The backend is rten, or tract for graphs that rten cannot compute. The modules of the backends and
the protocols come with Wisp; `wisp build guest-models/edge` builds them from its sources. The exit
code is 0 if the bundle is written, 64 if the arguments are invalid, and 1 otherwise.")]
pub(crate) struct BundleArgs {
    /// A model's directory, or a model file. For a directory, the highest version is bundled.
    #[arg(value_name = "PATH")]
    pub(crate) model: PathBuf,

    /// The file to write, or the directory for a target other than `component` [default: named after the model,
    /// in the current directory].
    #[arg(long, short, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,

    /// The version to bundle [default: the highest].
    #[arg(long, value_name = "N", value_parser = version)]
    pub(crate) version: Option<Version>,

    /// The backend in the bundle.
    #[arg(long, alias = "engine", value_enum, default_value_t = BackendChoice::Auto)]
    pub(crate) bundled_backend: BackendChoice,

    /// The directory of the modules of edge bundles [default: `edge` beside this program, `../lib/wisp/edge`, or
    /// where `wisp build` writes them].
    #[arg(long, value_name = "DIR", env = "WISP_EDGE_MODULES")]
    pub(crate) modules: Option<PathBuf>,

    /// Build the handler first, and the modules unless --modules names others, if their sources have changed.
    #[arg(long)]
    pub(crate) build: bool,

    /// The largest model, in bytes: its graphs with their weights, and the files of its handler.
    #[arg(
        long,
        value_name = "N",
        default_value_t = MAX_MODEL_BYTES,
        value_parser = value::at_least_one
    )]
    pub(crate) max_model_bytes: usize,

    /// The largest body of a request that the bundle reads, in bytes.
    #[arg(
        long,
        value_name = "N",
        default_value_t = MAX_BODY_BYTES,
        value_parser = value::at_least_one
    )]
    pub(crate) max_body_bytes: usize,

    /// The form in which the bundle is written.
    #[arg(long, value_enum, default_value_t = TargetChoice::Component)]
    pub(crate) target: TargetChoice,

    /// Keep the instance between requests, for `--target cloudflare`: a new one copies the model, but memory that the
    /// handler changes then stays changed.
    #[arg(long)]
    pub(crate) keep_instance: bool,

    /// Write the model as a separate component, for `--target spin`: Spin composes it with the HTTP adapter, and
    /// components of other applications can use it in the same way.
    #[arg(long)]
    pub(crate) split: bool,

    #[command(flatten)]
    pub(crate) cache: CacheArgs,

    #[command(flatten)]
    pub(crate) backend: BackendArgs,

    #[command(flatten)]
    pub(crate) handler_limits: HandlerLimitArgs,
}

impl BundleArgs {
    /// Returns the arguments that another bundle of the model needs too, such as one that a host's tool makes.
    pub(crate) fn repeated(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        if let Some(version) = self.version {
            add("--version", version.to_string());
        }
        match self.bundled_backend {
            BackendChoice::Auto => {}
            BackendChoice::Rten => add("--bundled-backend", "rten".to_owned()),
            BackendChoice::Tract => add("--bundled-backend", "tract".to_owned()),
        }
        if self.max_model_bytes != MAX_MODEL_BYTES {
            add("--max-model-bytes", self.max_model_bytes.to_string());
        }
        if self.max_body_bytes != MAX_BODY_BYTES {
            add("--max-body-bytes", self.max_body_bytes.to_string());
        }
        arguments
    }
}

/// The choice of the backend in a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendChoice {
    /// rten, or tract if rten cannot compute a graph.
    Auto,
    /// rten, the smaller one.
    Rten,
    /// tract, which also computes the operators of scikit-learn's models.
    Tract,
}

/// The form of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TargetChoice {
    /// The component alone, for any host of wasi:http.
    Component,
    /// A directory with an application of Spin.
    Spin,
    /// A directory with a Worker of Cloudflare.
    Cloudflare,
}

fn version(text: &str) -> Result<Version, String> {
    let version = Version::from_decimal(text);
    version.ok_or_else(|| "expected the number of a version, such as 1".to_owned())
}
