//! Where the shared libraries of backends are kept, and which are there.

use std::path::{Path, PathBuf};

/// The library that `wisp backend install onnxruntime` has put into the cache directory, if it has.
pub(crate) fn onnxruntime(cache: &Path) -> Option<PathBuf> {
    let library = cache.join("backends/onnxruntime/libonnxruntime.so");
    library.is_file().then_some(library)
}
