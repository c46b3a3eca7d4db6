//! Where the shared libraries of backends are kept, and which are there.
//!
//! Everything is below `backends` in the cache directory. A package has one directory, which appears
//! there whole or not at all, so that looking for its files is enough; their sizes are compared as well,
//! against a disk that was full or a copy that ended early.

use super::package::{Member, Package};
use crate::display;
use crate::failure::bad_configuration;
use rustix::process::{getegid, geteuid};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where all packages are.
pub(super) fn home(cache: &Path) -> PathBuf {
    cache.join("backends")
}

/// Refuse libraries that others may have put there: they would run as this process does.
pub(crate) fn check_ownership(cache: &Path) -> anyhow::Result<()> {
    let home = home(cache);
    let mut places = vec![home.clone()];
    for name in ["cuda", "onnxruntime"] {
        let Some(package) = Package::for_this_machine(name).ok() else {
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
        // A group that only this user is in is common.
        let is_open =
            mode & 0o002 != 0 || mode & 0o020 != 0 && metadata.gid() != getegid().as_raw();
        if !is_ours || is_open {
            return Err(bad_configuration(format!(
                "`{}` is where libraries of backends are loaded from and must belong to you or to root, \
                 with nobody else able to write there, not to uid {} with mode {mode:04o}; fix it or name \
                 another directory with --cache-dir",
                display::path(&place),
                metadata.uid()
            )));
        }
    }
    Ok(())
}

/// ONNX Runtime's library of the pinned version, if `wisp backend install` has put it into the cache
/// directory. That of `cuda` comes first, because it computes on processors just as well.
pub(crate) fn onnxruntime(cache: &Path) -> Option<PathBuf> {
    ["cuda", "onnxruntime"].into_iter().find_map(|name| {
        let package = Package::for_this_machine(name).ok()?;
        let library = package.onnxruntime_library()?;
        Some(directory(cache, package)?.join(library))
    })
}

/// The directory that `wisp backend install cuda` has filled, if it has: `lib` has the libraries, those of
/// ONNX Runtime for CUDA among them, `include` the headers that tract compiles its kernels with.
pub(crate) fn cuda(cache: &Path) -> Option<PathBuf> {
    directory(cache, Package::for_this_machine("cuda").ok()?)
}

/// The directory of a package that is there with all its files.
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
