//! The file of the log, to which whole lines are appended that are on the disk when the call returns.
//!
//! It is opened for each call, so that it can be renamed at any time: the next lines are in a new file. Nothing is ever
//! removed from it, but for the part of a line that could not be written as a whole.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file of the log. Lifetime: the process.
#[derive(Debug)]
pub(super) struct UsageFile {
    path: PathBuf,
}

impl UsageFile {
    /// Returns the file of this path, which need not exist.
    pub(super) fn new(path: &Path) -> UsageFile {
        UsageFile {
            path: path.to_owned(),
        }
    }

    /// Appends lines, and waits until they are on the disk. A call that fails has appended nothing, as far as the file
    /// system allows it.
    pub(super) fn append(&self, lines: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let options = options.read(true).append(true).create(true).mode(0o600);
        let mut file = options.open(&self.path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is not a regular file",
            ));
        }
        let size = metadata.len();
        let mut text = Vec::with_capacity(lines.len().saturating_add(1));
        if !ends_with_line(&file, size)? {
            // The machine or the file system has failed in the middle of a line.
            text.push(b'\n');
        }
        text.extend_from_slice(lines);
        let written = file.write_all(&text).and_then(|()| file.sync_data());
        if written.is_err() {
            // The lines are appended again by the next call; readers know them by their numbers.
            let _ = file.set_len(size);
            return written;
        }
        if size == 0 {
            self.sync_directory();
        }
        Ok(())
    }

    /// Waits until the name of a new file is on the disk. Not every file system can do that.
    fn sync_directory(&self) {
        let directory = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        if let Err(error) = synced {
            tracing::debug!(%error, "the directory of the usage log is not synchronized");
        }
    }
}

/// Returns whether a file of this size is empty or ends with a whole line.
fn ends_with_line(file: &File, size: u64) -> io::Result<bool> {
    let Some(last) = size.checked_sub(1) else {
        return Ok(true);
    };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn lines_are_appended_after_those_of_an_earlier_server() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("usage");
        UsageFile::new(&path).append(b"a\n")?;
        UsageFile::new(&path).append(b"b\nc\n")?;
        assert_eq!(std::fs::read(&path)?, b"a\nb\nc\n");
        let mode = std::fs::metadata(&path)?.permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        Ok(())
    }

    #[test]
    fn a_line_that_was_cut_off_does_not_damage_the_next_one() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("usage");
        std::fs::write(&path, "a\nhal")?;
        UsageFile::new(&path).append(b"b\n")?;
        assert_eq!(std::fs::read(&path)?, b"a\nhal\nb\n");
        Ok(())
    }

    #[test]
    fn a_file_that_was_renamed_is_followed_by_a_new_one() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("usage");
        let file = UsageFile::new(&path);
        file.append(b"a\n")?;
        std::fs::rename(&path, directory.path().join("usage.1"))?;
        file.append(b"b\n")?;
        assert_eq!(std::fs::read(&path)?, b"b\n");
        Ok(())
    }

    #[test]
    fn a_directory_or_a_device_is_no_file_for_the_log() {
        for path in ["/", "/dev/null"] {
            assert!(
                UsageFile::new(Path::new(path)).append(b"a\n").is_err(),
                "{path}"
            );
        }
    }
}
