//! Builds every guest once, in a separate workspace and target directory, and converts the guests to
//! components. A guest that does not build is a compile error of the tests.

use anyhow::{Context, Result, ensure};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const TARGET: &str = "wasm32-unknown-unknown";

/// The guest crates with what only the SDK's default features and `image` import.
const GUESTS: [&str; 6] = [
    "digits",
    "embed",
    "hostile_guest",
    "initialized_guest",
    "progression",
    "wine",
];

/// The guest crates with the SDK's feature `getrandom`. Cargo would enable it for all that it builds in the same
/// call, and they would all import random numbers.
const GUESTS_WITH_RANDOM: [&str; 2] = ["granted_guest", "tokenize"];

fn main() -> Result<()> {
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let root = manifest
        .ancestors()
        .nth(2)
        .context("the crate lies two levels below the root")?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    for source in [
        "guest-models",
        "tests/granted_guest",
        "tests/hostile_guest",
        "tests/initialized_guest",
        "wit",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    ensure_target()?;
    // Below OUT_DIR: with a shared target directory, the inner cargo would wait forever for the outer
    // one's lock.
    let target_directory = out.join("target");
    let workspace = root.join("guest-models");
    build(&workspace, &target_directory, &GUESTS)?;
    build(&workspace, &target_directory, &GUESTS_WITH_RANDOM)?;
    let mut constants = String::new();
    for guest in GUESTS.into_iter().chain(GUESTS_WITH_RANDOM) {
        let module = target_directory
            .join(TARGET)
            .join(format!("release/{guest}.wasm"));
        let component = out.join(format!("{guest}.wasm"));
        componentize(&module, &component).with_context(|| format!("guest `{guest}`"))?;
        writeln!(
            constants,
            "/// The component of the guest `{guest}`.\npub const {}: &str = {component:?};",
            guest.to_uppercase()
        )?;
    }
    fs::write(out.join("guests.rs"), constants)?;
    Ok(())
}

/// Adds the target to the toolchain if it is missing. A toolchain without rustup may already have it.
fn ensure_target() -> Result<()> {
    let rustc = env::var("RUSTC")?;
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()?;
    let directory = String::from_utf8(output.stdout)?;
    if Path::new(directory.trim()).is_dir() {
        return Ok(());
    }
    let status = Command::new("rustup")
        .args(["target", "add", TARGET])
        .status()
        .with_context(|| {
            format!("the target {TARGET} is missing, and there is no rustup to add it")
        })?;
    ensure!(status.success(), "`rustup target add {TARGET}` failed");
    Ok(())
}

fn build(workspace: &Path, target_directory: &Path, guests: &[&str]) -> Result<()> {
    let mut cargo = Command::new(env::var("CARGO")?);
    cargo
        .current_dir(workspace)
        // Guests are linted on their own.
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .args(["build", "--release", "--locked", "--target", TARGET])
        .arg("--target-dir")
        .arg(target_directory);
    for guest in guests {
        cargo.args(["--package", *guest]);
    }
    // The settings of the outer cargo for its own compilers are wrong for guests.
    for variable in [
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTFLAGS",
        "CARGO_TARGET_DIR",
    ] {
        cargo.env_remove(variable);
    }
    let status = cargo.status().context("failed to run cargo")?;
    ensure!(status.success(), "the guests do not build");
    Ok(())
}

fn componentize(module: &Path, component: &Path) -> Result<()> {
    let module =
        fs::read(module).with_context(|| format!("failed to read {}", module.display()))?;
    let bytes = wit_component::ComponentEncoder::default()
        .validate(true)
        .module(&module)?
        .encode()?;
    // Unchanged components keep their modification time, so that their dependents are not rebuilt.
    if fs::read(component).ok().as_deref() != Some(bytes.as_slice()) {
        fs::write(component, bytes)?;
    }
    Ok(())
}
