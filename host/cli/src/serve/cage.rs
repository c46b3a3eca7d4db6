//! The cage of a server: the rules that follow from its settings, and the process that starts children outside of it.
//!
//! The server locks itself in before it has a second thread, and before it reads a model or accepts a connection. The
//! last calls that only the start needs are taken from it when it is ready. [`Cage::enter`] and [`Cage::close`] are
//! these two steps; `confinement` applies the rules.

use super::memory_limits::load_limits;
use super::startup::state_directory;
use super::worker_memory::WorkerMemory;
use super::workers;
use crate::configuration::EffectiveConfiguration;
use crate::confinement::{FileRules, Ports, Profile, Reading, Sockets, confine, end_start, places};
use crate::loading::optional_cache_directory;
use crate::options::{PayloadDestination, ServeArgs};
use crate::spawner::{self, SpawnerOptions, WorkerSpawnerOptions};
use anyhow::Context;
use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use url::Url;
use wisp_backend::bounded_file::read_regular_text;
use wisp_sandbox::spawner::Spawner;
use wisp_serving::tenants::tenant_file::TenantFile;

/// The port of servers of names. They are asked over TCP if an answer is long.
const DNS_PORT: u16 = 53;

/// The default port of a Redis server.
const REDIS_PORT: u16 = 6379;

/// The port of a host in model.toml that has none.
const HTTP_PORT: u16 = 80;

/// The size limit of a model.toml, far above any that is used.
const MAX_MODEL_FILE_BYTES: u64 = 1 << 20;

/// The variables with the URLs of a collector.
const COLLECTOR_VARIABLES: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

/// The variables with the URLs of proxies.
const PROXY_VARIABLES: [&str; 6] = [
    "ALL_PROXY",
    "all_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
];

/// The variable with the address of the service manager's socket.
const NOTIFICATION_VARIABLE: &str = "NOTIFY_SOCKET";

/// The end of every refusal to start because of the cage.
const REMEDY: &str = "the server cannot be caged; `--no-cage` serves without a cage";

/// The cage of this process. Lifetime: the process.
#[derive(Debug)]
pub(super) struct Cage(Option<Entered>);

#[derive(Debug)]
struct Entered {
    spawner: Spawner,
    /// The process that starts the workers of tenants, if there can be some.
    worker_spawner: Option<Spawner>,
    sockets: Sockets,
    ports: Ports,
    is_whole: bool,
}

impl Cage {
    /// Starts the spawner, then locks the process in. Must be called before the process has a second thread.
    pub(super) fn enter(
        args: &ServeArgs,
        effective: &EffectiveConfiguration,
    ) -> anyhow::Result<Cage> {
        if !args.cage.is_caged() {
            tracing::warn!(
                "the server is not caged (--no-cage): an attacker in control of it has all rights of its user"
            );
            return Ok(Cage(None));
        }
        if args.watch {
            tracing::warn!("the server is not caged, since --watch runs cargo");
            return Ok(Cage(None));
        }
        let cache = optional_cache_directory(args.cache.cache_dir.as_deref());
        let cache = cache.as_deref();
        let ports = ports(args);
        let sockets = Sockets {
            connections: !ports.0.is_empty(),
            notifications: notification_socket().is_some(),
        };
        let models = model_places(args, cache);
        let rules = FileRules {
            connect: ports.clone(),
            ..file_rules(args, cache, &models)
        };
        let (spawner, process) = spawner::start(&SpawnerOptions {
            backend: &args.backend,
            cache,
            read: &models,
            load: load_limits(args),
        })?;
        let files = args.tenancy.tenants.as_deref().map(tenant_files);
        let of_workers = files.map(|files| {
            spawner::start_workers(WorkerSpawnerOptions {
                arguments: workers::arguments(args, effective),
                memory_bytes: WorkerMemory::of(args).most(),
                files: &files,
                moves: args.upload.allow_upload,
            })
        });
        let of_workers = of_workers.transpose()?;
        let gaps = confine(&rules, Profile::Server(sockets)).context(REMEDY)?;
        if !gaps.is_empty() {
            tracing::warn!(%gaps, "the cage of the server is incomplete");
        }
        if let Some(directory) = sent_models(cache) {
            // The usual one is not writable. Nothing has set another one before.
            let _ = tempfile::env::override_temp_dir(&directory);
        }
        report_end(
            (process, spawner.clone()),
            "no handler can be compiled and no new model file be loaded",
        )?;
        let worker_spawner = match of_workers {
            Some((spawner, process)) => {
                report_end(
                    (process, spawner.clone()),
                    "no worker of a tenant can be started",
                )?;
                Some(spawner)
            }
            None => None,
        };
        Ok(Cage(Some(Entered {
            spawner,
            worker_spawner,
            sockets,
            ports,
            is_whole: gaps.is_empty(),
        })))
    }

    /// The process that starts children, if this one cannot.
    pub(super) fn spawner(&self) -> Option<&Spawner> {
        self.0.as_ref().map(|entered| &entered.spawner)
    }

    /// The process that starts workers of tenants, if this one cannot.
    pub(super) fn worker_spawner(&self) -> Option<&Spawner> {
        self.0.as_ref()?.worker_spawner.as_ref()
    }

    /// Removes the rights that only the start of the server needs.
    pub(super) fn close(&self) -> anyhow::Result<()> {
        let Some(entered) = &self.0 else {
            return Ok(());
        };
        let gaps = end_start(entered.sockets).context(REMEDY)?;
        if entered.is_whole && !gaps.is_empty() {
            tracing::warn!(%gaps, "the cage of the server is incomplete");
        }
        let Ports(ports) = &entered.ports;
        tracing::debug!(?ports, "caged; connections are made to these ports only");
        Ok(())
    }
}

/// Logs it when a spawner ends, which it does after this process otherwise, with what is not possible without it: also
/// after a start that has failed, since its connection is kept here.
pub(super) fn report_end(
    (mut process, connection): (Child, Spawner),
    effect: &'static str,
) -> anyhow::Result<()> {
    let wait = move || {
        let _connection = connection;
        let ended = process.wait();
        let status = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
        tracing::error!(
            status,
            effect,
            "the process that starts child processes has ended; restart the server"
        );
    };
    let thread = thread::Builder::new().name("wisp-spawner".to_owned());
    thread
        .spawn(wait)
        .context("failed to watch the process that starts child processes")?;
    Ok(())
}

/// Returns the paths that the server and the children that load models may read.
fn model_places(args: &ServeArgs, cache: Option<&Path>) -> Vec<PathBuf> {
    let mut read = places::of_repository(&args.repository);
    read.extend(args.cage.cage_read.iter().cloned());
    // The models of tenants, without the file with the hashes of their keys.
    read.extend(args.tenancy.tenants.as_deref().map(tenant_files));
    // Installed backends. The key of compiled code is beside them, and no child needs it.
    read.extend(cache.map(|cache| cache.join("backends")));
    read.extend(sent_models(cache));
    if let Some(library) = args.backend.onnxruntime_library() {
        read.extend(places::directories_of(&library));
    }
    read
}

/// Returns the rules for the files of the settings. Creates the directories that are written to later, since a rule
/// holds for what exists.
fn file_rules(args: &ServeArgs, cache: Option<&Path>, models: &[PathBuf]) -> FileRules {
    let mut read = models.to_vec();
    read.extend(places::system());
    // These are replaced while the server runs.
    let tls = &args.tls;
    let settings = [
        &args.config,
        &tls.tls_cert,
        &tls.tls_key,
        &tls.tls_client_ca,
        &tls.tls_client_crl,
    ];
    for file in settings.into_iter().flatten() {
        read.extend(places::directories_of(file));
    }
    if let Some(directory) = &args.tenancy.tenants {
        read.extend(places::directories_of(&TenantFile::new(directory).path()));
    }
    read.extend(args.response_cache.response_cache_ca.clone());
    read.extend(args.upload.trusted_key.iter().cloned());
    if !ports(args).0.is_empty() {
        read.extend(places::network());
    }
    let gpu = places::gpu();
    read.extend(gpu.read);
    let mut devices = places::devices();
    devices.extend(gpu.devices);
    let mut write = gpu.write;
    write.extend(cache.map(|cache| cache.join("aot")));
    write.extend(cache.map(|cache| cache.join("backends/decisions")));
    write.extend(cache.map(|cache| cache.join("backends/passed")));
    write.extend(sent_models(cache));
    let state = state_directory(args);
    write.extend(match &args.releases.state_dir {
        Some(_) => state,
        // Beside the directories of other repositories.
        None => state.and_then(|state| state.parent().map(Path::to_owned)),
    });
    if let Some(directory) = &args.tenancy.tenants {
        // The server changes its file, and tenants may upload.
        write.extend([directory.clone(), tenant_files(directory)]);
    }
    for directory in &write {
        make_directory(directory);
    }
    if args.upload.allow_upload {
        write.push(args.repository.clone());
    }
    if let Some(PayloadDestination::File(file)) = &args.telemetry.payload_log {
        match file.exists() && !file.is_file() {
            // A terminal, or a pipe.
            true => devices.push(file.clone()),
            // Older files of the log are beside it.
            false => write.extend(places::directories_of_written(file)),
        }
    }
    if let Some(file) = &args.metering.usage_log {
        write.extend(places::directories_of_written(file));
    }
    FileRules {
        reading: Reading::Only(read),
        write,
        devices,
        moves: args.upload.allow_upload,
        listens: true,
        abstract_sockets: notification_socket()
            .is_some_and(|address| address.as_encoded_bytes().starts_with(b"@")),
        ..FileRules::default()
    }
}

/// Returns the directory for the models that clients send with a load, while they are loaded.
fn sent_models(cache: Option<&Path>) -> Option<PathBuf> {
    cache.map(|cache| cache.join("sent"))
}

/// Returns the directory of the files of tenants.
fn tenant_files(directory: &Path) -> PathBuf {
    TenantFile::new(directory).tenants()
}

/// Creates a directory for this user alone. If that fails, whoever writes to it reports the reason.
fn make_directory(directory: &Path) {
    let mut builder = DirBuilder::new();
    if let Err(error) = builder.recursive(true).mode(0o700).create(directory) {
        tracing::debug!(%error, directory = %directory.display(), "not created");
    }
}

fn notification_socket() -> Option<std::ffi::OsString> {
    std::env::var_os(NOTIFICATION_VARIABLE).filter(|address| !address.is_empty())
}

/// Returns the ports of the servers that the settings and the models name; none if there are no such servers.
fn ports(args: &ServeArgs) -> Ports {
    let mut ports: BTreeSet<u16> = BTreeSet::new();
    let web = |url: &Url| url.port_or_known_default();
    if let Some(collector) = &args.telemetry.otlp_endpoint {
        ports.extend(web(&collector.0));
    }
    ports.extend(
        COLLECTOR_VARIABLES
            .into_iter()
            .filter_map(url_variable)
            .filter_map(|url| web(&url)),
    );
    if let Some(PayloadDestination::Server(url)) = &args.telemetry.payload_log {
        ports.extend(web(url));
    }
    if !ports.is_empty() {
        ports.extend(
            PROXY_VARIABLES
                .into_iter()
                .filter_map(url_variable)
                .filter_map(|url| web(&url)),
        );
    }
    if let Some(url) = &args.response_cache.response_cache_url {
        let port = Url::parse(url).ok().and_then(|url| url.port());
        ports.insert(port.unwrap_or(REDIS_PORT));
    }
    ports.extend(model_ports(&args.repository));
    if !ports.is_empty() {
        ports.insert(DNS_PORT);
    }
    Ports(ports)
}

fn url_variable(name: &str) -> Option<Url> {
    Url::parse(&std::env::var(name).ok()?).ok()
}

/// Returns the ports of the hosts to which the models of a repository may send requests.
fn model_ports(repository: &Path) -> BTreeSet<u16> {
    let entries = std::fs::read_dir(repository)
        .into_iter()
        .flatten()
        .flatten();
    let models = entries.map(|entry| entry.path());
    let models = models.chain([repository.to_owned()]);
    models.flat_map(|model| ports_of_model(&model)).collect()
}

/// Returns the ports in the `http.allowed_hosts` of a model. A file that cannot be used is reported when the model is
/// loaded.
fn ports_of_model(model: &Path) -> Vec<u16> {
    let file = read_regular_text(&model.join("model.toml"), MAX_MODEL_FILE_BYTES);
    let table: Option<toml::Table> = file.ok().and_then(|text| text.parse().ok());
    let hosts = table
        .as_ref()
        .and_then(|table| table.get("http"))
        .and_then(|http| http.get("allowed_hosts"))
        .and_then(toml::Value::as_array);
    let hosts = hosts.into_iter().flatten().filter_map(toml::Value::as_str);
    hosts.map(port_of).collect()
}

/// Returns the port of a host, such as 8080 of `api.example.com:8080` and 80 of `[::1]`.
fn port_of(host: &str) -> u16 {
    let port = host
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok());
    port.unwrap_or(HTTP_PORT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Result, ensure};

    #[test]
    fn the_hosts_of_the_models_are_connected_to() -> Result<()> {
        let repository = tempfile::tempdir()?;
        for (model, text) in [
            (
                "a",
                "[http]\nallowed_hosts = ['a.example', 'b.example:8080', '[::1]:9000', '[::1]']",
            ),
            ("b", "version_policy = 'latest'"),
            ("c", "[http"),
        ] {
            let directory = repository.path().join(model);
            std::fs::create_dir(&directory)?;
            std::fs::write(directory.join("model.toml"), text)?;
        }
        let all: BTreeSet<u16> = [80, 8080, 9000].into();
        ensure!(model_ports(repository.path()) == all);
        // A path that is one model.
        ensure!(model_ports(&repository.path().join("a")) == all);
        ensure!(model_ports(&repository.path().join("b")).is_empty());
        ensure!(model_ports(Path::new("/no/such/place")).is_empty());
        Ok(())
    }
}
