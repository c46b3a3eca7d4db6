//! The test harness: a repository in a temporary directory, a server in this process, and a client that
//! exposes raw responses.
//!
//! The OS assigns the ports, a server is ready when its constructor returns, and all resources are
//! released on drop.

mod base64;
mod certificate;
pub(crate) mod child;
mod connection;
pub(crate) mod difference;
pub(crate) mod fixture;
pub(crate) mod frames;
pub(crate) mod gate;
pub(crate) mod grpc;
pub(crate) mod metric;
pub(crate) mod numbers;
pub(crate) mod onnx;
pub(crate) mod sandbox;
pub(crate) mod tensor;
pub(crate) mod victim;
mod wait;
pub(crate) mod wat_handler;

pub(crate) use base64::base64;
pub(crate) use certificate::Certificate;
pub(crate) use connection::Connection;
pub(crate) use gate::Gate;
pub(crate) use wait::{TIMEOUT, wait_for, wait_until};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use wisp_backend::tract::Tract;
use wisp_backend::{Backend, Backends};
use wisp_sandbox::aot::{AotStore, COMPILATION};
use wisp_sandbox::engine::{Engine, EngineOptions};
use wisp_sandbox::limited_process::{ChildProgram, ProcessLimits};
use wisp_sandbox::limits::Limits;
use wisp_server::tls::{Tls, TlsFiles};
use wisp_server::{ServerOptions, Sockets};
use wisp_serving::fair_pool::{FairPool, PoolOptions, STACK_BYTES};
use wisp_serving::model_control::{ControlMode, ModelControl};
use wisp_serving::namespaces::{NamespaceOpener, Namespaces};
use wisp_serving::registry::backend_selection::BackendSelectionStore;
use wisp_serving::registry::grant_policy::GrantPolicy;
use wisp_serving::registry::graph_loader::GraphLoader;
use wisp_serving::registry::graph_probe::GraphProbe;
use wisp_serving::registry::loader::Loader;
use wisp_serving::registry::model_file::BackendChoice;
use wisp_serving::registry::repository_loader::Start;
use wisp_serving::registry::shared_graphs::SharedGraphs;
use wisp_serving::registry::snapshot::Snapshot;
use wisp_serving::registry::version_signature::SignaturePolicy;
use wisp_serving::repository_poll::{Change, RepositoryPoll};
use wisp_serving::residency::ResidencyOptions;
use wisp_serving::tenants::isolation::Isolation;
use wisp_serving::tenants::role::Role;
use wisp_serving::tenants::tenant_file::TenantFile;
use wisp_serving::tenants::tenant_id::TenantId;
use wisp_serving::uploads::limits::UploadLimits;
use wisp_serving::uploads::{UploadTarget, Uploads};
use wisp_serving::worker_pool::{PoolThreads, WorkerPool};
use wisp_serving::{Serving, ServingOptions};

/// Starts a runtime whose threads have the stack that direct calls need.
fn runtime() -> Result<Runtime> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    Ok(runtime
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()?)
}

/// Returns the root of the repository.
pub(crate) fn root() -> PathBuf {
    let cli = Path::new(env!("CARGO_MANIFEST_DIR"));
    cli.ancestors().nth(2).unwrap_or(cli).to_owned()
}

/// Returns the factor by which long tests are extended: `WISP_TEST_SCALE`, or 1 if it is not set.
pub(crate) fn scale() -> usize {
    let scale = std::env::var("WISP_TEST_SCALE").ok();
    scale.and_then(|scale| scale.parse().ok()).unwrap_or(1)
}

/// A model repository in a temporary directory.
#[derive(Debug)]
pub(crate) struct Repository {
    directory: TempDir,
}

impl Repository {
    /// Creates a repository without models.
    pub(crate) fn empty() -> Result<Repository> {
        let directory = tempfile::tempdir()?;
        Ok(Repository { directory })
    }

    /// Creates a repository with these examples, including their handlers.
    pub(crate) fn of(examples: &[&str]) -> Result<Repository> {
        let mut repository = Repository::empty()?;
        for example in examples {
            repository = repository.with_example(example, example)?;
        }
        Ok(repository)
    }

    /// Adds an example's graph and handler as model `name`.
    pub(crate) fn with_example(self, example: &str, name: &str) -> Result<Repository> {
        self.with_model(name, example, Some(component(example)?))
    }

    /// Adds a model `name` with the graph of an example and an optional handler.
    pub(crate) fn with_model(
        self,
        name: &str,
        graph: &str,
        handler: Option<&str>,
    ) -> Result<Repository> {
        let version = self.path().join(name).join("1");
        std::fs::create_dir_all(&version)?;
        let graph = root().join("examples").join(graph).join("1/model.onnx");
        std::fs::copy(&graph, version.join("model.onnx"))
            .with_context(|| graph.display().to_string())?;
        if let Some(handler) = handler {
            std::fs::copy(handler, version.join("handler.wasm"))?;
        }
        Ok(self)
    }

    /// Adds a model `broken`, which cannot be loaded and is declared optional, so that the server is ready.
    pub(crate) fn with_broken_model(self) -> Result<Repository> {
        self.with_file("broken/1/model.onnx", "not a model")?
            .with_file("broken/model.toml", "optional = true")
    }

    /// Writes a file, and creates its directories.
    pub(crate) fn with_file(self, path: &str, content: impl AsRef<[u8]>) -> Result<Repository> {
        let path = self.path().join(path);
        let directory = path.parent().context("the path has no directory")?;
        std::fs::create_dir_all(directory)?;
        std::fs::write(path, content)?;
        Ok(self)
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Returns the path of a guest's component.
pub(crate) fn component(guest: &str) -> Result<&'static str> {
    Ok(match guest {
        "digits" => wisp_artifacts::DIGITS,
        "embed" => wisp_artifacts::EMBED,
        "ensemble_guest" => wisp_artifacts::ENSEMBLE_GUEST,
        "granted_guest" => wisp_artifacts::GRANTED_GUEST,
        "hello_guest" => wisp_artifacts::HELLO_GUEST,
        "hostile_guest" => wisp_artifacts::HOSTILE_GUEST,
        "initialized_guest" => wisp_artifacts::INITIALIZED_GUEST,
        "progression" => wisp_artifacts::PROGRESSION,
        "web_guest" => wisp_artifacts::WEB_GUEST,
        "tokenize" => wisp_artifacts::TOKENIZE,
        "wine" => wisp_artifacts::WINE,
        other => anyhow::bail!("there is no guest `{other}`"),
    })
}

/// Options of a test server.
#[derive(Debug, Clone)]
pub(crate) struct TestOptions {
    pub(crate) serving: ServingOptions,
    pub(crate) server: ServerOptions,
    pub(crate) limits: Limits,
    /// Set if calls that take microseconds run on the threads of connections.
    pub(crate) direct_calls: bool,
    pub(crate) control: ControlMode,
    /// The models that are loaded at the start.
    pub(crate) start: Start,
    pub(crate) residency: ResidencyOptions,
    /// The limits on compiling a component.
    pub(crate) compilation: ProcessLimits,
    /// The limits on loading a model file in a child process, and the directory that records files that
    /// have passed; by default files are loaded without a child process.
    pub(crate) probe: Option<(ProcessLimits, PathBuf)>,
    /// The gate at which computations wait, if any.
    pub(crate) gate: Option<Gate>,
    /// Backends that models may request in addition to the default.
    pub(crate) backends: Vec<Arc<dyn Backend>>,
    /// The certificate for clients that use TLS, which the harness's own client does not support.
    pub(crate) tls: Option<TlsFiles>,
    /// The directory of the tenants, if there can be any.
    pub(crate) tenants: Option<PathBuf>,
    /// The rules for the signatures of versions.
    pub(crate) signatures: SignaturePolicy,
    /// The limits of uploads into the repository, if it takes any.
    pub(crate) uploads: Option<UploadLimits>,
}

impl Default for TestOptions {
    fn default() -> TestOptions {
        TestOptions {
            serving: ServingOptions {
                max_instances: 16,
                ..ServingOptions::default()
            },
            server: ServerOptions {
                drain_delay: Duration::ZERO,
                ..ServerOptions::default()
            },
            limits: Limits::default(),
            direct_calls: false,
            control: ControlMode::Explicit,
            start: Start::Loaded,
            residency: ResidencyOptions::default(),
            // The program under test is not optimized.
            compilation: ProcessLimits {
                processor_time: Duration::from_secs(100),
                wall_time: Duration::from_secs(300),
                ..COMPILATION
            },
            probe: None,
            gate: None,
            backends: Vec::new(),
            tls: None,
            tenants: None,
            signatures: SignaturePolicy::default(),
            uploads: None,
        }
    }
}

/// A server in this process. It is drained on drop.
#[derive(Debug)]
pub(crate) struct TestServer {
    address: SocketAddr,
    grpc_address: SocketAddr,
    metrics_address: SocketAddr,
    admin_address: SocketAddr,
    serving: Arc<Serving>,
    namespaces: Arc<Namespaces>,
    poll: Mutex<Option<RepositoryPoll>>,
    stop: Option<oneshot::Sender<()>>,
    /// In a mutex, so that the clients of a test can be threads.
    ended: Mutex<std::sync::mpsc::Receiver<()>>,
    runtime: Option<Runtime>,
    repository: Repository,
}

impl TestServer {
    /// Loads the repository and serves it. Connections are accepted when this returns.
    pub(crate) fn start(repository: Repository) -> Result<TestServer> {
        TestServer::with_options(repository, TestOptions::default())
    }

    pub(crate) fn with_options(repository: Repository, options: TestOptions) -> Result<TestServer> {
        let loader = loader(&options)?;
        let tenant_uploads = options.uploads.clone();
        let uploads = options.uploads.map(|limits| {
            Uploads::open(UploadTarget {
                repository: repository.path().to_owned(),
                limits,
            })
        });
        let uploads = uploads.transpose()?;
        let files = Snapshot::take(repository.path())?;
        let registry = loader.start_repository(repository.path(), options.start, &|_, _| ())?;
        let path = repository.path().to_owned();
        let tenants = options.tenants.as_deref().map(|directory| {
            let opener = NamespaceOpener {
                loader: loader.for_tenant(&TenantId::local()),
                mode: ControlMode::Explicit,
                observer: |_, _| (),
                uploads: tenant_uploads,
                owners: Isolation::Shared,
            };
            (TenantFile::new(directory), opener)
        });
        let control = ModelControl::new(loader, path, options.control, |_, _| ());
        let control = control
            .with_residency(options.residency)
            .with_uploads(uploads);
        let serving = Arc::new(Serving::new(registry, Some(control), options.serving));
        serving.restore_releases();
        let namespaces = match tenants {
            Some(tenants) => Namespaces::open(Arc::clone(&serving), Role::Deploy, tenants)?,
            None => Namespaces::local(Arc::clone(&serving)),
        };
        let namespaces = Arc::new(namespaces);
        let tls = options.tls.map(Tls::load).transpose()?;
        let runtime = runtime()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let grpc = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let grpc_address = grpc.local_addr()?;
        let metrics = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let metrics_address = metrics.local_addr()?;
        let admin = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let admin_address = admin.local_addr()?;
        let sockets = Sockets {
            http: listener.into(),
            grpc: Some(grpc.into()),
            tls: tls.map(Arc::new),
            metrics: Some(metrics.into()),
            admin: Some(admin.into()),
        };
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = std::sync::mpsc::channel();
        let served = Arc::clone(&namespaces);
        runtime.spawn(async move {
            let shutdown = async {
                // A dropped sender stops the server too.
                let _ = stopped.await;
            };
            let _ = wisp_server::serve(sockets, served, options.server, shutdown).await;
            let _ = end.send(());
        });
        Ok(TestServer {
            address,
            grpc_address,
            metrics_address,
            admin_address,
            namespaces,
            poll: Mutex::new(serving.poll(files)),
            serving,
            stop: Some(stop),
            ended: Mutex::new(ended),
            runtime: Some(runtime),
            repository,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the directory that the server serves.
    pub(crate) fn repository(&self) -> &Path {
        self.repository.path()
    }

    /// Returns the separate address for gRPC.
    pub(crate) fn grpc_address(&self) -> SocketAddr {
        self.grpc_address
    }

    /// Returns the address of the metrics.
    pub(crate) fn metrics_address(&self) -> SocketAddr {
        self.metrics_address
    }

    /// Returns the address for changes of the tenants.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Returns the services of all tenants.
    pub(crate) fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    pub(crate) fn serving(&self) -> &Serving {
        &self.serving
    }

    /// Checks the repository once, like a server in poll mode.
    pub(crate) fn look(&self) -> Result<Vec<Change>> {
        let mut poll = self
            .poll
            .lock()
            .map_err(|_| anyhow!("a poll has panicked"))?;
        let poll = poll.as_mut().context("nothing to poll")?;
        let runtime = self.runtime.as_ref().context("the server is gone")?;
        Ok(runtime.block_on(poll.poll_once())?)
    }

    /// Begins to drain.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until the server has drained.
    pub(crate) fn wait(&self) -> Result<()> {
        let ended = self.ended.lock();
        let ended = ended.map_err(|_| anyhow!("another wait has panicked"))?;
        ended
            .recv_timeout(TIMEOUT)
            .context("the server does not drain")
    }

    /// Sends a GET request for `path`.
    pub(crate) fn get(&self, path: &str) -> Result<Response> {
        self.request(&format!("GET {path}"), &[], b"")
    }

    /// Sends a V2 inference request to a model.
    pub(crate) fn infer(&self, model: &str, request: &Value) -> Result<Response> {
        let path = format!("/v2/models/{model}/infer");
        self.request(&format!("POST {path}"), &[], &serde_json::to_vec(request)?)
    }

    /// Sends any request, such as `GET /v2`, on a new connection.
    pub(crate) fn request(
        &self,
        method_and_path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response> {
        let mut head = format!("{method_and_path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", body.len());
        self.raw(&[head.as_bytes(), body].concat())
    }

    /// Sends exactly these bytes and reads the response to the end.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Result<Response> {
        exchange(self.address, bytes)
    }
}

/// Sends exactly these bytes to an address on a new connection, and reads the response to the end.
pub(crate) fn exchange(address: SocketAddr, bytes: &[u8]) -> Result<Response> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    // A server that refuses early may close the connection before it has read everything.
    let _ = stream.write_all(bytes);
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    Response::parse(&reply)
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Returns a loader. Compiled guests are kept for the next test.
pub(crate) fn loader(options: &TestOptions) -> Result<Loader> {
    let threads = NonZeroUsize::new(2).context("two is not zero")?;
    let engine = Engine::start(&EngineOptions {
        instances: 24,
        memory: Arc::clone(&options.serving.memory),
        ..EngineOptions::default()
    })?;
    let store = Path::new(env!("CARGO_TARGET_TMPDIR")).join("aot");
    Ok(Loader {
        engine: Arc::new(engine),
        aot: Arc::new(
            AotStore::open(&store)?.compiling_with(child_program("compile"), options.compilation),
        ),
        graphs: graph_loader(options, &store, threads)?,
        pool: FairPool::spawn("wisp-handler", PoolOptions::with_threads_per_flow(threads))?,
        own_instances: None,
        instances: threads,
        limits: options.limits.clone(),
        direct_calls: options.direct_calls,
        signatures: options.signatures.clone(),
        grants: GrantPolicy::default(),
    })
}

/// Returns the program under test as a child process of a server.
pub(crate) fn child_program(task: &str) -> ChildProgram {
    ChildProgram::new(env!("CARGO_BIN_EXE_wisp"), ["child-process", task])
}

fn graph_loader(options: &TestOptions, store: &Path, threads: NonZeroUsize) -> Result<GraphLoader> {
    let default: Arc<dyn Backend> = match &options.gate {
        Some(gate) => Arc::new(gate.clone()),
        None => Arc::new(Tract::new()),
    };
    Ok(GraphLoader {
        choice: BackendChoice::Named(default.name().to_owned()),
        backends: Backends::new(default, options.backends.clone()),
        selections: BackendSelectionStore::new(store.join("decisions")),
        probe: (options.probe.clone())
            .map(|(limits, passed)| GraphProbe::new(child_program("load"), limits, Some(passed))),
        workers: WorkerPool::spawn("wisp-graph", PoolThreads::for_graphs(threads))?,
        shared: SharedGraphs::default(),
    })
}

/// A response as received over the wire.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// The headers, with names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// Parses the first response in `reply`, which contains everything up to the end of the connection.
    pub(crate) fn parse(reply: &[u8]) -> Result<Response> {
        let end = reply
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .with_context(|| format!("no response: {:?}", String::from_utf8_lossy(reply)))?;
        let head = std::str::from_utf8(&reply[..end])?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let headers = lines.filter_map(|line| line.split_once(": "));
        Ok(Response {
            status: status.context("no status")?.parse()?,
            headers: headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            body: reply[end + 4..].to_vec(),
        })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(other, _)| other == name);
        header.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Result<Value> {
        let text = || String::from_utf8_lossy(&self.body).into_owned();
        serde_json::from_slice(&self.body).with_context(text)
    }

    /// Returns the body of a response with status 200.
    pub(crate) fn ok(&self) -> Result<Value> {
        ensure!(
            self.status == 200,
            "{}: {}",
            self.status,
            String::from_utf8_lossy(&self.body)
        );
        self.json()
    }

    /// Returns the message of an error, which must be JSON with this status and reveal nothing about the
    /// host.
    pub(crate) fn error(&self, status: u16) -> Result<String> {
        let body = String::from_utf8_lossy(&self.body).into_owned();
        ensure!(
            self.status == status,
            "expected {status}, got {}: {body}",
            self.status
        );
        let content_type = self.header("content-type");
        ensure!(
            content_type == Some("application/json"),
            "content type {content_type:?}"
        );
        let document = self.json()?;
        let text = document["error"]
            .as_str()
            .context("no `error` in the body")?;
        ensure!(!text.is_empty(), "the error says nothing");
        let home = root().display().to_string();
        for leak in [
            home.as_str(),
            "/tmp",
            ".rs:",
            "panicked",
            "wasm backtrace",
            "0x",
        ] {
            ensure!(!text.contains(leak), "the error leaks `{leak}`: {text}");
        }
        Ok(text.to_owned())
    }
}

/// Returns the named output of a V2 JSON response.
pub(crate) fn output<'a>(response: &'a Value, name: &str) -> Result<&'a Value> {
    let outputs = response["outputs"].as_array().context("no outputs")?;
    let output = outputs.iter().find(|output| output["name"] == name);
    output.with_context(|| format!("no output `{name}` in {response}"))
}
