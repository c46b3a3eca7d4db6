//! Installs a component atomically, and only if it differs from the existing one.
//!
//! The file's modification time is the time at which the build started. A source that changes during the
//! build is therefore newer than the component, and `freshness` detects it.

use super::built_handler::Change;
use crate::display;
use anyhow::Context;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

/// Writes `component` to `path` and sets the file's modification time to `built`.
pub(super) fn install(component: &[u8], path: &Path, built: SystemTime) -> anyhow::Result<Change> {
    if fs::read(path).is_ok_and(|there| there == component) {
        // A failure to set the time only costs a call of cargo at the next build.
        let _ = File::options()
            .append(true)
            .open(path)
            .and_then(|file| file.set_modified(built));
        return Ok(Change::Same);
    }
    write(component, path, built)
        .with_context(|| format!("failed to write `{}`", display::path(path)))?;
    Ok(Change::Written)
}

fn write(component: &[u8], path: &Path, built: SystemTime) -> anyhow::Result<()> {
    let directory = path.parent().context("it is the root directory")?;
    fs::create_dir_all(directory)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".handler-");
    // Readable for a server that runs as another user, like cargo's own output. The umask applies.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(directory)?;
    file.write_all(component)?;
    file.as_file().set_modified(built)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_component_is_written_once_and_dated_each_time() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("1/handler.wasm");
        let first = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        assert_eq!(install(b"one", &path, first)?, Change::Written);
        assert_eq!(fs::metadata(&path)?.modified()?, first);
        let second = first + Duration::from_secs(60);
        assert_eq!(install(b"one", &path, second)?, Change::Same);
        assert_eq!(fs::metadata(&path)?.modified()?, second);
        assert_eq!(install(b"two", &path, second)?, Change::Written);
        assert_eq!(fs::read(&path)?, b"two");
        assert_eq!(fs::read_dir(directory.path().join("1"))?.count(), 1);
        Ok(())
    }
}
