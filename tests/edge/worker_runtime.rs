//! The program workerd, and the configuration with which it serves a Worker.
//!
//! The benchmark of edge bundles uses this file too, so it refers to no other one of the tests.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Returns the program, which is in a package for the platform, among these packages of npm.
pub(super) fn workerd(packages: &Path) -> Result<PathBuf> {
    let package = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => "workerd-linux-64",
        ("linux", "aarch64") => "workerd-linux-arm64",
        ("macos", "x86_64") => "workerd-darwin-64",
        ("macos", "aarch64") => "workerd-darwin-arm64",
        (os, arch) => bail!("there is no workerd for {os} on {arch}"),
    };
    Ok(packages
        .join("@cloudflare")
        .join(package)
        .join("bin/workerd"))
}

/// Returns the port in a message of workerd, such as `{"event":"listen","socket":"http","port":40001}`.
pub(super) fn port(line: &str) -> Option<u16> {
    let message: Value = serde_json::from_str(line).ok()?;
    let port = (message["event"] == "listen").then(|| message["port"].as_u64())?;
    u16::try_from(port?).ok()
}

/// Returns the configuration with which workerd serves the files that `wrangler` would upload.
pub(super) fn configuration(worker: &Path) -> Result<String> {
    let manifest: toml::Table = std::fs::read_to_string(worker.join("wrangler.toml"))?.parse()?;
    let text = |key: &str| {
        manifest
            .get(key)
            .and_then(toml::Value::as_str)
            .context("no text")
    };
    let main = text("main")?;
    let mut modules = format!("(name = \"{main}\", esModule = embed \"{main}\"),\n");
    let mut names: Vec<_> = std::fs::read_dir(worker)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    names.sort();
    for name in names.iter().filter(|name| *name != main) {
        let kind = match name.rsplit_once('.') {
            Some((_, "js")) => "esModule",
            Some((_, "wasm")) => "wasm",
            _ => continue,
        };
        writeln!(modules, "(name = \"{name}\", {kind} = embed \"{name}\"),")?;
    }
    Ok(format!(
        "using Workerd = import \"/workerd/workerd.capnp\";
const config :Workerd.Config = (
  services = [(name = \"main\", worker = .worker)],
  sockets = [(name = \"http\", address = \"127.0.0.1:0\", http = (), service = \"main\")],
);
const worker :Workerd.Worker = (
  compatibilityDate = \"{}\",
  modules = [
{modules}  ],
);
",
        text("compatibility_date")?
    ))
}
