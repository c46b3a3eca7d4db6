//! The other model servers, each with the model `wine` and its own environment.

use crate::environment::{self, Environment, Packages, free_port, root, scripts};
use crate::process::Server;
use anyhow::Result;
use std::process::Command;

/// The environments of the servers. Each server has its own, because their package lists conflict.
pub(crate) struct Peers {
    fastapi: Environment,
    mlserver: Environment,
    kserve: Environment,
}

impl Peers {
    pub(crate) fn install() -> Result<Peers> {
        let install = |name: &str| {
            let list = &scripts("peers").join(format!("{name}.txt"));
            let complete = false;
            Environment::install(name, Packages { list, complete })
        };
        Ok(Peers {
            fastapi: install("fastapi")?,
            mlserver: install("mlserver")?,
            kserve: install("kserve")?,
        })
    }

    pub(crate) fn fastapi(&self) -> Result<Server> {
        environment::uvicorn(&mut wine(&self.fastapi, "uvicorn")?, "fastapi_wine:app")
    }

    pub(crate) fn mlserver(&self) -> Result<Server> {
        let directory = scripts("peers").join("mlserver");
        environment::mlserver(&mut wine(&self.mlserver, "mlserver")?, &directory, "wine")
    }

    pub(crate) fn kserve(&self) -> Result<Server> {
        let [port, grpc] = [free_port()?, free_port()?];
        let mut command = wine(&self.kserve, "python")?;
        command.arg("kserve_wine.py");
        command.args(["--http_port", &port.to_string()]);
        command.args(["--grpc_port", &grpc.to_string()]);
        let server = environment::start(&mut command, port, "/v2/models/wine/ready")?;
        Ok(server.with_grpc(grpc))
    }
}

/// Returns a command for a program that imports `wine.py`.
fn wine(environment: &Environment, program: &str) -> Result<Command> {
    let root = root()?;
    let mut command = environment.command(program, &scripts("peers"));
    command.env("WINE_MODEL", root.join("examples/wine/1/model.onnx"));
    let features = root.join("guest-models/wine/src/features.rs");
    command.env("WINE_FEATURES", features);
    Ok(command)
}
