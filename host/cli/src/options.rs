//! The command-line interface: every subcommand, its arguments and their help texts.
//!
//! These types contain the operator's input and no derived values; each subcommand derives what it
//! needs. A module with the name of a subcommand contains its arguments. The others are for several subcommands, or are
//! groups of the settings of `wisp serve`: `value` parses values with a syntax of their own, and `setting` adds what all
//! settings have in common.

mod artifact_reference;
mod backend;
mod backend_selection;
mod baseline;
mod bench;
mod build;
mod bundle;
mod cache;
mod cage;
mod check;
mod child;
mod config;
mod handler_limits;
mod health;
mod infer;
mod inspect;
mod metering;
mod model_control;
mod new;
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

use clap::{Parser, Subcommand};

pub(crate) use artifact_reference::ArtifactReference;
pub(crate) use backend::{
    BackendCommand, BackendCommandArgs, BackendInstallArgs, BackendListArgs, BackendUninstallArgs,
    IndexUrl,
};
pub(crate) use backend_selection::BackendArgs;
pub(crate) use baseline::BaselineArgs;
pub(crate) use bench::BenchArgs;
pub(crate) use build::BuildArgs;
pub(crate) use bundle::{BackendChoice, BundleArgs, TargetChoice};
pub(crate) use cache::CacheArgs;
pub(crate) use cage::CageArgs;
pub(crate) use check::CheckArgs;
pub(crate) use child::{
    AttemptArgs, CHILD, ChildArgs, ChildTask, ConfinedChoice, LoadArgs, SpawnArgs, SpawnWorkersArgs,
};
pub(crate) use config::{ConfigCommand, ConfigCommandArgs};
pub(crate) use handler_limits::HandlerLimitArgs;
pub(crate) use health::HealthArgs;
pub(crate) use infer::InferArgs;
pub(crate) use inspect::InspectArgs;
pub(crate) use metering::MeteringArgs;
pub(crate) use model_control::{ModelControlArgs, ModelControlMode};
pub(crate) use new::{NewArgs, Template};
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

#[cfg(test)]
mod tests;
