//! The virtual environments of the Python clients and oracles, and the files that are made with them.
//!
//! Most scripts share one environment; those that cannot have another. Each is below the workspace's
//! target directory, in a directory named after a hash of its inputs (the requirement files, the
//! interpreter), and is created on first use. A marker file, which is written last, shows that an
//! environment is complete; without it, the environment is created again.

use crate::harness::{Repository, TestOptions, TestServer, component, root};
use anyhow::{Context, Result, bail, ensure};
use std::collections::hash_map::DefaultHasher;
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;
use wisp_serving::ServingOptions;

/// The packages of some scripts.
#[derive(Debug)]
pub(crate) struct Environment {
    /// The requirement file in `tests/clients`.
    requirements: &'static str,
    directory: OnceLock<Result<PathBuf, String>>,
}

/// The environment of the clients and the oracles.
static CLIENTS: Environment = Environment::of("requirements.txt");

/// The environment of the tools that check the API's document.
pub(crate) static OPENAPI: Environment = Environment::of("requirements-openapi.txt");

/// The environment of the tools that check the files in `deploy`.
pub(crate) static DEPLOY: Environment = Environment::of("requirements-deploy.txt");

/// The environment of the clients that come with Triton itself or with much else that is not used.
pub(crate) static TRITON: Environment = Environment::of("requirements-triton.txt");

/// The environment of the other client of registries.
pub(crate) static REGISTRY: Environment = Environment::of("requirements-registry.txt");

/// The environment of what reads spans and payloads.
pub(crate) static TELEMETRY: Environment = Environment::of("requirements-telemetry.txt");

/// The environment of what validates the bill of materials.
pub(crate) static SBOM: Environment = Environment::of("requirements-sbom.txt");

/// The name of the marker file of a complete environment.
pub(crate) const WHOLE: &str = "whole";

/// Runs `tests/clients/<script>` and returns its output. If the script fails, the error contains
/// everything that it printed.
pub(crate) fn run(script: &str, arguments: &[&str]) -> Result<String> {
    run_in(&CLIENTS, script, arguments)
}

/// Runs a script in another environment.
pub(crate) fn run_in(
    environment: &'static Environment,
    script: &str,
    arguments: &[&str],
) -> Result<String> {
    let script = root().join("tests/clients").join(script);
    run_file(environment, &script, arguments.iter().map(OsStr::new))
}

/// Starts a server of the model `embed`, whose graph is exported on first use and shared.
pub(crate) fn embed_server() -> Result<TestServer> {
    let repository = Repository::empty()?;
    let version = repository.path().join("embed/1");
    std::fs::create_dir_all(&version)?;
    std::os::unix::fs::symlink(embed_graph()?, version.join("model.onnx"))?;
    std::os::unix::fs::symlink(component("embed")?, version.join("handler.wasm"))?;
    let defaults = TestOptions::default();
    let options = TestOptions {
        serving: ServingOptions {
            // The test is about the response, which may take long on a busy machine.
            request_timeout: Duration::from_secs(50),
            ..defaults.serving
        },
        ..defaults
    };
    TestServer::with_options(repository, options)
}

/// Returns the path of the graph of `embed`, as written by its script: 90 MB that are not in git.
pub(crate) fn embed_graph() -> Result<&'static Path> {
    static GRAPH: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&GRAPH, || {
        let script = root().join("examples/embed/export.py");
        let mut hasher = DefaultHasher::new();
        CLIENTS.directory()?.hash(&mut hasher);
        std::fs::read(&script)?.hash(&mut hasher);
        let name = format!("embed-{:016x}.onnx", hasher.finish());
        let graph = target_directory()?.join(&name);
        let _guard = lock(&name)?;
        if !graph.is_file() {
            // The script renames its complete output, so that a partial graph never has this name.
            let arguments = [OsStr::new("--output"), graph.as_os_str()];
            run_file(&CLIENTS, &script, arguments)?;
        }
        Ok(graph)
    })
}

/// Returns the directory of the models of the onnx package's backend tests, and of their tensors.
pub(crate) fn onnx_node_tests() -> Result<&'static Path> {
    static CASES: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&CASES, || written_by("onnx_node_tests.py", &[]))
}

/// Returns the directory of the models of single operators with hostile values, and of their tensors.
pub(crate) fn differential_cases() -> Result<&'static Path> {
    static CASES: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&CASES, || {
        written_by("differential_cases.py", &["differential"])
    })
}

/// Returns the directory of the small models that once were refused or computed wrongly.
pub(crate) fn regression_models() -> Result<&'static Path> {
    static CASES: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&CASES, || {
        written_by("regression_models.py", &["regressions"])
    })
}

/// Returns the directory of the models in published packages, and of their tensors.
pub(crate) fn published_models() -> Result<&'static Path> {
    static CASES: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&CASES, || written_by("published_models.py", &[]))
}

/// Returns the directory of the cases that a script writes, which is made on first use. `packages` are the
/// directories of the script's own modules.
fn written_by(script: &str, packages: &[&str]) -> Result<PathBuf> {
    let clients = root().join("tests/clients");
    let mut files = vec![clients.join(script), clients.join("case_files.py")];
    for package in packages {
        for entry in std::fs::read_dir(clients.join(package))? {
            let path = entry?.path();
            files.extend(path.is_file().then_some(path));
        }
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    CLIENTS.directory()?.hash(&mut hasher);
    for file in &files {
        std::fs::read(file)?.hash(&mut hasher);
    }
    let stem = script.trim_end_matches(".py").replace('_', "-");
    let name = format!("{stem}-{:016x}", hasher.finish());
    let cases = target_directory()?.join(&name);
    let _guard = lock(&name)?;
    // The script renames the manifest into place after everything else.
    if !cases.join("manifest.json").is_file() {
        let arguments = [OsStr::new("--output"), cases.as_os_str()];
        run_file(&CLIENTS, &clients.join(script), arguments)?;
    }
    Ok(cases)
}

fn run_file<'a>(
    environment: &'static Environment,
    script: &Path,
    arguments: impl IntoIterator<Item = &'a OsStr>,
) -> Result<String> {
    let mut python = Command::new(environment.directory()?.join("bin/python"));
    // Byte code next to the scripts would pollute the source tree.
    python.arg("-B").arg(script).args(arguments);
    let output = succeed(&mut python)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns the path of the ONNX Runtime wheel that `wisp backend install` supports, as downloaded from
/// PyPI.
pub(crate) fn onnxruntime_wheel() -> Result<&'static Path> {
    static WHEEL: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&WHEEL, || {
        let platform = match std::env::consts::OS {
            "macos" => "macosx_14_0_arm64".to_owned(),
            _ => format!("manylinux_2_28_{}", std::env::consts::ARCH),
        };
        let name = format!("onnxruntime-1.31.1-cp312-cp312-{platform}.whl");
        let wheel = target_directory()?.join(&name);
        let _guard = lock(&name)?;
        if !wheel.is_file() {
            let fetched = tempfile::tempdir_in(target_directory()?)?;
            let mut pip = Command::new(CLIENTS.directory()?.join("bin/python"));
            pip.args(["-m", "pip", "download", "--quiet", "--no-input"])
                .args(["--disable-pip-version-check", "--no-deps"])
                .args(["--only-binary=:all:", "--python-version", "3.12"])
                .args(["--platform", &platform, "--dest"])
                .arg(fetched.path())
                .arg("onnxruntime==1.31.1");
            succeed(&mut pip).context("the wheel of ONNX Runtime, from PyPI")?;
            std::fs::rename(fetched.path().join(&name), &wheel)?;
        }
        Ok(wheel)
    })
}

/// Returns the Python of the environment of the clients.
pub(crate) fn executable() -> Result<PathBuf> {
    Ok(CLIENTS.directory()?.join("bin/python"))
}

/// Returns the directory of the environment's installed packages.
pub(crate) fn packages() -> Result<PathBuf> {
    let library = CLIENTS.directory()?.join("lib");
    let mut versions = std::fs::read_dir(&library)?;
    let version = versions.next().context("an environment has a library")??;
    Ok(version.path().join("site-packages"))
}

impl Environment {
    const fn of(requirements: &'static str) -> Environment {
        Environment {
            requirements,
            directory: OnceLock::new(),
        }
    }

    /// Returns the directory of the environment, which is created on first use.
    fn directory(&'static self) -> Result<&'static Path> {
        once(&self.directory, || {
            let requirements = root().join("tests/clients").join(self.requirements);
            let mut hasher = DefaultHasher::new();
            interpreter()?.hash(&mut hasher);
            hash_requirements(&requirements, &mut hasher)?;
            let name = format!("python-{:016x}", hasher.finish());
            let directory = target_directory()?.join(&name);
            let _guard = lock(&name)?;
            if !directory.join(WHOLE).is_file() {
                make(&directory, &requirements)?;
            }
            Ok(directory)
        })
    }
}

/// Returns the value that the first call in this process computed, or its error.
pub(crate) fn once(
    cell: &'static OnceLock<Result<PathBuf, String>>,
    make: impl FnOnce() -> Result<PathBuf>,
) -> Result<&'static Path> {
    match cell.get_or_init(|| make().map_err(|error| format!("{error:#}"))) {
        Ok(path) => Ok(path),
        Err(error) => bail!("{error}"),
    }
}

/// Returns the identity of the Python interpreter. A virtual environment does not survive a change of
/// it.
fn interpreter() -> Result<Vec<u8>> {
    let mut python = Command::new("python3");
    python.args(["-c", "import sys; print(sys.version, sys.executable)"]);
    let output = succeed(&mut python)
        .context("the tests need Python 3.11 or newer as `python3`; on Debian: apt-get install python3 python3-venv")?;
    Ok(output.stdout)
}

/// Adds a requirement file and the files that it refers to to the hasher.
fn hash_requirements(file: &Path, hasher: &mut DefaultHasher) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    text.hash(hasher);
    for line in text.lines() {
        let named = line
            .strip_prefix("-r ")
            .or_else(|| line.strip_prefix("-c "));
        if let Some(named) = named {
            let directory = file.parent().context("a file lies in a directory")?;
            hash_requirements(&directory.join(named.trim()), hasher)?;
        }
    }
    Ok(())
}

fn make(directory: &Path, requirements: &Path) -> Result<()> {
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(directory);
    succeed(&mut venv).context(
        "Python cannot make virtual environments; on Debian: apt-get install python3-venv",
    )?;
    let mut pip = Command::new(directory.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--no-input"])
        .args(["--disable-pip-version-check", "--no-deps", "--requirement"])
        .arg(requirements);
    succeed(&mut pip).context("the packages of the requirement file, from PyPI")?;
    std::fs::write(directory.join(WHOLE), "")?;
    Ok(())
}

/// Locks `name` against other processes and other threads of this process, until the file is dropped.
pub(crate) fn lock(name: &str) -> Result<File> {
    let path = target_directory()?.join(format!("{name}.lock"));
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    file.lock()?;
    Ok(file)
}

pub(crate) fn target_directory() -> Result<&'static Path> {
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    temporary.parent().context("target/tmp lies in target")
}

/// Runs a command to its end. If it fails, the error contains everything that it printed.
pub(crate) fn succeed(command: &mut Command) -> Result<Output> {
    let shown = format!("{command:?}");
    let output = command
        .output()
        .with_context(|| format!("failed to run {shown}"))?;
    let said = |stream: &[u8]| String::from_utf8_lossy(stream).trim().to_owned();
    ensure!(
        output.status.success(),
        "{shown} ended with {}\n{}\n{}",
        output.status,
        said(&output.stdout),
        said(&output.stderr),
    );
    Ok(output)
}
