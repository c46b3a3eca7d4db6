//! Runs the commands of a page with bash, in one session and in the order of the page, in a directory that
//! looks like a checkout of the repository whose example handlers are built.
//!
//! `terminal.sh` stands in for what a reader has: `wisp`, a server on port 8000, and Python with the clients.

use super::cache;
use super::page::{Language, Page};
use crate::harness::{component, root};
use crate::{minisign, python};
use anyhow::{Context, Result, bail};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The time that the commands of one page may take, as for `timeout`. A page may build a handler, for which
/// Cargo compiles its dependencies once.
const DEADLINE: &str = "20m";

/// The example handlers that have a component here.
const HANDLERS: [&str; 4] = ["digits", "embed", "progression", "wine"];

/// Variables of the outer cargo, which do not apply to a reader's.
const FOREIGN_VARIABLES: [&str; 5] = [
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "RUST_LOG",
];

/// Runs all blocks of a page that are run. Returns the standard output of each, by its index.
pub(super) fn run(page: &Page) -> Result<HashMap<usize, String>> {
    let name = page.path.replace(['/', '.'], "-");
    let _guard = python::lock(&format!("book-{name}"))?;
    let checkout = checkout(&name)?;
    let script = checkout.join("page.sh");
    fs::write(&script, script_of(page))?;
    // Bash and its children are one process group, which `timeout` ends as a whole.
    let mut bash = Command::new("timeout");
    bash.args(["--kill-after=30", DEADLINE, "bash"])
        .arg(&script)
        .current_dir(&checkout)
        .env("OUTPUT", checkout.join("output"))
        .env("WISP_BINARY", env!("CARGO_BIN_EXE_wisp"))
        .env("WISP_EDGE_MODULES", wisp_artifacts::EDGE_MODULES)
        .env("WISP_PYTHON", python::executable()?)
        .env("WISP_WHEEL", python::onnxruntime_wheel()?)
        .env("XDG_CACHE_HOME", cache_of(page, &checkout))
        .env("NO_PROXY", "127.0.0.1,localhost")
        .env("no_proxy", "127.0.0.1,localhost");
    for variable in FOREIGN_VARIABLES {
        bash.env_remove(variable);
    }
    if runs(page, "minisign") {
        let (program, libraries) = minisign::program()?;
        bash.env("WISP_MINISIGN", program)
            .env("WISP_MINISIGN_LIBRARIES", libraries);
    }
    let output = bash.output().context("failed to run `timeout`")?;
    let printed_by = |index: usize| {
        let file = checkout.join("output").join(index.to_string());
        fs::read_to_string(file)
    };
    if !output.status.success() {
        let last = fs::read_to_string(checkout.join("output/last")).unwrap_or_default();
        let last = last.parse().unwrap_or(0);
        bail!(
            "{}: {}\n{}\n{}",
            page.blocks[last].place,
            output.status,
            String::from_utf8_lossy(&output.stderr).trim(),
            printed_by(last).unwrap_or_default().trim(),
        );
    }
    let indexes = page.blocks.iter().enumerate();
    let indexes = indexes.filter_map(|(index, block)| block.is_run().then_some(index));
    indexes
        .map(|index| Ok((index, printed_by(index)?)))
        .collect()
}

/// Returns the cache directory for a page. A page that installs a backend has its own.
fn cache_of(page: &Page, checkout: &Path) -> PathBuf {
    match runs(page, "backend install") {
        true => checkout.join("cache"),
        false => cache().to_owned(),
    }
}

/// Returns whether a block of the page that is run contains this command.
fn runs(page: &Page, command: &str) -> bool {
    let mut blocks = page.blocks.iter().filter(|block| block.is_run());
    blocks.any(|block| block.code.contains(command))
}

/// Returns the script that runs the page's blocks.
fn script_of(page: &Page) -> String {
    let mut script = format!(". '{}'\n", root().join("tests/book/terminal.sh").display());
    if requests_before_serving(page) {
        script += "wisp serve examples\n";
    }
    for (index, block) in page.blocks.iter().enumerate().filter(|(_, b)| b.is_run()) {
        let code = match block.language {
            Language::Python => format!("python <<'PROGRAM'\n{}PROGRAM\n", block.code),
            _ => block.code.clone(),
        };
        script += &format!("printf {index} >\"$OUTPUT/last\"\n");
        script += &format!("{{\n{code}}} >\"$OUTPUT/{index}\"\n");
    }
    script
}

/// Returns whether the page sends a request before it starts a server: then one of the examples is expected.
fn requests_before_serving(page: &Page) -> bool {
    let blocks = page.blocks.iter().filter(|block| block.is_run());
    for block in blocks {
        for line in block.code.lines() {
            if line.contains(" serve ") {
                return false;
            }
            if block.language == Language::Python || line.contains("curl ") {
                return true;
            }
        }
    }
    false
}

/// Creates a directory with the parts of the repository that the pages use.
fn checkout(name: &str) -> Result<PathBuf> {
    // The same path for each run, so that Cargo compiles nothing twice.
    let checkout = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("book")
        .join(name);
    if checkout.exists() {
        fs::remove_dir_all(&checkout)?;
    }
    fs::create_dir_all(checkout.join("output"))?;
    for directory in ["examples", "guest-models", "wit"] {
        copy(&root().join(directory), &checkout.join(directory))?;
    }
    let built = Path::new(wisp_artifacts::TARGET_DIRECTORY);
    let records = Path::new("wasm32-unknown-unknown/release");
    fs::create_dir_all(checkout.join("guest-models/target").join(records))?;
    for handler in HANDLERS {
        // The records of Cargo about a build. `wisp serve --build` finds the components newer than the sources.
        let record = records.join(format!("{handler}.d"));
        let target = checkout.join("guest-models/target").join(&record);
        fs::copy(built.join(&record), target).with_context(|| handler.to_owned())?;
        let version = checkout.join("examples").join(handler).join("1");
        fs::create_dir_all(&version)?;
        fs::copy(component(handler)?, version.join("handler.wasm"))?;
    }
    share_target_directory(&checkout)?;
    Ok(checkout)
}

/// Lets the projects in a directory use the dependencies that were compiled for the guests, which are the
/// same.
pub(super) fn share_target_directory(directory: &Path) -> Result<()> {
    let settings = format!(
        "[build]\ntarget-dir = {:?}\n",
        wisp_artifacts::TARGET_DIRECTORY
    );
    fs::create_dir_all(directory.join(".cargo"))?;
    fs::write(directory.join(".cargo/config.toml"), settings)?;
    Ok(())
}

/// Copies a directory without build results.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if name == "target" || name == "handler.wasm" || name == "__pycache__" {
            continue;
        }
        let to = to.join(name);
        if path.is_dir() {
            copy(&path, &to)?;
        } else if fs::metadata(&path)?.len() < 16 << 20 {
            fs::copy(&path, &to)?;
        }
    }
    Ok(())
}
