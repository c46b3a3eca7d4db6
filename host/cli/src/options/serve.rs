//! The arguments of `wisp serve`. Each setting is defined here once: its flag, its environment variable,
//! its default and its description. `configuration` derives the keys of the configuration file, the
//! schema and the reference from these definitions.

use super::{
    AdditionalAddress, BackendArgs, CacheArgs, CageArgs, HandlerLimitArgs, MeteringArgs,
    Milliseconds, ModelControlArgs, ReleaseSettingArgs, ResponseCacheArgs, Seconds, TelemetryArgs,
    TenancyArgs, TlsArgs, UploadArgs, value,
};
use clap::Args;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;
use wisp_server::ServerOptions;
use wisp_server::authority::AllowedHost;
use wisp_server::cors::AllowedOrigin;
use wisp_serving::ServingOptions;

/// Far more than any usable model needs, and less than an operator waits for a model that never loads.
const DEFAULT_LOAD_TIME: Duration = Duration::from_secs(120);

/// The additional address for gRPC, unless another one is given or sockets are passed to the server.
pub(crate) const DEFAULT_GRPC: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8001);

/// The address for metrics, unless another one is given or sockets are passed to the server.
pub(crate) const DEFAULT_METRICS: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8002);

/// The environment variable that names the configuration file.
pub(crate) const CONFIG_VARIABLE: &str = "WISP_CONFIG";

/// Serve models over HTTP and gRPC until SIGTERM or Ctrl-C.
///
/// Implements the Open Inference Protocol (V2) and TensorFlow Serving's API over HTTP and gRPC, KServe's V1
/// protocol and a simple JSON API, so unmodified clients of these servers work. Each request runs in a new
/// sandbox. A model that cannot be loaded at the start ends the server, unless it is optional. On SIGTERM,
/// the server finishes the requests in flight.
///
/// Each setting can be given as an argument, as an environment variable, or in the configuration file.
/// An argument takes precedence over the variable, and the variable over the file.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp serve models
  wisp serve --build examples
  wisp serve --build --watch models
  wisp serve --http 0.0.0.0:80 models/digits
  wisp serve resnet50.onnx
  wisp serve --config wisp.toml
  wisp serve --config wisp.toml --check-config
  wisp serve --tls-cert server.pem --tls-key server.key --http 0.0.0.0:443 models
  wisp serve --cors-origin https://app.example.com --cors-origin http://localhost:3000 models

Then, from another terminal:

  curl http://127.0.0.1:8000/v2/health/ready
  curl -X POST http://127.0.0.1:8000/v2/repository/index
  curl http://127.0.0.1:8000/v2/models/digits
  curl --cacert ca.pem https://localhost:8000/v2/health/ready       with --tls-cert")]
pub(crate) struct ServeArgs {
    /// A repository (directory of models), one model's directory, or a model file.
    #[arg(value_name = "PATH", env = "WISP_REPOSITORY")]
    pub(crate) repository: PathBuf,

    /// Read settings from this TOML file. Without it, no file is read. `wisp config reference` prints
    /// the keys; relative paths in the file are relative to its directory.
    #[arg(long, value_name = "FILE", env = CONFIG_VARIABLE)]
    pub(crate) config: Option<PathBuf>,

    /// Check the configuration, print the value and the source of each setting, and exit. Nothing is
    /// loaded or started.
    #[arg(long)]
    pub(crate) check_config: bool,

    /// Build the handlers whose sources have changed, then serve.
    #[arg(long, value_name = "BOOL", env = "WISP_BUILD", default_value_t = false)]
    pub(crate) build: bool,

    /// Rebuild a handler when its sources change, and reload its models. Needs `--build`. A build that
    /// fails leaves the previous handler in service.
    #[arg(long, value_name = "BOOL", env = "WISP_WATCH", default_value_t = false)]
    pub(crate) watch: bool,

    /// The address to listen on. Port 0 selects any free port; 0.0.0.0 or [::] listens on every
    /// interface. A socket for HTTP from systemd replaces it.
    #[arg(
        long,
        value_name = "ADDR",
        env = "WISP_HTTP",
        default_value = "127.0.0.1:8000",
        value_parser = value::address
    )]
    pub(crate) http: SocketAddr,

    /// An additional address for gRPC, which `--http` serves too; `none` for no additional address
    /// [default: 127.0.0.1:8001, or `none` if systemd passes sockets].
    #[arg(long, value_name = "ADDR", env = "WISP_GRPC")]
    pub(crate) grpc: Option<AdditionalAddress>,

    /// The address of the metrics for Prometheus, at the path `/metrics`; `none` for no metrics. They are served
    /// without TLS, and on loopback only to requests that name localhost or an IP address [default:
    /// 127.0.0.1:8002, or `none` if systemd passes sockets].
    #[arg(long, value_name = "ADDR", env = "WISP_METRICS")]
    pub(crate) metrics: Option<AdditionalAddress>,

    /// The levels of the log: one level, such as `debug`, or levels of modules, such as
    /// `info,wisp_serving=debug` [default: the value of RUST_LOG, or `info`].
    ///
    /// A level includes those before it: `off`, `error` for failures of the server, `warn` for failures of
    /// handlers and for missing capacity, `info` for starting, stopping and changes of models, `debug` for
    /// each request, `trace` for libraries.
    #[arg(long, value_name = "LEVELS", env = "WISP_LOG")]
    pub(crate) log: Option<String>,

    /// The format of the log.
    #[arg(
        long,
        value_name = "FORMAT",
        env = "WISP_LOG_FORMAT",
        value_enum,
        default_value_t = LogFormat::Auto
    )]
    pub(crate) log_format: LogFormat,

    #[command(flatten)]
    pub(crate) telemetry: TelemetryArgs,

    #[command(flatten)]
    pub(crate) metering: MeteringArgs,

    #[command(flatten)]
    pub(crate) tenancy: TenancyArgs,

    #[command(flatten)]
    pub(crate) model_control: ModelControlArgs,

    #[command(flatten)]
    pub(crate) releases: ReleaseSettingArgs,

    /// End with an error if a model cannot be loaded at the start, unless its model.toml declares it
    /// optional. `--no-exit-on-error` serves the other models instead.
    #[arg(
        long,
        value_name = "BOOL",
        env = "WISP_EXIT_ON_ERROR",
        default_value_t = true
    )]
    pub(crate) exit_on_error: bool,

    /// The same as `--exit-on-error=false`.
    #[arg(long)]
    pub(crate) no_exit_on_error: bool,

    /// Report the server as ready only if it has a model to serve, and all models that are not optional were
    /// loaded. Without this, the server is ready when it accepts requests.
    #[arg(
        long,
        value_name = "BOOL",
        env = "WISP_STRICT_READINESS",
        default_value_t = true
    )]
    pub(crate) strict_readiness: bool,

    /// Seconds that requests in flight have to end after SIGTERM, once new connections are no longer
    /// accepted. Connections that are still busy then are closed.
    #[arg(
        long,
        visible_alias = "drain-timeout",
        value_name = "N",
        env = "WISP_DRAIN_TIMEOUT_SECS",
        default_value_t = Seconds(ServerOptions::default().drain_timeout)
    )]
    pub(crate) drain_timeout_secs: Seconds,

    /// End with exit code 0 when no request has been in progress and no connection has been opened for
    /// this many seconds. Idle connections are closed, and do not keep the server running. With socket
    /// activation, the next connection starts it again [default: none].
    #[arg(
        long,
        visible_alias = "idle-exit",
        value_name = "N",
        env = "WISP_IDLE_EXIT_SECS"
    )]
    pub(crate) idle_exit_secs: Option<Seconds>,

    #[command(flatten)]
    pub(crate) tls: TlsArgs,

    /// Let web pages of this origin call the server from a browser and read its responses; `*` allows
    /// all origins. May be repeated, or given as a list with commas [default: none].
    #[arg(
        long,
        value_name = "ORIGIN",
        env = "WISP_CORS_ORIGIN",
        value_delimiter = ','
    )]
    pub(crate) cors_origin: Vec<AllowedOrigin>,

    /// Also accept requests for this host name, or with `*` for any, if the server listens on loopback.
    /// By default it then accepts only localhost and IP addresses, since any web site can have its name
    /// resolve to this machine. May be repeated, or given as a list with commas [default: none].
    #[arg(
        long,
        value_name = "NAME",
        env = "WISP_ALLOWED_HOST",
        value_delimiter = ','
    )]
    pub(crate) allowed_host: Vec<AllowedHost>,

    #[command(flatten)]
    pub(crate) cache: CacheArgs,

    #[command(flatten)]
    pub(crate) backend: BackendArgs,

    #[command(flatten)]
    pub(crate) response_cache: ResponseCacheArgs,

    #[command(flatten)]
    pub(crate) upload: UploadArgs,

    /// Maximum number of open connections. Beyond it, the connection that has been idle longest is
    /// closed; if none is idle, the new one gets a response with status 503. At most 1000000 [default:
    /// 10000, or as many as the limit on file descriptors allows].
    #[arg(
        long,
        value_name = "N",
        env = "WISP_MAX_CONNECTIONS",
        value_parser = value::concurrency
    )]
    pub(crate) max_connections: Option<usize>,

    /// Reject larger request bodies and gRPC messages with status 413 or RESOURCE_EXHAUSTED.
    #[arg(
        long,
        value_name = "N",
        env = "WISP_MAX_BODY_BYTES",
        default_value_t = ServingOptions::default().max_body_bytes,
        value_parser = value::at_least_one
    )]
    pub(crate) max_body_bytes: usize,

    /// Memory in bytes that all requests may hold together: bodies, sandboxes and responses. A request
    /// that would exceed it is rejected, with status 503 or UNAVAILABLE [default: half of the machine's
    /// memory, or of the control group's limit].
    #[arg(
        long,
        value_name = "N",
        env = "WISP_MAX_MEMORY_BYTES",
        value_parser = value::at_least_one
    )]
    pub(crate) max_memory_bytes: Option<usize>,

    /// Resident memory in bytes that the whole process should stay below. From 80 % of it, the server drops cached
    /// responses, and idle models that it can load again. From 90 %, it rejects loads, and requests of more than 4 MiB. From
    /// 95 %, it rejects all inferences, with status 503 or UNAVAILABLE [default: the machine's memory, or the control
    /// group's limit].
    #[arg(
        long,
        value_name = "N",
        env = "WISP_MEMORY_LIMIT_BYTES",
        value_parser = value::at_least_one
    )]
    pub(crate) memory_limit_bytes: Option<usize>,

    #[command(flatten)]
    pub(crate) handler_limits: HandlerLimitArgs,

    /// Timeout of a request, after which it fails with status 504.
    #[arg(
        long,
        value_name = "N",
        env = "WISP_REQUEST_TIMEOUT_MILLISECONDS",
        default_value_t = Milliseconds(ServingOptions::default().request_timeout)
    )]
    pub(crate) request_timeout_milliseconds: Milliseconds,

    /// Reject further requests with status 503 while this many are in flight. At most 1000000.
    #[arg(
        long,
        value_name = "N",
        env = "WISP_MAX_CONCURRENT_REQUESTS",
        default_value_t = ServingOptions::default().max_requests,
        value_parser = value::concurrency
    )]
    pub(crate) max_concurrent_requests: usize,

    /// Computations of a graph that may run at once, unless model.toml sets it [default: one per core].
    #[arg(
        long,
        value_name = "N",
        env = "WISP_THREADS",
        value_parser = value::threads
    )]
    pub(crate) threads: Option<NonZeroUsize>,

    /// Run calls that take microseconds on the threads that serve connections. With one connection at a
    /// time, requests take about a fifth less time. With many, the server answers up to two fifths fewer of
    /// them, and a handler that is sometimes slow delays the other connections of its thread.
    #[arg(
        long,
        value_name = "BOOL",
        env = "WISP_DIRECT_CALLS",
        default_value_t = false
    )]
    pub(crate) direct_calls: bool,

    /// Reject model files that take more seconds of processor time to load. Files are loaded in a separate process
    /// the first time.
    #[arg(
        long,
        value_name = "N",
        env = "WISP_MODEL_LOAD_SECS",
        default_value_t = Seconds(DEFAULT_LOAD_TIME)
    )]
    pub(crate) model_load_secs: Seconds,

    /// Reject model files that need more memory to load [default: half of the machine's memory, or of the control group's
    /// limit; with tenants, an eighth of that, at least 512 MiB].
    #[arg(
        long,
        value_name = "N",
        env = "WISP_MODEL_LOAD_MEMORY_BYTES",
        value_parser = value::at_least_one
    )]
    pub(crate) model_load_memory_bytes: Option<usize>,

    #[command(flatten)]
    pub(crate) cage: CageArgs,
}

impl ServeArgs {
    /// Returns whether a model that cannot be loaded at the start ends the server.
    pub(crate) fn exits_on_error(&self) -> bool {
        self.exit_on_error && !self.no_exit_on_error
    }
}

/// The formats of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Text, with colours if standard error is a terminal and NO_COLOR is not set.
    Auto,
    /// Text without colours.
    Text,
    /// One JSON object per line: timestamp, level, target, message, and further fields.
    Json,
}
