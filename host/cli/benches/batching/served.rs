//! A server of one model, with one backend and one setting of `batching`.

use crate::environment::root;
use crate::model::SERVED;
use crate::process::Server;
use anyhow::{Context, Result};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A model, and the backend that computes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Served<'a> {
    pub(crate) graph: &'a Path,
    pub(crate) backend: &'a str,
    /// The library of ONNX Runtime.
    pub(crate) library: &'a Path,
}

/// A running server, and its models.
pub(crate) struct Running {
    pub(crate) server: Server,
    directory: TempDir,
    library: PathBuf,
}

impl Served<'_> {
    /// Serves the model with this setting, a line of model.toml.
    pub(crate) fn start(&self, batching: &str) -> Result<Running> {
        let Served {
            graph,
            backend,
            library,
        } = *self;
        let directory = tempfile::tempdir_in(root()?.join("target"))?;
        let model = model(directory.path());
        std::fs::create_dir_all(model.join("1"))?;
        std::fs::copy(graph, model.join("1/model.onnx"))?;
        let settings = format!("backend = \"{backend}\"\nthreads = 1\n{batching}\n");
        std::fs::write(model.join("model.toml"), settings)?;
        let repository = repository(directory.path());
        let cache = cache(directory.path());
        let arguments: [&OsStr; 12] = [
            "serve".as_ref(),
            "--grpc".as_ref(),
            "none".as_ref(),
            "--http".as_ref(),
            "127.0.0.1:0".as_ref(),
            // 64 requests of the slowest model wait for seconds.
            "--request-timeout-milliseconds".as_ref(),
            "120000".as_ref(),
            "--onnxruntime-library".as_ref(),
            library.as_os_str(),
            "--cache-dir".as_ref(),
            cache.as_os_str(),
            repository.as_os_str(),
        ];
        Ok(Running {
            server: Server::start(env!("CARGO_BIN_EXE_wisp").as_ref(), &arguments)?,
            directory,
            library: library.to_owned(),
        })
    }
}

impl Running {
    /// Returns the explanation of the server's batching. `wisp check` finds the costs that the server has measured in
    /// its cache directory.
    pub(crate) fn batching(&self) -> Result<String> {
        let directory = self.directory.path();
        let mut check = Command::new(env!("CARGO_BIN_EXE_wisp"));
        check.arg("check").arg(model(directory));
        check.arg("--onnxruntime-library").arg(&self.library);
        check.arg("--cache-dir").arg(cache(directory));
        let output = check.output()?;
        let text = String::from_utf8(output.stdout)?;
        let mut lines = text.lines().map(str::trim_start);
        let batching = lines.find_map(|line| line.strip_prefix("batching "));
        let batching = batching.with_context(|| format!("no batching in {text}"))?;
        Ok(batching.trim_start().to_owned())
    }
}

fn repository(directory: &Path) -> PathBuf {
    directory.join("models")
}

fn model(directory: &Path) -> PathBuf {
    repository(directory).join(SERVED)
}

fn cache(directory: &Path) -> PathBuf {
    directory.join("cache")
}
