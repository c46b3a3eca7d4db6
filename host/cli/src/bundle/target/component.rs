//! The target `component`: one file, for any host of wasi:http.

use crate::bundle::finished::Bundle;
use crate::display;
use anyhow::Context;
use std::io::{self, Write};
use std::path::Path;

/// Writes the component to `output`, as a whole or not at all.
pub(super) fn write(bundle: &Bundle<'_>, output: &Path) -> anyhow::Result<()> {
    replace(output, bundle.bytes)
        .with_context(|| format!("failed to write `{}`", display::path(output)))
}

/// Replaces the file at `path`, or creates it.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".bundle-");
    // Readable for a host that runs as another user. The umask applies.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(directory)?;
    file.write_all(content)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("m.wasm");
        replace(&path, b"one")?;
        replace(&path, b"two")?;
        assert_eq!(std::fs::read(&path)?, b"two");
        assert_eq!(std::fs::read_dir(directory.path())?.count(), 1);
        assert!(replace(&directory.path().join("none/m.wasm"), b"").is_err());
        Ok(())
    }
}
