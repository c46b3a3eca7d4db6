//! Locates the shared libraries of installed backends.
//!
//! All packages are below `backends` in the cache directory. A package has one directory, which is
//! created atomically, so that checking for its files is enough. Their sizes are compared too, to detect
//! a full disk or an incomplete copy.

use super::catalog;
use super::package::{Member, Package};
use crate::display;
use crate::failure::bad_configuration;
use rustix::process::{getegid, geteuid};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Returns the directory that contains all packages.
pub(super) fn home(cache: &Path) -> PathBuf {
    cache.join("backends")
}

/// Rejects libraries that another user could have placed or changed: they would run with the rights of
/// this process.
pub(crate) fn check_ownership(cache: &Path) -> anyhow::Result<()> {
    let home = home(cache);
    let mut places = vec![home.clone()];
    for name in ["cuda", "onnxruntime"] {
        let Some(package) = catalog::for_this_machine(name).ok() else {
            continue;
        };
        if let Some(directory) = directory(cache, package) {
            places.extend(
                package
                    .onnxruntime_library()
                    .map(|file| directory.join(file)),
            );
            places.push(directory);
        }
    }
    for place in places {
        let Ok(metadata) = place.metadata() else {
            continue;
        };
        let mode = metadata.permissions().mode() & 0o7777;
        let is_ours = [0, geteuid().as_raw()].contains(&metadata.uid());
        // Groups with only one user as a member are common.
        let is_open =
            mode & 0o002 != 0 || mode & 0o020 != 0 && metadata.gid() != getegid().as_raw();
        if !is_ours || is_open {
            return Err(bad_configuration(format!(
                "libraries of backends are loaded from `{}`, which must belong to you or to root and must not \
                 be writable by others; its owner is uid {} and its mode {mode:04o}; change them, or choose \
                 another directory with --cache-dir",
                display::path(&place),
                metadata.uid()
            )));
        }
    }
    Ok(())
}

/// Returns ONNX Runtime's library of the pinned version, if `wisp backend install` has installed it. The
/// one of the package `cuda` is preferred, since it computes on CPUs equally well.
pub(crate) fn onnxruntime(cache: &Path) -> Option<PathBuf> {
    ["cuda", "onnxruntime"].into_iter().find_map(|name| {
        let package = catalog::for_this_machine(name).ok()?;
        let library = package.onnxruntime_library()?;
        Some(directory(cache, package)?.join(library))
    })
}

/// Returns the directory of the package `cuda`, if it is installed: `lib` contains the libraries,
/// including ONNX Runtime's for CUDA, and `include` the headers that tract compiles its kernels with.
pub(crate) fn cuda(cache: &Path) -> Option<PathBuf> {
    directory(cache, catalog::for_this_machine("cuda").ok()?)
}

/// Returns the directory of a package, if all its files are present.
pub(super) fn directory(cache: &Path, package: &Package) -> Option<PathBuf> {
    let directory = home(cache).join(package.directory_name());
    let whole = package.members().all(|member| is_there(&directory, member));
    whole.then_some(directory)
}

fn is_there(directory: &Path, member: &Member) -> bool {
    let file = directory.join(member.to).metadata();
    if member.is_folder() {
        return file.is_ok_and(|file| file.is_dir());
    }
    file.is_ok_and(|file| file.is_file() && file.len() == member.bytes)
}
