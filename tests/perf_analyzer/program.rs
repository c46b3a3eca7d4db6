//! The program of perf_analyzer: that of its wheel on PyPI, unmodified.
//!
//! It needs glibc 2.38. Where the system's is older, the program runs with the dynamic loader and the libraries of
//! Debian 13, 6 MB of packages, which are downloaded by name and unpacked below the workspace's target directory.
//! Nothing is installed.

use crate::{debian, python};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The time in seconds after which a run of the program is ended, far longer than it takes on a busy machine.
const LIMIT: &str = "60";

/// The exit code of a run that was ended.
pub(super) const ENDED: i32 = 124;

/// The version on PyPI.
const VERSION: &str = "2.60.0";

/// The packages with the libraries of the program, in [`SUITE`].
const PACKAGES: [&str; 6] = [
    "libc6",
    "libgcc-s1",
    "libssl3t64",
    "libstdc++6",
    "libzstd1",
    "zlib1g",
];

/// The suite of the packages. It has its name as long as Debian serves it, and the versions of its packages change.
const SUITE: &str = "trixie";

/// Returns the command that runs the program, without arguments.
pub(super) fn command() -> Result<Command> {
    static RUNS: OnceLock<bool> = OnceLock::new();
    let program = unpacked_wheel()?.join("perf_analyzer/bin/perf_analyzer");
    let runs = RUNS.get_or_init(|| {
        let version = Command::new(&program).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    });
    // The program sometimes waits for ever for a request that has been answered.
    let mut command = Command::new("timeout");
    command.arg(LIMIT);
    if *runs {
        command.arg(program);
    } else {
        let (loader, libraries) = loader(unpacked_libraries()?)?;
        command.arg(loader).arg("--library-path");
        command.arg(libraries).arg(program);
    }
    Ok(command)
}

/// Returns the dynamic loader of the unpacked packages, and the directory of the libraries, in which it is.
fn loader(packages: &Path) -> Result<(PathBuf, PathBuf)> {
    for entry in std::fs::read_dir(packages.join("usr/lib"))? {
        // Such as `x86_64-linux-gnu`.
        let libraries = entry?.path();
        if !libraries.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(&libraries)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("ld-linux-") {
                return Ok((entry.path(), libraries));
            }
        }
    }
    bail!("the packages have no dynamic loader")
}

/// Returns the directory of the unpacked wheel, which is downloaded on first use.
fn unpacked_wheel() -> Result<&'static Path> {
    static UNPACKED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    python::once(&UNPACKED, || {
        debian::unpacked(&format!("perf_analyzer-{VERSION}"), unpack_wheel)
    })
}

fn unpack_wheel(downloads: &Path, directory: &Path) -> Result<()> {
    // The wheel declares the glibc that it needs, so that pip would not install it on an older system.
    let platform = format!("manylinux_2_38_{}", std::env::consts::ARCH);
    let mut pip = Command::new(python::executable()?);
    pip.args(["-m", "pip", "download", "--quiet", "--no-input"])
        .args(["--disable-pip-version-check", "--no-deps"])
        .args(["--only-binary=:all:", "--platform", &platform, "--dest"])
        .arg(downloads)
        .arg(format!("perf-analyzer=={VERSION}"));
    python::succeed(&mut pip).context("the wheel of perf_analyzer, from PyPI")?;
    for wheel in std::fs::read_dir(downloads)? {
        let mut unzip = Command::new(python::executable()?);
        unzip.args(["-m", "zipfile", "--extract"]);
        python::succeed(unzip.arg(wheel?.path()).arg(directory))?;
    }
    // Python's zipfile ignores the permissions.
    let mut chmod = Command::new("chmod");
    chmod
        .arg("+x")
        .arg(directory.join("perf_analyzer/bin/perf_analyzer"));
    python::succeed(&mut chmod)?;
    Ok(())
}

/// Returns the directory of the unpacked [`PACKAGES`], which are downloaded on first use.
fn unpacked_libraries() -> Result<&'static Path> {
    static UNPACKED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    python::once(&UNPACKED, || {
        debian::unpacked("debian-13-libraries", unpack_libraries)
    })
}

/// Returns the line of `sources.list` for [`SUITE`], from the mirror that this machine uses.
fn source() -> Result<String> {
    let mut targets = Command::new("apt-get");
    // Without release information, targets are listed before any list has been downloaded too.
    targets.args(["indextargets", "--no-release-info"]);
    targets.args(["--format", "$(REPO_URI)"]);
    targets.args(["Component: main", "Created-By: Packages"]);
    let output =
        python::succeed(&mut targets).context("perf_analyzer needs glibc 2.38, or Debian")?;
    let listed = String::from_utf8(output.stdout)?;
    let mut mirrors = listed.lines().map(|mirror| mirror.trim_end_matches('/'));
    let mirror = mirrors.find(|mirror| mirror.ends_with("/debian"));
    let mirror = mirror.context("perf_analyzer needs glibc 2.38, or a mirror of Debian")?;
    let key = "/usr/share/keyrings/debian-archive-keyring.gpg";
    Ok(format!("deb [signed-by={key}] {mirror} {SUITE} main\n"))
}

fn unpack_libraries(downloads: &Path, directory: &Path) -> Result<()> {
    let packages = downloads.join("packages");
    for folder in ["packages", "lists/partial", "cache/archives/partial"] {
        std::fs::create_dir_all(downloads.join(folder))?;
    }
    std::fs::write(downloads.join("sources.list"), source()?)?;
    python::succeed(apt_get(downloads).arg("update"))
        .context("perf_analyzer needs glibc 2.38, or Debian's apt-get to download it")?;
    let mut download = apt_get(downloads);
    download.arg("download").args(PACKAGES);
    python::succeed(download.current_dir(&packages))?;
    debian::extract(&packages, directory)
}

/// Returns an `apt-get` whose source and state are in `downloads` instead of the system's.
fn apt_get(downloads: &Path) -> Command {
    let mut apt_get = Command::new("apt-get");
    // The directory is the user's own, also if the user is root.
    apt_get.args(["--option", "APT::Sandbox::User="]);
    apt_get.args(["--option", "Dir::Etc::sourceparts=-"]);
    for (setting, path) in [
        ("Dir::Etc::sourcelist", "sources.list"),
        ("Dir::State::lists", "lists"),
        ("Dir::Cache", "cache"),
    ] {
        let mut option = OsString::from(format!("{setting}="));
        option.push(downloads.join(path));
        apt_get.arg("--option").arg(option);
    }
    apt_get
}
