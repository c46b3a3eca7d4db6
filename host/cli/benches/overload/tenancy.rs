//! Tenants of a server: their keys, their levels of isolation, and a model of each.

use crate::process::Server;
use crate::repository::Repository;
use crate::{request, server};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The levels of isolation that are compared. `cordon` is between them.
pub(crate) const LEVELS: [&str; 2] = ["shared", "worker"];

/// A directory of tenants, which is deleted with its repository.
#[derive(Debug)]
pub(crate) struct Tenancy {
    directory: PathBuf,
    keys: BTreeMap<String, String>,
}

/// A worker process of a tenant.
#[derive(Debug)]
pub(crate) struct Worker {
    /// Resident memory in bytes, and the part of it that belongs to files such as the program, which processes share.
    pub(crate) resident: f64,
    pub(crate) of_files: f64,
}

impl Tenancy {
    /// Adds tenants with the role `deploy`, each with its name and its level of isolation. `name` is the directory's.
    pub(crate) fn create(
        repository: &Repository,
        name: &str,
        tenants: &[(&str, &str)],
    ) -> Result<Tenancy> {
        let directory = repository.tenants(name);
        let graph = repository.models().join("progression/1/model.onnx");
        let mut keys = BTreeMap::new();
        for (id, level) in tenants {
            let mut command = Command::new(server::program());
            command
                .args(["tenant", "add", id])
                .args(["--role", "deploy", "--isolation", level])
                .arg("--tenants")
                .arg(&directory);
            let output = command.output().context("wisp tenant")?;
            let error = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{error}");
            let key = String::from_utf8(output.stdout)?.trim().to_owned();
            keys.insert((*id).to_owned(), key);
            let own = directory.join("tenants").join(id).join("models/own/1");
            fs::create_dir_all(&own)?;
            fs::copy(&graph, own.join("model.onnx"))?;
        }
        Ok(Tenancy { directory, keys })
    }

    /// Starts a server with these tenants.
    pub(crate) fn start(&self, repository: &Repository) -> Result<Server> {
        let directory = self.directory.to_str().context("no Unicode")?;
        let options = ["--tenants", directory];
        server::start(repository, &repository.models(), &options)
    }

    /// Returns the request as one of a tenant.
    pub(crate) fn of(&self, id: &str, request: &[u8]) -> Result<Vec<u8>> {
        let key = self.keys.get(id).with_context(|| id.to_owned())?;
        Ok(request::with_key(request, key))
    }

    /// Returns the worker processes that the server of these tenants has started.
    pub(crate) fn workers(&self) -> Result<Vec<Worker>> {
        let directory = format!("--tenants={}", self.directory.display());
        let mut workers = Vec::new();
        for process in fs::read_dir("/proc")? {
            let process = process?.path();
            // Most are no processes, or end meanwhile.
            let Ok(line) = fs::read(process.join("cmdline")) else {
                continue;
            };
            let line = String::from_utf8_lossy(&line).into_owned();
            let words: Vec<&str> = line.split('\0').skip(1).collect();
            if words.starts_with(&["child-process", "worker"]) && words.contains(&&*directory) {
                workers.push(Worker::of(&fs::read_to_string(process.join("statm"))?)?);
            }
        }
        Ok(workers)
    }
}

impl Worker {
    /// Reads the sizes of a process as the kernel shows them, in pages of 4 KiB.
    fn of(sizes: &str) -> Result<Worker> {
        let pages = |place: usize| -> Result<f64> {
            let pages = sizes.split_whitespace().nth(place).context("no size")?;
            Ok(pages.parse::<f64>()? * 4096.0)
        };
        Ok(Worker {
            resident: pages(1)?,
            of_files: pages(2)?,
        })
    }
}
