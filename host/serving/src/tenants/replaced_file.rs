//! A file that is replaced as a whole, also when the disk is full.
//!
//! The new content is written into a spare file beside it, which has its room on the disk already, and then the two
//! exchange their places. Keys can so be revoked whatever fills the disk: a file system that overwrites blocks in place
//! (ext4, XFS, tmpfs) needs no further one. The spare file has the content before the last change, for the same user
//! alone. A spare file that cannot be used is replaced by a temporary file, for which the disk must have room.

use rustix::fs::{CWD, FallocateFlags, OFlags, RenameFlags, fallocate, renameat_with};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The end of the name of the spare file.
const SPARE_END: &str = ".spare";

/// The least room of the spare file.
const LEAST_ROOM: u64 = 64 << 10;

/// Replaces the file at `path` by one of mode 0600 with this content, on the disk when this returns.
///
/// A reader that has opened the file before sees the former content until the next but one change.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let spare = spare_path(path);
    match open_spare(&spare) {
        Some(file) => {
            write(&file, content)?;
            make_newer(&file, path)?;
            file.sync_all()?;
            exchange(&spare, path)?;
        }
        None => {
            // Temporary files have mode 0600.
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            file.write_all(content)?;
            file.as_file().sync_all()?;
            file.persist(path)?;
        }
    }
    File::open(directory)?.sync_all()?;
    reserve(path);
    Ok(())
}

/// Reserves room on the disk for the next content of the file at `path`, unless it cannot be had.
pub(super) fn reserve(path: &Path) {
    let bytes = fs::metadata(path).map_or(0, |metadata| metadata.len());
    let bytes = bytes.saturating_mul(2).max(LEAST_ROOM);
    let Some(file) = open_spare(&spare_path(path)) else {
        return;
    };
    if let Err(error) = fallocate(&file, FallocateFlags::KEEP_SIZE, 0, bytes) {
        let error = &io::Error::from(error) as &dyn std::error::Error;
        tracing::debug!(error, "no room is reserved for changes of the tenants");
    }
}

fn spare_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{SPARE_END}"))
}

/// Opens the spare file, or creates it. Returns `None` for anything else in its place, and for a file that has another name
/// too, such as that of a copy for a backup.
fn open_spare(spare: &Path) -> Option<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    // Without waiting for the other end of a pipe.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).ok()?;
    let file = options.custom_flags(flags).open(spare).ok()?;
    let is_usable = |metadata: &Metadata| {
        metadata.is_file() && metadata.nlink() == 1 && metadata.mode() & 0o777 == 0o600
    };
    file.metadata().ok().filter(is_usable)?;
    Some(file)
}

/// Overwrites a file.
fn write(mut file: &File, content: &[u8]) -> io::Result<()> {
    file.write_all(content)?;
    let bytes = u64::try_from(content.len()).map_err(io::Error::other)?;
    file.set_len(bytes)
}

/// Makes a file newer than the one at `path`, so that nobody takes it for one that was there before: two files take turns.
fn make_newer(file: &File, path: &Path) -> io::Result<()> {
    let before = match fs::metadata(path) {
        Ok(metadata) => metadata.modified()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if file.metadata()?.modified()? > before {
        return Ok(());
    }
    let newer = before.checked_add(Duration::from_nanos(1));
    newer.map_or(Ok(()), |newer| file.set_modified(newer))
}

/// Lets two files exchange their places. If there is no file at `path`, or the file system cannot exchange files, the first
/// one is moved there.
fn exchange(spare: &Path, path: &Path) -> io::Result<()> {
    let is_file = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    let exchanged = is_file && renameat_with(CWD, spare, CWD, path, RenameFlags::EXCHANGE).is_ok();
    match exchanged {
        true => Ok(()),
        false => fs::rename(spare, path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, Result};
    use std::os::unix::fs::PermissionsExt;

    fn inode(path: &Path) -> Result<u64> {
        Ok(fs::metadata(path)?.ino())
    }

    #[test]
    fn two_files_take_turns_and_the_one_that_waits_has_room_on_the_disk() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("a.toml");
        replace(&path, b"first")?;
        let spare = spare_path(&path);
        // Not all file systems reserve room.
        let other = tempfile::tempfile_in(directory.path())?;
        let can_reserve = fallocate(&other, FallocateFlags::KEEP_SIZE, 0, LEAST_ROOM).is_ok();
        for content in [b"second, a longer one".as_slice(), b"third", b"", b"fifth"] {
            let before = (inode(&path)?, inode(&spare)?);
            let modified = fs::metadata(&path)?.modified()?;
            replace(&path, content)?;
            assert_eq!(fs::read(&path)?, content);
            assert_eq!((inode(&spare)?, inode(&path)?), before);
            assert!(fs::metadata(&path)?.modified()? > modified);
            let mode = fs::metadata(&path)?.permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let room = fs::metadata(&spare)?.blocks() * 512;
            assert!(room >= LEAST_ROOM || !can_reserve, "{room}");
        }
        Ok(())
    }

    #[test]
    fn a_file_that_is_no_spare_is_left_as_it_is() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("a.toml");
        let other = directory.path().join("other");
        fs::write(&other, "other")?;
        fs::set_permissions(&other, fs::Permissions::from_mode(0o600))?;
        let spare = spare_path(&path);
        std::os::unix::fs::symlink(&other, &spare)?;
        replace(&path, b"1")?;
        fs::remove_file(&spare)?;
        fs::hard_link(&other, &spare)?;
        replace(&path, b"2")?;
        assert_eq!(fs::read(&other)?, b"other");
        assert_eq!(fs::read(&path)?, b"2");
        let names = fs::read_dir(directory.path())?.count();
        assert_eq!(names, 3, "no temporary file stays");
        Ok(())
    }

    #[test]
    fn a_link_in_the_place_of_the_file_is_replaced_by_a_file() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let (path, other) = (directory.path().join("a.toml"), directory.path().join("b"));
        fs::write(&other, "other")?;
        std::os::unix::fs::symlink(&other, &path)?;
        replace(&path, b"1")?;
        let kind = fs::symlink_metadata(&path)?.file_type();
        assert!(kind.is_file());
        assert_eq!(fs::read(&other)?, b"other");
        let name = spare_path(&path);
        let name = name.file_name().context("no name")?;
        assert_eq!(name, ".a.toml.spare");
        Ok(())
    }
}
