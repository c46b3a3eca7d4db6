//! The Rust toolchain: locates it, installs the missing target, and compiles handlers with it.
//!
//! The output of cargo and rustup is passed through to the terminal. Only cargo's machine-readable
//! messages, which contain the paths of the artifacts, are read here.

use super::manifest::{self, CrateManifest};
use crate::display;
use anyhow::{Context, bail};
use serde::Deserialize;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The target of handlers. It has no WASI, so that a module imports nothing beyond the world's imports.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";

/// The paths at which cargo reads configuration, in the current directory and each of its ancestors.
pub(super) const CONFIG_FILES: [&str; 2] = [".cargo/config.toml", ".cargo/config"];

/// The default stack size in bytes. rustc places the stack first in memory. With a small stack,
/// everything that a request touches is in a few pages, which the pool keeps resident: a request takes
/// 13 instead of 31 microseconds. With half of this size, JPEG decoders trap.
const DEFAULT_STACK_SIZE: u32 = 64 << 10;

/// The size in bytes of the heap that an instance starts with. The linker rounds the whole memory up to
/// 64 KiB, so the heap can be up to twice as large. Growing the memory instead would change the page
/// table twice per request.
const INITIAL_HEAP: u32 = 64 << 10;

/// Makes the crate getrandom, in its versions 0.3 and 0.4, call a function that the SDK defines. Without it, a
/// dependency on the crate would not compile for the target, even if nothing calls it.
const RANDOM_BACKEND: &str = r#"--cfg=getrandom_backend="custom""#;

/// The SDK, and its feature that defines that function.
const SDK: &str = "wisp-handler";
const RANDOM_FEATURE: &str = "getrandom";

/// The maximum number of lines of a dependency tree that an error shows.
const MAX_TREE_LINES: usize = 12;

/// Environment variables set by an outer cargo or clippy that would change or block this build. With a
/// shared target directory, the inner cargo would wait forever for the outer one's lock.
const FOREIGN_VARIABLES: [&str; 8] = [
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_BUILD_DIR",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
];

/// A cargo executable.
#[derive(Debug)]
pub(super) struct Toolchain {
    cargo: PathBuf,
}

/// Crates that share a target directory and a lock file.
#[derive(Debug, Deserialize)]
pub(super) struct Workspace {
    #[serde(rename = "workspace_root")]
    pub(super) root: PathBuf,
    pub(super) target_directory: PathBuf,
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: PathBuf,
    #[serde(default)]
    dependencies: Vec<Dependency>,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    #[serde(default)]
    features: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Target {
    crate_types: Vec<String>,
}

/// A line of cargo's machine-readable output. Lines other than artifacts lack most of the fields.
#[derive(Debug, Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// The flags for rustc that not all crates have in common. Crates with the same flags are compiled in one call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Flags {
    /// The stack size to pass to the linker. `None` if a cargo configuration already passes one.
    stack_size: Option<u32>,
    /// Set for a module of edge bundles. Its engine computes with vectors of 128 bits, which every host of
    /// components has.
    pub(super) is_edge_module: bool,
    /// The crates that are compiled for speed.
    fast_crates: Vec<String>,
}

/// Returns the stack size to pass to the linker: the one in the crate's manifest, or else the default.
/// Returns `None` if a cargo configuration already passes one.
fn stack_flag(manifest: &CrateManifest, workspace: &Workspace) -> Option<u32> {
    let configured = workspace.root.ancestors().any(|directory| {
        CONFIG_FILES.iter().any(|name| {
            std::fs::read_to_string(directory.join(name)).is_ok_and(|text| sets_stack_size(&text))
        })
    });
    match manifest.wisp.stack_size {
        None if configured => None,
        size => Some(size.unwrap_or(DEFAULT_STACK_SIZE)),
    }
}

impl Flags {
    /// Returns the flags for a crate of this workspace.
    pub(super) fn of(manifest: &CrateManifest, workspace: &Workspace) -> Flags {
        Flags {
            stack_size: stack_flag(manifest, workspace),
            is_edge_module: manifest.wisp.edge_module,
            fast_crates: manifest.wisp.fast_crates.clone(),
        }
    }

    /// Returns the flags with those of all crates, as an array in TOML.
    fn to_toml(&self) -> String {
        let link = self.stack_size.map(|size| {
            format!(
                "'-Clink-arg=-zstack-size={size}', '-Clink-arg=--initial-heap={INITIAL_HEAP}', "
            )
        });
        let vectors = match self.is_edge_module {
            true => "'-Ctarget-feature=+simd128', ",
            false => "",
        };
        format!("[{}{vectors}'{RANDOM_BACKEND}']", link.unwrap_or_default())
    }
}

/// Returns whether a cargo configuration passes a stack size to the linker for the target.
fn sets_stack_size(config: &str) -> bool {
    let flags = |config: &toml::Table| {
        let target = config.get("target")?.get(TARGET)?;
        Some(target.get("rustflags")?.to_string())
    };
    toml::from_str(config)
        .ok()
        .and_then(|config| flags(&config))
        .is_some_and(|flags| flags.contains("stack-size="))
}

// === impl Toolchain ===

impl Toolchain {
    /// Returns the cargo on the `PATH`, or the one in rustup's directory.
    pub(super) fn find() -> anyhow::Result<Toolchain> {
        let cargo = find_program("cargo").context(
            "cargo is not found: building handlers needs Rust, installed as described on https://rustup.rs \
             (serving handlers that are built already does not need it)",
        )?;
        Ok(Toolchain { cargo })
    }

    /// Returns the workspace of the crate in `directory`.
    pub(super) fn workspace(&self, directory: &Path) -> anyhow::Result<Workspace> {
        let mut command = self.command(&self.cargo, directory);
        command.args(["metadata", "--no-deps", "--format-version", "1"]);
        command.stderr(Stdio::inherit());
        let output = command.output().context("failed to start cargo")?;
        if !output.status.success() {
            let manifest = display::path(&directory.join(manifest::FILE_NAME));
            bail!("cargo does not accept `{manifest}`; its message is above");
        }
        serde_json::from_slice(&output.stdout)
            .context("failed to parse the output of `cargo metadata`")
    }

    /// Installs the target's standard library if it is missing.
    pub(super) fn ensure_target(&self, directory: &Path) -> anyhow::Result<()> {
        if self.has_target(directory)? {
            return Ok(());
        }
        let rustup = find_program("rustup").with_context(|| {
            format!(
                "Rust's target {TARGET} is not installed, and rustup is not found: install Rust as \
                 described on https://rustup.rs, or install the target with the package manager that \
                 installed Rust"
            )
        })?;
        let mut command = self.command(&rustup, directory);
        let status = command.args(["target", "add", TARGET]).status();
        if !status.context("failed to start rustup")?.success() {
            bail!("`rustup target add {TARGET}` failed; its message is above");
        }
        if !self.has_target(directory)? {
            bail!(
                "rustup added the target {TARGET}, but not to the toolchain of `{}`; put rustup's \
                 cargo first on the PATH",
                self.cargo.display()
            );
        }
        Ok(())
    }

    fn has_target(&self, directory: &Path) -> anyhow::Result<bool> {
        // The rustc next to this cargo; with rustup, both are proxies.
        let beside = self.cargo.with_file_name(program_file("rustc"));
        let rustc = match beside.is_file() {
            true => beside,
            false => PathBuf::from("rustc"),
        };
        let mut command = self.command(&rustc, directory);
        command.args(["--print", "target-libdir", "--target", TARGET]);
        command.stderr(Stdio::inherit());
        let output = command.output().context("failed to start rustc")?;
        if !output.status.success() {
            bail!("rustc does not support the target {TARGET}; its message is above");
        }
        let library = String::from_utf8_lossy(&output.stdout);
        Ok(Path::new(library.trim_end()).is_dir())
    }

    /// Compiles crates of one workspace in one call. Returns the module of each, in no particular order.
    pub(super) fn build<'a>(
        &self,
        workspace: &Workspace,
        crates: &[&'a Path],
        flags: &Flags,
    ) -> anyhow::Result<Vec<(&'a Path, Vec<u8>)>> {
        let mut command = self.command(&self.cargo, &workspace.root);
        command.args(["build", "--release", "--lib", "--target", TARGET]);
        command.arg("--message-format=json-render-diagnostics");
        // Appended to the flags of the configuration; the linker uses the last value of each flag.
        command.arg("--config");
        command.arg(format!("target.{TARGET}.rustflags={}", flags.to_toml()));
        for name in &flags.fast_crates {
            command.arg("--config");
            command.arg(format!("profile.release.package.{name}.opt-level=3"));
        }
        for directory in crates {
            command.args(["--package", &workspace.package_with_module(directory)?.id]);
        }
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start cargo")?;
        let output = child.stdout.take().context("cargo has no output")?;
        let mut modules = Vec::new();
        for line in BufReader::new(output).lines() {
            let line = line.context("failed to read cargo's output")?;
            // Build scripts and macros may print lines of their own.
            let Ok(message) = serde_json::from_str::<Message>(&line) else {
                continue;
            };
            if let Some((directory, path)) = message.module(crates) {
                let module = std::fs::read(path)
                    .with_context(|| format!("failed to read `{}`", path.display()))?;
                modules.push((directory, module));
            }
        }
        if !child.wait().context("failed to wait for cargo")?.success() {
            let names = crates
                .iter()
                .map(|directory| workspace.package_name(directory));
            let names: Vec<&str> = names.collect();
            bail!(
                "failed to compile {}; cargo's messages are above",
                names.join(", ")
            );
        }
        Ok(modules)
    }

    /// Returns the crates through which the crate in `source` depends on `dependency`, as a tree with the
    /// dependency at the root. Returns `None` if cargo does not find it.
    pub(super) fn dependents(
        &self,
        workspace: &Workspace,
        source: &Path,
        dependency: &str,
    ) -> Option<String> {
        let mut command = self.command(&self.cargo, &workspace.root);
        command.args(["tree", "--target", TARGET, "--edges", "normal"]);
        command.args(["--charset", "ascii", "--invert", dependency]);
        command.args(["--package", &workspace.package(source)?.id]);
        let output = command.stderr(Stdio::null()).output().ok()?;
        let tree = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<&str> = tree.trim().lines().take(MAX_TREE_LINES).collect();
        (output.status.success() && !lines.is_empty()).then(|| lines.join("\n"))
    }

    /// Returns a command that runs in `directory`, where cargo's configuration and toolchain files
    /// apply, with the variables of an outer build removed from its environment.
    fn command(&self, program: &Path, directory: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(directory).stdin(Stdio::null());
        for variable in FOREIGN_VARIABLES {
            command.env_remove(variable);
        }
        command
    }
}

// === impl Workspace ===

impl Workspace {
    /// Returns whether the crate in this directory belongs to the workspace.
    pub(super) fn has(&self, directory: &Path) -> bool {
        self.package(directory).is_some()
    }

    /// Returns the name of the crate in this directory, for messages.
    pub(super) fn package_name<'a>(&'a self, directory: &'a Path) -> &'a str {
        match self.package(directory) {
            Some(package) => &package.name,
            None => directory.to_str().unwrap_or("the crate"),
        }
    }

    /// Returns whether the crate in this directory enables the feature of the SDK with which a handler imports random
    /// numbers.
    pub(super) fn imports_random(&self, directory: &Path) -> bool {
        let enables = |dependency: &Dependency| {
            let mut features = dependency.features.iter();
            dependency.name == SDK && features.any(|feature| feature == RANDOM_FEATURE)
        };
        self.package(directory)
            .is_some_and(|package| package.dependencies.iter().any(enables))
    }

    fn package(&self, directory: &Path) -> Option<&Package> {
        let mut packages = self.packages.iter();
        packages.find(|package| package.manifest_path.parent() == Some(directory))
    }

    /// Returns the package in this directory.
    ///
    /// # Errors
    /// Fails if cargo does not list the package, or if it does not build a Wasm module.
    fn package_with_module(&self, directory: &Path) -> anyhow::Result<&Package> {
        let manifest = display::path(&directory.join(manifest::FILE_NAME));
        let package = self
            .package(directory)
            .with_context(|| format!("cargo does not list `{manifest}` in its own workspace"))?;
        let mut types = package
            .targets
            .iter()
            .flat_map(|target| &target.crate_types);
        if !types.any(|crate_type| crate_type == "cdylib") {
            bail!(
                "crate `{}` produces no WebAssembly module; in `{manifest}`, under [lib], write \
                 crate-type = [\"cdylib\", \"rlib\"]",
                package.name
            );
        }
        Ok(package)
    }
}

// === impl Message ===

impl Message {
    /// Returns the Wasm module that the message reports, and the directory of its crate among `crates`.
    fn module<'a>(&self, crates: &[&'a Path]) -> Option<(&'a Path, &Path)> {
        if self.reason != "compiler-artifact" {
            return None;
        }
        let directory = self.manifest_path.parent()?;
        let directory = crates.iter().find(|known| **known == directory)?;
        let is_module = |path: &&PathBuf| path.extension() == Some(OsStr::new("wasm"));
        Some((directory, self.filenames.iter().find(is_module)?))
    }
}

/// Returns the path of a program on the `PATH` or in the directory into which rustup installs.
fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    std::env::split_paths(&path)
        .chain(cargo_home.map(|home| home.join("bin")))
        .map(|directory| directory.join(program_file(name)))
        .find(|program| program.is_file())
}

fn program_file(name: &str) -> String {
    format!("{name}{}", std::env::consts::EXE_SUFFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifacts_of_the_asked_crates_are_recognised() -> anyhow::Result<()> {
        let wine = Path::new("/w/wine");
        let line = |reason: &str, manifest: &str, file: &str| {
            format!(
                r#"{{"reason":"{reason}","manifest_path":"{manifest}","target":{{"kind":["cdylib"]}},
                    "filenames":["/t/libwine.rlib","{file}"],"fresh":true}}"#
            )
        };
        for (line, expected) in [
            (
                line("compiler-artifact", "/w/wine/Cargo.toml", "/t/wine.wasm"),
                true,
            ),
            (
                line("compiler-artifact", "/w/sdk/Cargo.toml", "/t/sdk.wasm"),
                false,
            ),
            (
                line("compiler-artifact", "/w/wine/Cargo.toml", "/t/wine.so"),
                false,
            ),
            (
                line(
                    "build-script-executed",
                    "/w/wine/Cargo.toml",
                    "/t/wine.wasm",
                ),
                false,
            ),
            (
                r#"{"reason":"build-finished","success":true}"#.to_owned(),
                false,
            ),
        ] {
            let message: Message = serde_json::from_str(&line)?;
            assert_eq!(message.module(&[wine]).is_some(), expected, "{line}");
        }
        Ok(())
    }

    #[test]
    fn a_crate_without_a_cdylib_is_told_what_to_write() -> anyhow::Result<()> {
        let workspace: Workspace = serde_json::from_str(
            r#"{"workspace_root":"/w","target_directory":"/w/target","packages":[
                {"id":"path+file:///w/a#0.1.0","name":"a","manifest_path":"/w/a/Cargo.toml",
                 "targets":[{"crate_types":["lib"]}]}]}"#,
        )?;
        assert!(workspace.has(Path::new("/w/a")));
        assert!(!workspace.has(Path::new("/w/b")));
        let error = workspace.package_with_module(Path::new("/w/a")).err();
        let error = error.context("accepted")?.to_string();
        assert!(
            error.contains("crate-type = [\"cdylib\", \"rlib\"]"),
            "{error}"
        );
        Ok(())
    }

    #[test]
    fn the_sdks_feature_for_random_numbers_is_seen() -> anyhow::Result<()> {
        let workspace: Workspace = serde_json::from_str(
            r#"{"workspace_root":"/w","target_directory":"/w/target","packages":[
                {"id":"a","name":"a","manifest_path":"/w/a/Cargo.toml","targets":[],
                 "dependencies":[{"name":"uuid","features":["v4"]},
                    {"name":"wisp-handler","rename":"sdk","features":["image","getrandom"]}]},
                {"id":"b","name":"b","manifest_path":"/w/b/Cargo.toml","targets":[],
                 "dependencies":[{"name":"wisp-handler","features":["image"]},
                    {"name":"other","features":["getrandom"]}]}]}"#,
        )?;
        for (directory, expected) in [("/w/a", true), ("/w/b", false), ("/w/c", false)] {
            let imports_random = workspace.imports_random(Path::new(directory));
            assert_eq!(imports_random, expected, "{directory}");
        }
        Ok(())
    }

    #[test]
    fn the_flags_are_an_array_with_the_backend_of_getrandom() -> anyhow::Result<()> {
        for (stack_size, is_edge_module, count) in [
            (None, false, 1),
            (Some(65_536), false, 3),
            (Some(65_536), true, 4),
        ] {
            let flags = Flags {
                stack_size,
                is_edge_module,
                fast_crates: vec!["rten".to_owned()],
            };
            let config: toml::Table = toml::from_str(&format!("flags = {}", flags.to_toml()))?;
            let flags = config["flags"].as_array().context("it is no array")?;
            assert_eq!(flags.len(), count);
            let last = flags.last().and_then(toml::Value::as_str);
            assert_eq!(last, Some("--cfg=getrandom_backend=\"custom\""));
        }
        Ok(())
    }

    #[test]
    fn a_stack_size_in_a_configuration_is_seen() {
        for (config, expected) in [
            (
                "[target.wasm32-unknown-unknown]\nrustflags = [\"-Clink-arg=-zstack-size=65536\"]",
                true,
            ),
            (
                "[target.wasm32-unknown-unknown]\nrustflags = \"-C link-arg=-zstack-size=65536\"",
                true,
            ),
            (
                "[target.wasm32-unknown-unknown]\nrustflags = [\"-Ctarget-feature=+simd128\"]",
                false,
            ),
            ("[build]\ntarget = \"wasm32-unknown-unknown\"", false),
            ("nonsense", false),
        ] {
            assert_eq!(sets_stack_size(config), expected, "{config}");
        }
    }
}
