//! The command-line interface: every subcommand, its arguments and their help texts.
//!
//! These types contain the operator's input and no derived values; each subcommand derives what it
//! needs. `value` parses values with a syntax of their own, `setting` adds what all settings have in common, and `backend`
//! contains the subcommands of `wisp backend`.

mod artifact_reference;
mod backend;
mod baseline;
mod bundle;
mod cage;
mod child;
mod config;
mod handler_limits;
mod health;
mod metering;
mod model_control;
mod pull;
mod push;
mod registry_access;
mod release;
mod release_setting;
mod response_cache;
mod serve;
mod setting;
mod telemetry;
mod tenancy;
mod tenant;
mod tls;
mod upload;
mod value;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;
use wisp_backend::Device;
use wisp_tensor::Parameter;

pub(crate) use artifact_reference::ArtifactReference;
pub(crate) use backend::{
    BackendCommand, BackendCommandArgs, BackendInstallArgs, BackendListArgs, BackendUninstallArgs,
    IndexUrl,
};
pub(crate) use baseline::BaselineArgs;
pub(crate) use bundle::{BackendChoice, BundleArgs, TargetChoice};
pub(crate) use cage::CageArgs;
pub(crate) use child::{
    AttemptArgs, CHILD, ChildArgs, ChildTask, ConfinedChoice, LoadArgs, SpawnArgs, SpawnWorkersArgs,
};
pub(crate) use config::{ConfigCommand, ConfigCommandArgs};
pub(crate) use handler_limits::HandlerLimitArgs;
pub(crate) use health::HealthArgs;
pub(crate) use metering::MeteringArgs;
pub(crate) use model_control::{ModelControlArgs, ModelControlMode};
pub(crate) use pull::PullArgs;
pub(crate) use push::PushArgs;
pub(crate) use registry_access::RegistryAccessArgs;
pub(crate) use release::{
    LatencyChoice, ReleaseCommand, ReleaseCommandArgs, ReleaseModelArgs, ReleaseServerArgs,
    ReleaseStartArgs,
};
pub(crate) use release_setting::ReleaseSettingArgs;
pub(crate) use response_cache::ResponseCacheArgs;
pub(crate) use serve::{CONFIG_VARIABLE, DEFAULT_GRPC, DEFAULT_METRICS, LogFormat, ServeArgs};
pub(crate) use telemetry::{CollectorUrl, PayloadDestination, TelemetryArgs};
pub(crate) use tenancy::TenancyArgs;
pub(crate) use tenant::{
    NewKeyArgs, SigningKeyCommand, SubjectCommand, TenantAddArgs, TenantCommand, TenantCommandArgs,
    TenantDirectoryArgs, TenantListArgs, TenantRemoveArgs, TenantRequireSignatureArgs,
    TenantRevokeArgs, TenantRotateArgs, TenantSetArgs, TenantSigningKeyAddArgs,
    TenantSigningKeyRemoveArgs, TenantSubjectAddArgs, TenantSubjectRemoveArgs,
};
pub(crate) use tls::TlsArgs;
pub(crate) use upload::UploadArgs;
pub(crate) use value::{
    AdditionalAddress, GrantList, InputShape, InputSource, Milliseconds, NamedInput, NamedShape,
    Seconds,
};

/// Serve machine-learning models over HTTP and gRPC, with preprocessing and postprocessing in WebAssembly sandboxes.
#[derive(Debug, Parser)]
#[command(
    name = "wisp",
    version,
    arg_required_else_help = true,
    mut_subcommands = setting::complete,
    after_help = "\
A model is a directory:

  digits/model.toml            optional: limits, and the path of the handler's source
  digits/1/model.onnx          version 1; the highest version is served
  digits/1/handler.wasm        optional: pre- and postprocessing, created by `wisp build`
  digits/cases/*.json          optional: requests with their expected responses, for `wisp check`

and a directory of models is a repository. Start with one of these:

  wisp new flowers --template tabular      a project that builds, tests and serves at once
  wisp serve --build examples              serve a repository, building its handlers first
  wisp serve model.onnx                    serve one model as it is, without a handler"
)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(Box<ServeArgs>),
    New(NewArgs),
    Build(BuildArgs),
    Check(CheckArgs),
    Bundle(Box<BundleArgs>),
    Infer(InferArgs),
    Inspect(InspectArgs),
    Bench(BenchArgs),
    Baseline(BaselineArgs),
    Push(PushArgs),
    Pull(PullArgs),
    Backend(BackendCommandArgs),
    Health(HealthArgs),
    Release(ReleaseCommandArgs),
    Tenant(TenantCommandArgs),
    Config(ConfigCommandArgs),
    #[command(name = CHILD, hide = true)]
    Child(ChildArgs),
}

/// The cache directory, for every command that stores files that can be created or downloaded again.
#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    /// The directory for compiled handlers and installed backends [default: wisp in the user's cache
    /// directory].
    ///
    /// Only the current user may have write access. It can be deleted at any time.
    #[arg(long, value_name = "DIR", env = "WISP_CACHE_DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
}

/// The choice of backend, for every command that loads graphs.
#[derive(Debug, Args)]
pub(crate) struct BackendArgs {
    /// Backend for models whose model.toml does not name one: `tract`, `rten`, `onnxruntime`, or `auto`
    /// for the fastest of the available ones that agree, measured when a version is first loaded.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "auto",
        env = "WISP_BACKEND"
    )]
    pub(crate) backend: String,

    /// ONNX Runtime's shared library [default: the value of ORT_DYLIB_PATH, or the library that `wisp
    /// backend install onnxruntime` has installed].
    #[arg(long, value_name = "FILE", env = "WISP_ONNXRUNTIME_LIBRARY")]
    pub(crate) onnxruntime_library: Option<PathBuf>,
}

impl BackendArgs {
    /// Returns the configured path of ONNX Runtime's shared library. `ORT_DYLIB_PATH` is the variable
    /// that other programs with ONNX Runtime use.
    pub(crate) fn onnxruntime_library(&self) -> Option<PathBuf> {
        let shared = || std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty());
        let configured = self.onnxruntime_library.clone();
        configured.or_else(|| shared().map(PathBuf::from))
    }
}

impl Default for BackendArgs {
    /// Returns options that work on every machine.
    fn default() -> BackendArgs {
        BackendArgs {
            backend: "auto".to_owned(),
            onnxruntime_library: None,
        }
    }
}

/// Run one request from the command line, without a server.
///
/// Loads the model, runs its handler in the same sandbox as `serve`, prints the outputs and exits.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp infer models/digits --input image=@seven.png
  wisp infer models/digits --input image=@seven.png --parameter top_k=1 --output label
  wisp infer models/wine --input 'features=[[13.5,1.8,2.6,20,96,2.5,2.6,0.3,1.7,3.5,1.1,3.8,845]]'
  wisp infer models/embed --input 'text=[\"The cat sat.\"]' --json | jq '.outputs[0].data'

  wisp infer resnet50.onnx --input data=@image.bin --shape data=1x3x224x224

`wisp inspect MODEL` shows the inputs of graphs and handlers. The lines that a handler logs are
written to standard error.")]
pub(crate) struct InferArgs {
    /// A model's directory, or a model file. For a directory, the highest version is used.
    pub(crate) model: PathBuf,

    /// An input: NAME=JSON for nested arrays (the shape follows from the nesting) or a single value,
    /// NAME=@FILE for the bytes of a file. Required once for each input.
    #[arg(long, short, value_name = "NAME=VALUE", required = true, value_parser = value::named_input)]
    pub(crate) input: Vec<NamedInput>,

    /// The shape of an input. May be repeated [default: from the nesting of the JSON or the length of the file].
    #[arg(long, value_name = "NAME=SIZES", value_parser = value::named_shape)]
    pub(crate) shape: Vec<NamedShape>,

    /// A request parameter: true, false, a number, or a string. May be repeated.
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = value::parameter)]
    pub(crate) parameter: Vec<Parameter>,

    /// An output to print. May be repeated [default: all outputs].
    #[arg(long, short, value_name = "NAME")]
    pub(crate) output: Vec<String>,

    /// Print the response as the JSON that the server would send.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) cache: CacheArgs,

    #[command(flatten)]
    pub(crate) backend: BackendArgs,

    #[command(flatten)]
    pub(crate) handler_limits: HandlerLimitArgs,
}

/// Create a project: a handler, a small model, golden cases and tests.
///
/// The project builds, tests and serves without changes. It contains its own copy of the handler SDK and
/// of the WIT contract, so only public crates are downloaded. Its model is a placeholder with fixed
/// weights: replace it with your own, then adapt the handler to it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp new flowers --template tabular
  wisp new cats --template image --path ~/src/cats")]
pub(crate) struct NewArgs {
    /// The name of the crate and of the model: lower-case letters, digits, `-` and `_`.
    pub(crate) name: String,

    /// The kind of the model's inputs.
    #[arg(long, short, value_enum)]
    pub(crate) template: Template,

    /// The directory to create [default: NAME].
    #[arg(long, value_name = "DIR")]
    pub(crate) path: Option<PathBuf>,
}

/// The template of a new project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Template {
    /// PNG, JPEG or WebP images; decoded, resized and normalized; labels and scores as outputs.
    Image,
    /// Named numeric features; validated and scaled; a class and probabilities as outputs.
    Tabular,
    /// Text; split into words that are hashed and counted; a label and scores as outputs.
    Text,
}

/// Compile handlers to WebAssembly components.
///
/// PATH is a repository (all its models whose model.toml has `[handler] source`), one model's directory,
/// a handler's crate, or a directory with the modules of edge bundles. Needs cargo; installs Rust's target
/// wasm32-unknown-unknown through rustup if it is missing. A model's component is written to its highest
/// version's directory as handler.wasm, after checking that it imports only granted interfaces.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp build                   the crate in the current directory
  wisp build models            every model of a repository
  wisp build models/digits     one model
  wisp build guest-models/edge the modules that `wisp bundle` takes, in Wisp's own sources

In a handler's Cargo.toml, all optional:

  [package.metadata.wisp]
  stack-size = 65536           bytes of stack; a small one makes each request cheaper
  models = \"models\"            repository whose models get the component of this crate")]
pub(crate) struct BuildArgs {
    /// A repository, a model's directory, a handler's crate, or a directory with modules of edge bundles.
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
}

/// Check models before they receive traffic.
///
/// Compares the handler's imports with the granted set, its signature with the real graphs, and the
/// responses to the requests in cases/*.json with the expected ones.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp check models/digits
  wisp check models            every model of a repository, and a summary
  wisp check resnet50.onnx     whether a model file can be served

A case is a V2 request and its expected response:

  { \"request\": { \"inputs\": [{ \"name\": \"x\", \"datatype\": \"FP32\", \"shape\": [1, 2], \"data\": [1, 2] }] },
    \"expect\": { \"outputs\": [{ \"name\": \"y\", \"datatype\": \"FP32\", \"shape\": [1], \"data\": [3] }],
                \"tolerance\": 0.0001 } }

The lines that a handler logs are written to standard error. The exit code is 0 if all checks of all
models pass, and 1 otherwise. An optional model that cannot be loaded fails.")]
pub(crate) struct CheckArgs {
    /// The repositories or directories of models to check, or model files.
    #[arg(value_name = "MODEL", required = true)]
    pub(crate) models: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) cache: CacheArgs,

    #[command(flatten)]
    pub(crate) backend: BackendArgs,

    #[command(flatten)]
    pub(crate) handler_limits: HandlerLimitArgs,
}

/// Show the contents of a component or a model file.
///
/// For a handler.wasm: its inputs, outputs and graphs, imports (and whether they are granted), exports,
/// core modules, sizes, memory, stack, and the tools that produced it. For an .onnx file: inputs,
/// outputs, operators, opsets and parameters. For a version: the baseline of its data. Runs no code, except
/// that a handler is called for its signature, in the same sandbox as in `serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp inspect models/digits/1/handler.wasm
  wisp inspect models/digits                 every file of the highest version
  wisp inspect --json model.onnx | jq '.[0].operators'")]
pub(crate) struct InspectArgs {
    /// Components, core modules, .onnx files, or directories of models.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// Print an array with one object for each file.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) cache: CacheArgs,
}

/// Compare the backends on a model.
///
/// Loads the graphs of the model with every available backend, computes the same generated inputs in
/// turns, and prints the cost of loading, the speed of each backend for several batch sizes, and the
/// differences between their outputs, with a remark on each large one. The graphs alone are timed, without
/// handlers.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp bench models/digits
  wisp bench resnet50.onnx --batch 1 --batch 8 --threads 2
  wisp bench resnet50.onnx --device cuda:0 --batch 1 --batch 8 --batch 64
  wisp bench yolov8n.onnx --shape images=1x3x640x640
  wisp bench models/digits --json | jq '.[].batches'

With `auto`, a version gets the backend that is the fastest with a batch of 1. The exit code is 1 if
no backend could be measured with one of the graphs.")]
pub(crate) struct BenchArgs {
    /// A model's directory, or a model file.
    pub(crate) model: PathBuf,

    /// Rows per batch. May be repeated [default: 1, 8 and 32, or as in --shape].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub(crate) batch: Vec<u32>,

    /// The shape of an input, for axes with a variable size. May be repeated [default: sizes that the
    /// model accepts].
    ///
    /// With `--batch`, the size of the first axis is the number of rows.
    #[arg(long, value_name = "NAME=SIZES", value_parser = value::named_shape)]
    pub(crate) shape: Vec<NamedShape>,

    /// Threads that one computation may use [default: as set in model.toml, or 1].
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,

    /// Device that computes the graphs: `cpu`, or `cuda:0` for the first GPU [default: as set in
    /// model.toml, or `cpu`].
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<Device>,

    /// Seconds of measurement per batch size, for all backends together.
    #[arg(long, value_name = "N", default_value_t = Seconds(Duration::from_secs(3)))]
    pub(crate) seconds: Seconds,

    /// Print an array with one object for each graph.
    #[arg(long)]
    pub(crate) json: bool,

    /// Load with this backend alone and print the cost. The comparison runs this program with this
    /// option.
    #[arg(long, value_name = "NAME", hide = true)]
    pub(crate) load_only: Option<String>,

    /// The shape that model.toml sets for an input of the graph that is loaded alone. -1 leaves an axis as it
    /// is in the file.
    #[arg(long, value_name = "NAME=SIZES", hide = true, requires = "load_only", value_parser = value::input_shape)]
    pub(crate) fixed_shape: Vec<InputShape>,

    #[command(flatten)]
    pub(crate) cache: CacheArgs,

    #[command(flatten)]
    pub(crate) backend: BackendArgs,
}

#[cfg(test)]
mod tests;
