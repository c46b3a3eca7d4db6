//! The servers, each with one model and no handler: Wisp with either backend, FastAPI and MLServer with
//! onnxruntime.

use crate::environment::{self, Environment, Packages, root, scripts};
use crate::model::SERVED;
use crate::process::Server;
use anyhow::Result;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The environments that the benchmark installs.
pub(crate) struct Installed {
    /// Creates the models, and runs onnxruntime directly.
    pub(crate) models: Environment,
    fastapi: Environment,
    mlserver: Environment,
    /// onnxruntime's shared library, the same file that Python loads.
    library: PathBuf,
}

/// All servers with the same model, idle between requests.
pub(crate) struct Servers {
    pub(crate) onnxruntime: Wisp,
    pub(crate) tract: Wisp,
    pub(crate) fastapi: Server,
    pub(crate) mlserver: Server,
}

/// A Wisp server and the repository that it serves.
pub(crate) struct Wisp {
    pub(crate) server: Server,
    _repository: TempDir,
}

impl Installed {
    pub(crate) fn install() -> Result<Installed> {
        let peer = |name: &str| {
            let list = &scripts("peers").join(format!("{name}.txt"));
            let complete = false;
            Environment::install(name, Packages { list, complete })
        };
        let list = &scripts("models").join("models.txt");
        let complete = true;
        let models = Environment::install("models", Packages { list, complete })?;
        Ok(Installed {
            library: models.onnxruntime_library()?,
            models,
            fastapi: peer("fastapi")?,
            mlserver: peer("mlserver")?,
        })
    }
}

impl Servers {
    pub(crate) fn start(installed: &Installed, model: &Path) -> Result<Servers> {
        let scripts = scripts("models");
        let mut fastapi = installed.fastapi.command("uvicorn", &scripts);
        fastapi.env("BENCH_MODEL", model);
        let mut mlserver = installed.mlserver.command("mlserver", &scripts);
        mlserver.env("BENCH_MODEL", model);
        let settings = scripts.join("mlserver");
        Ok(Servers {
            onnxruntime: Wisp::start("onnxruntime", model, &installed.library)?,
            tract: Wisp::start("tract", model, &installed.library)?,
            fastapi: environment::uvicorn(&mut fastapi, "fastapi_model:app")?,
            mlserver: environment::mlserver(&mut mlserver, &settings, SERVED)?,
        })
    }
}

impl Wisp {
    fn start(backend: &str, model: &Path, library: &Path) -> Result<Wisp> {
        let repository = tempfile::tempdir_in(root()?.join("target"))?;
        let served = repository.path().join(SERVED);
        std::fs::create_dir_all(served.join("1"))?;
        std::fs::hard_link(model.join("model.onnx"), served.join("1/model.onnx"))?;
        let settings = format!("backend = \"{backend}\"\nthreads = 1\ninstances = 1\n");
        std::fs::write(served.join("model.toml"), settings)?;
        let arguments: [&OsStr; 8] = [
            "serve".as_ref(),
            "--grpc".as_ref(),
            "none".as_ref(),
            "--http".as_ref(),
            "127.0.0.1:0".as_ref(),
            "--onnxruntime-library".as_ref(),
            library.as_os_str(),
            repository.path().as_os_str(),
        ];
        Ok(Wisp {
            server: Server::start(env!("CARGO_BIN_EXE_wisp").as_ref(), &arguments)?,
            _repository: repository,
        })
    }
}
