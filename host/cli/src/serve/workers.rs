//! The start of the workers of tenants: the choice of tenants, the command, and the process.
//!
//! All workers have the same command. It contains only the settings of the server that a worker needs: no addresses,
//! certificates or passwords. `worker` is the process itself.

use super::worker_memory::{MemoryPart, WorkerMemory};
use super::worker_task::WorkerTask;
use super::worker_usage;
use crate::backend::installed;
use crate::configuration::EffectiveConfiguration;
use crate::loading::{optional_cache_directory, this_program};
use crate::options::{CHILD, ServeArgs};
use crate::spawner::hidden_variables;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use wisp_sandbox::limited_process::ChildProgram;
use wisp_sandbox::serving_child::{ServingChild, ServingProcess};
use wisp_sandbox::spawner::{SpawnTask, Spawner};
use wisp_server::worker_process::{StartWorker, StartedWorker, WorkerProcess};
use wisp_serving::metering::usage_book::UsageBook;
use wisp_serving::tenants::isolation::Isolation;
use wisp_serving::tenants::tenant_set::Tenant;

/// The settings of a server that its workers have too, in addition to the paths.
const SETTINGS: [&str; 27] = [
    "log",
    "log_format",
    "model_control_mode",
    "max_model_memory_bytes",
    "golden_cases",
    "release_key_header",
    "release_key_parameter",
    "backend",
    "allow_upload",
    "max_upload_bytes",
    "max_stored_bytes",
    "max_stored_models",
    "max_stored_versions",
    "require_signature",
    "max_body_bytes",
    "max_component_bytes",
    "max_handler_memory_bytes",
    "max_handler_tensor_bytes",
    "max_handler_transfer_bytes",
    "max_handler_time_milliseconds",
    "request_timeout_milliseconds",
    "max_concurrent_requests",
    "threads",
    "direct_calls",
    "model_load_secs",
    "usage_header",
    "cage",
];

/// The source of workers. Lifetime: the process.
#[derive(Debug)]
struct Workers {
    program: ChildProgram,
    memory: WorkerMemory,
    /// The usage of all tenants.
    usage: Arc<UsageBook>,
}

#[derive(Debug)]
struct Process {
    process: ServingProcess,
    memory: MemoryPart,
}

/// Returns the source of workers, if there can be tenants. What they meter is added to `usage`.
pub(super) fn starter(
    args: &ServeArgs,
    effective: &EffectiveConfiguration,
    spawner: Option<&Spawner>,
    usage: &Arc<UsageBook>,
) -> Option<Arc<dyn StartWorker>> {
    args.tenancy.tenants.as_ref()?;
    let program = match spawner {
        Some(spawner) => ChildProgram::spawned(spawner, SpawnTask::Worker),
        None => ChildProgram::new(this_program(), arguments(args, effective))
            .without_variables(hidden_variables()),
    };
    Some(Arc::new(Workers {
        program,
        memory: WorkerMemory::of(args),
        usage: Arc::clone(usage),
    }))
}

/// Returns the isolation of tenants that have models of their own or may deploy some, and whose records name none: a process
/// of their own if a backend that is native code may compute these models, whatever way they come.
pub(super) fn owners(args: &ServeArgs) -> Isolation {
    match native_library(args) {
        Some(_) => Isolation::Worker,
        None => Isolation::Shared,
    }
}

/// Returns the arguments of a worker. Its limit on memory is not among them: the worker reads the one that its process has.
pub(super) fn arguments(args: &ServeArgs, effective: &EffectiveConfiguration) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec![CHILD.into(), "worker".into()];
    arguments.extend(effective.arguments(&SETTINGS));
    if let Some(tenants) = &args.tenancy.tenants {
        arguments.push(with_path("--tenants", tenants));
    }
    if let Some(library) = native_library(args) {
        arguments.push(with_path("--onnxruntime-library", &library));
    }
    for key in &args.upload.trusted_key {
        arguments.push(with_path("--trusted-key", key));
    }
    if let Some(bytes) = args.model_load_memory_bytes {
        arguments.push(format!("--model-load-memory-bytes={bytes}").into());
    }
    arguments.extend(["--".into(), args.repository.clone().into_os_string()]);
    arguments
}

fn with_path(name: &str, path: &Path) -> OsString {
    let mut argument = OsString::from(name);
    argument.push("=");
    argument.push(path);
    argument
}

/// Returns the library of the backend that is native code, if it is configured or installed.
fn native_library(args: &ServeArgs) -> Option<PathBuf> {
    let configured = args.backend.onnxruntime_library();
    configured.or_else(|| {
        let cache = optional_cache_directory(args.cache.cache_dir.as_deref())?;
        installed::onnxruntime(&cache)
    })
}

// === impl Workers ===

impl StartWorker for Workers {
    fn start(&self, tenant: &Tenant, tenants: usize) -> io::Result<StartedWorker> {
        let memory = self.memory.take(&tenant.id, tenants);
        let memory_bytes = memory.bytes();
        tracing::info!(tenant = %tenant.id, memory_bytes, "starting the worker process of the tenant");
        if !memory.is_equal() {
            tracing::warn!(
                tenant = %tenant.id,
                memory_bytes,
                "the worker has less memory than an equal part until it starts again, because those of other tenants \
                 have started with more; `--worker-memory-bytes` gives all the same"
            );
        }
        let child = ServingChild::start(&self.program, memory_bytes)?;
        let ServingChild {
            socket,
            output,
            process,
        } = child;
        WorkerTask::of(tenant).write(&socket)?;
        worker_usage::start_receiving(output, &tenant.id, &self.usage)?;
        Ok(StartedWorker {
            socket,
            process: Box::new(Process { process, memory }),
        })
    }
}

// === impl Process ===

impl WorkerProcess for Process {
    fn end(self: Box<Self>) -> io::Result<ExitStatus> {
        let Process { process, memory } = *self;
        let ended = process.end();
        // Free once the process has ended.
        drop(memory);
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::{Configuration, parse};
    use crate::options::{ChildTask, Command};
    use anyhow::{Result, bail};

    /// Returns the settings of a server with these arguments.
    fn serve(arguments: &[&str]) -> Result<(ServeArgs, EffectiveConfiguration)> {
        let arguments = ["wisp", "serve"].iter().chain(arguments);
        let Configuration { options, effective } = parse(arguments.map(OsString::from).collect())?;
        match options.command {
            Command::Serve(args) => Ok((*args, effective)),
            _ => bail!("another command"),
        }
    }

    #[test]
    fn a_worker_has_the_settings_of_its_server_and_none_of_its_addresses_and_secrets() -> Result<()>
    {
        let (args, effective) = serve(&[
            "--tenants=/t",
            "--http=0.0.0.0:80",
            "--max-body-bytes=7000",
            "--no-cage",
            "--threads=3",
            "--usage-header",
            "--response-cache-url=redis://:secret@h:1",
            "--worker-memory-bytes=1000000",
            "--memory-limit-bytes=9000000000",
            "--max-memory-bytes=4000000000",
            "--onnxruntime-library=/l/o.so",
            "--trusted-key=/a.pub,/b.pub",
            "models",
        ])?;
        let mut line = vec![OsString::from("wisp")];
        line.extend(arguments(&args, &effective));
        let text = format!("{line:?}");
        assert!(
            !text.contains("secret") && !text.contains("0.0.0.0"),
            "{text}"
        );
        let Command::Child(child) = parse(line)?.options.command else {
            bail!("{text}");
        };
        let ChildTask::Worker(worker) = child.task else {
            bail!("{text}");
        };
        assert_eq!(worker.max_body_bytes, 7000);
        assert!(worker.metering.usage_header);
        assert!(!worker.cage.is_caged());
        assert_eq!(worker.threads.map(|threads| threads.get()), Some(3));
        // Those of its process hold.
        let limits = [worker.memory_limit_bytes, worker.max_memory_bytes];
        assert_eq!(limits, [None, None]);
        assert_eq!(worker.repository, Path::new("models"));
        assert_eq!(worker.tenancy.tenants.as_deref(), Some(Path::new("/t")));
        assert_eq!(worker.upload.trusted_key.len(), 2);
        Ok(())
    }

    #[test]
    fn a_deploying_tenant_gets_a_worker_where_native_code_computes() -> Result<()> {
        let library = "--onnxruntime-library=/l/o.so";
        let empty = tempfile::tempdir()?;
        let cache = format!("--cache-dir={}", empty.path().display());
        let of = |arguments: &[&str]| Ok::<_, anyhow::Error>(owners(&serve(arguments)?.0));
        assert_eq!(of(&["--allow-upload", library, "."])?, Isolation::Worker);
        assert_eq!(of(&[library, "."])?, Isolation::Worker);
        let none = of(&["--allow-upload", &cache, "."])?;
        assert_eq!(none, Isolation::Shared);
        Ok(())
    }
}
