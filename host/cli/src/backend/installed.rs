//! Where the shared libraries of backends are kept, and which are there.
//!
//! Everything is below `backends` in the cache directory. A package has one directory, which appears
//! there whole or not at all, so that looking for its files is enough; their sizes are compared as well,
//! against a disk that was full or a copy that ended early.

use super::package::{Member, Package};
use std::path::{Path, PathBuf};

/// Where all packages are.
pub(super) fn home(cache: &Path) -> PathBuf {
    cache.join("backends")
}

/// The library of the pinned version that `wisp backend install onnxruntime` has put into the cache
/// directory, if it has.
pub(crate) fn onnxruntime(cache: &Path) -> Option<PathBuf> {
    let package = Package::for_this_machine("onnxruntime").ok()?;
    let library = package.members().next()?;
    Some(directory(cache, package)?.join(library.to))
}

/// The version of a package that this program installs.
pub(super) fn version(name: &str) -> Option<String> {
    let package = Package::for_this_machine(name).ok()?;
    Some(package.version.to_owned())
}

/// The directory of a package that is there with all its files.
pub(super) fn directory(cache: &Path, package: &Package) -> Option<PathBuf> {
    let directory = home(cache).join(package.directory_name());
    let whole = package.members().all(|member| is_there(&directory, member));
    whole.then_some(directory)
}

fn is_there(directory: &Path, member: &Member) -> bool {
    let file = directory.join(member.to).metadata();
    file.is_ok_and(|file| file.is_file() && file.len() == member.bytes)
}
