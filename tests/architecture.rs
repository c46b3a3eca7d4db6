//! Tests of the architecture rules that Cargo cannot check: the places of foreign crates, sizes, names,
//! docs.

use crate::harness::root;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};

/// File names that do not describe the contents of a file.
const BANNED_NAMES: [&str; 16] = [
    "util", "utils", "common", "helper", "helpers", "misc", "manager", "impl", "data", "info",
    "wrapper", "base", "core", "mod", "ext", "host",
];

/// The only files that may contain `unsafe`.
const UNSAFE_FILES: [&str; 2] = [
    "host/sandbox/src/aot.rs",
    "host/backend/src/onnxruntime/interface.rs",
];

/// Foreign crates, and the paths below `host/` in which their types may appear.
const ROOMS: [(&str, &[&str]); 39] = [
    ("hyper_util", &["server"]),
    ("hyper", &["server"]),
    ("socket2", &["server"]),
    ("signal_hook", &["cli"]),
    ("tikv_jemallocator", &["cli"]),
    ("http_body", &["server"]),
    ("http_body_util", &["server"]),
    ("http", &["protocol", "server"]),
    ("serde", &["protocol", "serving/src/registry", "cli"]),
    ("serde_json", &["protocol", "cli"]),
    ("jiter", &["protocol"]),
    ("base64", &["protocol"]),
    (
        "flate2",
        &["protocol", "backend/src/tract", "server/build.rs"],
    ),
    ("zip", &["server/build.rs", "cli/src/backend"]),
    ("utoipa_swagger_ui_vendored", &["server/build.rs"]),
    ("prost_types", &["protocol", "server"]),
    ("tonic", &["server"]),
    ("tonic_health", &["server"]),
    ("tonic_reflection", &["server"]),
    ("tower_service", &["server"]),
    ("tokio_rustls", &["server/src"]),
    ("rustls", &["server/src"]),
    ("tokio_stream", &["server"]),
    ("toml", &["serving/src/registry", "cli"]),
    ("wasmtime", &["sandbox"]),
    ("wasmparser", &["sandbox", "cli"]),
    ("wit_component", &["cli"]),
    ("ureq", &["cli/src/backend"]),
    ("url", &["cli/src/backend", "cli/src/options/backend.rs"]),
    ("indicatif", &["cli/src/backend"]),
    ("sha2", &["cli/src/backend"]),
    ("tract_onnx", &["backend/src/tract", "backend/src/onnx"]),
    ("tract_nnef", &["backend/src/tract"]),
    ("tract_cuda", &["backend/src/tract"]),
    ("ort", &["backend/src/onnxruntime"]),
    ("clap", &["cli"]),
    ("strsim", &["cli/src/configuration"]),
    ("anyhow", &["cli"]),
    ("tokio", &["serving", "server", "cli", "sandbox"]),
];

/// The crates in the order of their dependencies. A crate may not depend on one that follows it.
const CRATES: [&str; 7] = [
    "tensor", "backend", "sandbox", "protocol", "serving", "server", "cli",
];

struct Source {
    /// The path relative to the repository's root.
    path: String,
    text: String,
}

/// Returns every Rust file below these directories.
fn sources(directories: &[&str]) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for directory in directories {
        collect(&root().join(directory), &mut sources)?;
    }
    ensure!(!sources.is_empty(), "no sources below {directories:?}");
    Ok(sources)
}

fn collect(directory: &Path, sources: &mut Vec<Source>) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() && name != "target" && name != "templates" {
            collect(&path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root())?.to_str().context("not UTF-8")?;
            sources.push(Source {
                path: relative.to_owned(),
                text: std::fs::read_to_string(&path)?,
            });
        }
    }
    Ok(())
}

impl Source {
    /// Returns whether the file belongs to tests, benchmarks or examples, which may use any crate.
    fn is_test(&self) -> bool {
        let places = ["/tests/", "/benches/", "/examples/"];
        self.stem() == "tests" || places.iter().any(|place| self.path.contains(place))
    }

    fn stem(&self) -> String {
        let path = PathBuf::from(&self.path);
        path.file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// Returns the lines before the file's own tests.
    fn code(&self) -> impl Iterator<Item = &str> {
        self.text.lines().take_while(|line| *line != "mod tests {")
    }

    /// Returns whether a line of code, not of a comment, names an item of this crate.
    fn uses(&self, krate: &str) -> bool {
        let path = format!("{krate}::");
        self.code()
            .filter(|line| !line.trim_start().starts_with("//"))
            .any(|line| {
                line.match_indices(&path).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':' && c != '$')
                })
            })
    }
}

#[test]
fn every_file_says_what_it_is_for() -> Result<()> {
    for source in sources(&["host", "guest-models", "tests"])? {
        ensure!(
            source.text.starts_with("//!"),
            "{} has no module doc",
            source.path
        );
    }
    Ok(())
}

#[test]
fn no_file_is_longer_than_600_lines() -> Result<()> {
    for source in sources(&["host", "guest-models"])? {
        let lines = source.code().count();
        ensure!(
            lines <= 600 || source.is_test(),
            "{} has {lines} lines",
            source.path
        );
    }
    Ok(())
}

#[test]
fn no_file_has_a_name_that_says_nothing() -> Result<()> {
    for source in sources(&["host", "guest-models", "tests"])? {
        let stem = source.stem();
        let parts: Vec<_> = stem.split('_').collect();
        let banned = parts.iter().find(|part| BANNED_NAMES.contains(part));
        ensure!(
            banned.is_none(),
            "{}: `{banned:?}` says nothing",
            source.path
        );
    }
    Ok(())
}

#[test]
fn unsafe_code_is_in_the_named_files_only() -> Result<()> {
    for source in sources(&["host"])? {
        let unsafe_code = source.text.lines().any(|line| {
            let line = line.trim_start();
            let starts = [
                "unsafe {",
                "unsafe fn",
                "unsafe impl",
                "unsafe extern",
                "unsafe trait",
            ];
            !line.starts_with("//") && starts.iter().any(|start| line.contains(start))
        });
        ensure!(
            !unsafe_code || UNSAFE_FILES.contains(&source.path.as_str()),
            "{} has unsafe code",
            source.path
        );
    }
    Ok(())
}

#[test]
fn machine_code_is_loaded_in_one_place() -> Result<()> {
    let mut calls = Vec::new();
    for source in sources(&["host"])? {
        let count = source.text.matches("Component::deserialize").count()
            + source.text.matches("Module::deserialize").count();
        calls.extend(std::iter::repeat_n(source.path, count));
    }
    ensure!(calls == ["host/sandbox/src/aot.rs"], "{calls:?}");
    Ok(())
}

#[test]
fn foreign_crates_stay_in_their_rooms() -> Result<()> {
    for source in sources(&["host"])? {
        for (krate, rooms) in ROOMS {
            let allowed = rooms
                .iter()
                .any(|room| source.path.starts_with(&format!("host/{room}")));
            ensure!(
                allowed || source.is_test() || !source.uses(krate),
                "{} uses {krate}, which belongs to {rooms:?}",
                source.path
            );
        }
    }
    Ok(())
}

#[test]
fn dependencies_point_one_way() -> Result<()> {
    for (position, krate) in CRATES.iter().enumerate() {
        let manifest = std::fs::read_to_string(root().join(format!("host/{krate}/Cargo.toml")))?;
        for later in &CRATES[position + 1..] {
            ensure!(
                !manifest.contains(&format!("wisp-{later}")),
                "{krate} depends on {later}"
            );
        }
    }
    let protocol = std::fs::read_to_string(root().join("host/protocol/Cargo.toml"))?;
    for stranger in ["wisp-backend", "wisp-sandbox"] {
        ensure!(!protocol.contains(stranger), "protocol knows {stranger}");
    }
    // The sandbox computes through a trait of its own, which backends do not implement.
    let sandbox = std::fs::read_to_string(root().join("host/sandbox/Cargo.toml"))?;
    ensure!(!sandbox.contains("wisp-backend"), "sandbox knows backend");
    Ok(())
}

#[test]
fn every_source_that_a_model_names_exists() -> Result<()> {
    for entry in std::fs::read_dir(root().join("examples"))? {
        let file = entry?.path().join("model.toml");
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        let source = text
            .lines()
            .find_map(|line| line.strip_prefix("source = \""));
        let source = source.and_then(|rest| rest.strip_suffix('"'));
        let source = source.with_context(|| format!("{} names no source", file.display()))?;
        let manifest = file.with_file_name("").join(source).join("Cargo.toml");
        ensure!(manifest.is_file(), "{} does not exist", manifest.display());
    }
    Ok(())
}
