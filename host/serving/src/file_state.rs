//! The state of a file at one moment, for detecting later changes without reading its content.

use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The identity, the size and the times of a file, with links followed. A write to the file changes it,
/// within the granularity of the file system's times, and so does another file in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileState {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Seconds, and nanoseconds in addition.
    modified: (i64, i64),
    /// The change time of the inode. A process that writes to the file can set its other times, but not this one.
    changed: (i64, i64),
}

impl FileState {
    /// Returns the state of the file at `path`.
    pub fn of(path: &Path) -> io::Result<FileState> {
        Ok(FileState::from(&std::fs::metadata(path)?))
    }
}

impl From<&Metadata> for FileState {
    fn from(metadata: &Metadata) -> FileState {
        FileState {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Writes text that differs between different states of one file system. It lacks the device, whose number
/// may be another after a restart of the machine.
impl fmt::Display for FileState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (modified, changed) = (self.modified, self.changed);
        write!(f, "{} {} {modified:?} {changed:?}", self.inode, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn another_file_at_the_path_has_another_state() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let (path, other) = (directory.path().join("a"), directory.path().join("b"));
        fs::write(&path, "old")?;
        let first = FileState::of(&path)?;
        assert_eq!(FileState::of(&path)?, first);
        fs::write(&other, "new")?;
        fs::rename(&other, &path)?;
        let second = FileState::of(&path)?;
        assert_ne!(second, first);
        assert_ne!(second.to_string(), first.to_string());
        assert!(FileState::of(&directory.path().join("none")).is_err());
        Ok(())
    }
}
