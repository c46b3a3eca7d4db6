//! The functions of the fuzz targets, on their seeds and on damaged ones: a short run without a fuzzer.
//!
//! `tests/fuzz/README.md` describes the targets. A failure reports the number of the case, from which the damage is
//! derived.

#![expect(
    unreachable_pub,
    reason = "these files are a library in the workspace of the fuzz targets"
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "a number is rounded to compare it with one that was read"
)]

#[path = "fuzz/src/models.rs"]
mod models;

#[path = "fuzz/src/config_text.rs"]
mod config_text;
#[path = "fuzz/src/content_coding.rs"]
mod content_coding;
#[path = "fuzz/src/golden_case.rs"]
mod golden_case;
#[path = "fuzz/src/grpc_limits.rs"]
mod grpc_limits;
#[path = "fuzz/src/grpc_v2.rs"]
mod grpc_v2;
#[path = "fuzz/src/load_request.rs"]
mod load_request;
#[path = "fuzz/src/model_outline.rs"]
mod model_outline;
#[path = "fuzz/src/predict_grpc.rs"]
mod predict_grpc;
#[path = "fuzz/src/predict_json.rs"]
mod predict_json;
#[path = "fuzz/src/release.rs"]
mod release;
#[path = "fuzz/src/route.rs"]
mod route;
#[path = "fuzz/src/tfs_grpc.rs"]
mod tfs_grpc;
#[path = "fuzz/src/tfs_json.rs"]
mod tfs_json;
#[path = "fuzz/src/v2_binary.rs"]
mod v2_binary;
#[path = "fuzz/src/v2_control.rs"]
mod v2_control;
#[path = "fuzz/src/v2_json.rs"]
mod v2_json;

use crate::harness::numbers::Numbers;
use crate::harness::{root, scale};
use crate::python;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::path::Path;
use std::process::Command;

/// The number of damaged seeds for each target, at scale 1.
const DAMAGED: usize = 300;

/// The longest seed that is damaged, in bytes, as for the fuzzer.
const MAX_BYTES: usize = 8192;

/// A target with its name.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 16] = [
    ("config_text", config_text::run),
    ("content_coding", content_coding::run),
    ("golden_case", golden_case::run),
    ("grpc_limits", grpc_limits::run),
    ("grpc_v2", grpc_v2::run),
    ("load_request", load_request::run),
    ("model_outline", model_outline::run),
    ("predict_grpc", predict_grpc::run),
    ("predict_json", predict_json::run),
    ("release", release::run),
    ("route", route::run),
    ("tfs_grpc", tfs_grpc::run),
    ("tfs_json", tfs_json::run),
    ("v2_binary", v2_binary::run),
    ("v2_control", v2_control::run),
    ("v2_json", v2_json::run),
];

/// Returns the seeds of a target, in order.
fn seeds(corpus: &Path, target: &str) -> Result<Vec<Vec<u8>>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(corpus.join(target)).context("no seeds")? {
        paths.push(entry?.path());
    }
    paths.sort();
    let mut seeds = Vec::new();
    for path in paths {
        seeds.push(std::fs::read(path)?);
    }
    Ok(seeds)
}

/// Runs a target, whose panic is an error.
fn holds(target: fn(&[u8]), input: &[u8]) -> Result<()> {
    let outcome = catch_unwind(|| target(input));
    let shown = String::from_utf8_lossy(input.get(..200).unwrap_or(input)).into_owned();
    ensure!(
        outcome.is_ok(),
        "it panics with an input that begins {shown:?}"
    );
    Ok(())
}

#[test]
fn every_target_holds_for_its_seeds_and_for_damaged_ones() -> Result<()> {
    let corpus = tempfile::tempdir()?;
    let mut program = Command::new("python3");
    program
        .arg(root().join("tests/fuzz/seed.py"))
        .arg(corpus.path());
    python::succeed(&mut program)?;
    for (name, target) in TARGETS {
        let seeds = seeds(corpus.path(), name).context(name)?;
        ensure!(!seeds.is_empty(), "{name} has no seeds");
        for (number, seed) in seeds.iter().enumerate() {
            holds(target, seed).with_context(|| format!("{name}, seed {number}"))?;
        }
        for case in 0..DAMAGED * scale() {
            let mut numbers = Numbers::of(case);
            let mut input = seeds[numbers.below(seeds.len())].clone();
            input.truncate(MAX_BYTES);
            numbers.damage(&mut input);
            holds(target, &input).with_context(|| format!("{name}, case {case}"))?;
        }
    }
    Ok(())
}

#[test]
fn every_target_is_built_described_and_run_each_night() -> Result<()> {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).context(path.to_owned());
    let manifest: toml::Table = toml::from_str(&read("tests/fuzz/Cargo.toml")?)?;
    let binaries = manifest["bin"].as_array().context("no targets")?;
    let built: BTreeSet<&str> = (binaries.iter())
        .filter_map(|binary| binary.get("name")?.as_str())
        .collect();
    let known: BTreeSet<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    ensure!(built == known, "{built:?} are built, {known:?} are run");
    let readme = read("tests/fuzz/README.md")?;
    let nightly = read(".github/workflows/nightly.yml")?;
    for name in known {
        ensure!(
            readme.contains(&format!("| `{name}` |")),
            "{name} is not described"
        );
        ensure!(
            nightly.contains(&format!("- {name}\n")),
            "{name} is not run"
        );
    }
    Ok(())
}
