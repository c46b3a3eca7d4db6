//! Builds every guest once, in a separate workspace and target directory, and converts the guests to
//! components, except for the modules of edge bundles. A guest that does not build is a compile error of the tests.

use anyhow::{Context, Result, ensure};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const TARGET: &str = "wasm32-unknown-unknown";

/// The guest crates with what only the SDK's default features and `image` import.
const GUESTS: [&str; 8] = [
    "digits",
    "embed",
    "ensemble_guest",
    "hello_guest",
    "initialized_guest",
    "progression",
    "web_guest",
    "wine",
];

/// The modules of edge bundles, by the directories of their crates in `guest-models/edge`.
const EDGE_MODULES: [&str; 4] = ["http-adapter", "nn-rten", "nn-rten-small", "nn-tract"];

/// The crates of the host that the modules of edge bundles link.
const LINKED_CRATES: [&str; 4] = ["backend", "edge", "protocol", "tensor"];

/// The guest crates with the SDK's feature `getrandom`. Cargo would enable it for all that it builds in the same
/// call, and they would all import random numbers.
const GUESTS_WITH_RANDOM: [&str; 2] = ["granted_guest", "tokenize"];

/// The guest crates with the SDK's feature `log`, which the others are built without for the same reason.
const GUESTS_WITH_LOG: [&str; 1] = ["hostile_guest"];

fn main() -> Result<()> {
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let root = manifest
        .ancestors()
        .nth(2)
        .context("the crate lies two levels below the root")?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    for source in [
        "guest-models",
        "tests/ensemble_guest",
        "tests/granted_guest",
        "tests/hello_guest",
        "tests/hostile_guest",
        "tests/initialized_guest",
        "tests/web_guest",
        "wit",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    for linked in LINKED_CRATES {
        let linked = root.join("host").join(linked);
        for source in ["src", "Cargo.toml"] {
            println!("cargo::rerun-if-changed={}", linked.join(source).display());
        }
    }
    ensure_target()?;
    // Not the outer cargo's own directory, whose lock the inner one would wait for forever, but shared by the builds
    // with and without lints.
    let target_directory = out
        .ancestors()
        .nth(4)
        .context("OUT_DIR is four levels below the target directory")?
        .join("guests");
    let workspace = root.join("guest-models");
    let groups = [&GUESTS[..], &GUESTS_WITH_RANDOM, &GUESTS_WITH_LOG];
    for guests in groups {
        build(&workspace, &target_directory, guests)?;
    }
    let mut constants = String::new();
    for guest in groups.concat() {
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
    let edge_modules = out.join("edge");
    fs::create_dir_all(&edge_modules)?;
    for name in EDGE_MODULES {
        let workspace = root.join("guest-models");
        let module = build_edge_module(&workspace, name, &target_directory)
            .with_context(|| format!("module `{name}` of edge bundles"))?;
        copy_if_changed(&module, &edge_modules.join(format!("{name}.wasm")))?;
    }
    writeln!(
        constants,
        "/// The directory of the modules of edge bundles.\npub const EDGE_MODULES: &str = {edge_modules:?};"
    )?;
    writeln!(
        constants,
        "/// The target directory in which the guests were built.\npub const TARGET_DIRECTORY: &str = {target_directory:?};"
    )?;
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
    let mut cargo = cargo(workspace, target_directory)?;
    for guest in guests {
        cargo.args(["--package", *guest]);
    }
    run(cargo)
}

/// Builds a module of edge bundles with the flags of `wisp build`, and returns its path.
fn build_edge_module(workspace: &Path, name: &str, target_directory: &Path) -> Result<PathBuf> {
    let manifest = workspace.join("edge").join(name).join("Cargo.toml");
    let manifest = fs::read_to_string(&manifest).with_context(|| manifest.display().to_string())?;
    let value = |key: &str| {
        let mut values = manifest.lines().filter_map(|line| line.strip_prefix(key));
        let value = values
            .next()
            .and_then(|value| value.trim_start().strip_prefix('='));
        value.map(|value| value.trim().trim_matches('"'))
    };
    let package = value("name").context("the manifest has no name")?;
    let mut flags =
        String::from(r#"'-Ctarget-feature=+simd128', '--cfg=getrandom_backend="custom"'"#);
    if let Some(stack_size) = value("stack-size") {
        write!(flags, ", '-Clink-arg=-zstack-size={stack_size}'")?;
    }
    let mut cargo = cargo(workspace, target_directory)?;
    // Appended to the flags of the configuration; the linker uses the last value of each flag.
    cargo
        .arg("--config")
        .arg(format!("target.{TARGET}.rustflags=[{flags}]"))
        .args(["--lib", "--package", package]);
    let fast_crates = value("fast-crates").unwrap_or_default();
    let fast_crates = fast_crates.split(|character: char| "[], \"".contains(character));
    for fast_crate in fast_crates.filter(|name| !name.is_empty()) {
        let setting = format!("profile.release.package.{fast_crate}.opt-level=3");
        cargo.args(["--config", &setting]);
    }
    if name == "nn-tract" {
        // Optimising the whole module at once takes six minutes, and its size is not what tests look at.
        cargo.args(["--config", "profile.release.lto=false"]);
        cargo.args(["--config", "profile.release.codegen-units=16"]);
    }
    run(cargo)?;
    let file = format!("{}.wasm", package.replace('-', "_"));
    Ok(target_directory.join(TARGET).join("release").join(file))
}

/// Returns the command that builds crates of a workspace.
fn cargo(workspace: &Path, target_directory: &Path) -> Result<Command> {
    let mut cargo = Command::new(env::var("CARGO")?);
    cargo
        .current_dir(workspace)
        .args(["build", "--release", "--locked", "--target", TARGET])
        .arg("--target-dir")
        .arg(target_directory);
    // The settings of the outer cargo for its own compilers are wrong for guests, which are linted on their own.
    for variable in [
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTFLAGS",
        "CARGO_TARGET_DIR",
    ] {
        cargo.env_remove(variable);
    }
    Ok(cargo)
}

fn run(mut cargo: Command) -> Result<()> {
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
    write_if_changed(component, &bytes)
}

fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let content = fs::read(from).with_context(|| format!("failed to read {}", from.display()))?;
    write_if_changed(to, &content)
}

/// Unchanged files keep their modification time, so that their dependents are not rebuilt.
fn write_if_changed(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).ok().as_deref() != Some(content) {
        fs::write(path, content)?;
    }
    Ok(())
}
