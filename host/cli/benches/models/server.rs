//! The servers, each with one model and no handler: Wisp with each backend, and its peers, FastAPI and MLServer with
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
    /// The environments of FastAPI and MLServer, if they are compared.
    peers: Option<(Environment, Environment)>,
    /// onnxruntime's shared library, the same file that Python loads.
    library: PathBuf,
}

/// All servers with the same model, idle between requests.
pub(crate) struct Servers {
    pub(crate) onnxruntime: Wisp,
    pub(crate) tract: Wisp,
    pub(crate) rten: Wisp,
    pub(crate) peers: Option<Peers>,
}

/// The servers that Wisp is compared with.
pub(crate) struct Peers {
    pub(crate) fastapi: Server,
    pub(crate) mlserver: Server,
}

/// A Wisp server and the repository that it serves.
pub(crate) struct Wisp {
    pub(crate) server: Server,
    _repository: TempDir,
}

impl Installed {
    /// Installs the requirements of models that the peers serve too.
    pub(crate) fn install(with_peers: bool) -> Result<Installed> {
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
            peers: match with_peers {
                true => Some((peer("fastapi")?, peer("mlserver")?)),
                false => None,
            },
        })
    }
}

impl Servers {
    /// Starts the servers, with the peers if they are wanted and installed.
    pub(crate) fn start(installed: &Installed, model: &Path, with_peers: bool) -> Result<Servers> {
        let peers = installed.peers.as_ref().filter(|_| with_peers);
        Ok(Servers {
            onnxruntime: Wisp::start("onnxruntime", model, &installed.library)?,
            tract: Wisp::start("tract", model, &installed.library)?,
            rten: Wisp::start("rten", model, &installed.library)?,
            peers: peers.map(|peers| Peers::start(peers, model)).transpose()?,
        })
    }
}

impl Peers {
    fn start((fastapi, mlserver): &(Environment, Environment), model: &Path) -> Result<Peers> {
        let scripts = scripts("models");
        let mut fastapi = fastapi.command("uvicorn", &scripts);
        fastapi.env("BENCH_MODEL", model);
        let mut mlserver = mlserver.command("mlserver", &scripts);
        mlserver.env("BENCH_MODEL", model);
        let settings = scripts.join("mlserver");
        Ok(Peers {
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
        let arguments: [&OsStr; 9] = [
            "serve".as_ref(),
            // A backend that refuses the model does not take part.
            "--no-exit-on-error".as_ref(),
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
