//! Bounded, non-blocking reads of files from untrusted sources.
//!
//! The author of a model controls the content of a path: a pipe without a writer, a device that never
//! ends, a file larger than the memory. A file is therefore opened without blocking, examined once it is
//! open, and read only if it is a regular file within the size limit.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

/// Opens the regular file at `path`, through symbolic links if necessary, and returns it with its size in bytes.
///
/// # Errors
/// Returns [`ErrorKind::IsADirectory`] for a directory and [`ErrorKind::InvalidInput`] for any other
/// path that is not a regular file.
pub fn open_regular(path: &Path) -> Result<(File, u64)> {
    let irregular = || Error::new(ErrorKind::InvalidInput, "it is not a regular file");
    let file = open(path).map_err(|error| {
        // A path that cannot be opened at all, such as a socket, is often not a regular file either.
        match path.metadata() {
            Ok(facts) if !facts.is_file() && !facts.is_dir() => irregular(),
            _ => error,
        }
    })?;
    let facts = file.metadata()?;
    if facts.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    match facts.is_file() {
        true => Ok((file, facts.len())),
        false => Err(irregular()),
    }
}

/// Opens without blocking, since opening a pipe otherwise waits for a writer. The flag
/// has no effect on regular files.
#[cfg(unix)]
fn open(path: &Path) -> Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

#[cfg(not(unix))]
fn open(path: &Path) -> Result<File> {
    File::open(path)
}

/// Reads the regular file at `path`, of at most `max_bytes`.
///
/// # Errors
/// Returns [`ErrorKind::FileTooLarge`] for a larger file.
pub fn read_regular(path: &Path, max_bytes: u64) -> Result<Vec<u8>> {
    let (file, size) = open_regular(path)?;
    let too_large = |size: u64| {
        let text = format!("it has {size} bytes, the limit is {max_bytes}");
        Error::new(ErrorKind::FileTooLarge, text)
    };
    if size > max_bytes {
        return Err(too_large(size));
    }
    let mut content = Vec::new();
    let expected = usize::try_from(size).map_err(|_| too_large(size))?;
    content.try_reserve_exact(expected)?;
    // The file may grow in the meantime.
    file.take(max_bytes.saturating_add(1))
        .read_to_end(&mut content)?;
    match u64::try_from(content.len()) {
        Ok(size) if size <= max_bytes => Ok(content),
        _ => Err(too_large(max_bytes.saturating_add(1))),
    }
}

/// Reads the regular file at `path` as a UTF-8 string of at most `max_bytes`.
pub fn read_regular_text(path: &Path, max_bytes: u64) -> Result<String> {
    String::from_utf8(read_regular(path, max_bytes)?)
        .map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8"))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn regular_files_are_read_through_links_up_to_their_limit() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        std::fs::write(&file, "content")?;
        std::os::unix::fs::symlink("file", &link)?;
        for path in [&file, &link] {
            assert_eq!(read_regular(path, 7)?, b"content");
            let error = read_regular(path, 6).expect_err("it has seven bytes");
            assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        }
        std::fs::write(&file, [0xff])?;
        let error = read_regular_text(&file, 9).expect_err("it is no text");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        Ok(())
    }

    #[test]
    fn a_sparse_file_is_too_large_before_it_is_read() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("sparse");
        File::create(&path)?.set_len(1 << 40)?;
        let error = read_regular(&path, 1 << 20).expect_err("it has a terabyte");
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        Ok(())
    }

    #[test]
    fn files_that_are_not_regular_are_refused_without_reading() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let pipe = directory.path().join("pipe");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&pipe)
                .status()?
                .success()
        );
        let socket = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket)?;
        for (path, kind) in [
            (pipe.as_path(), ErrorKind::InvalidInput),
            (&socket, ErrorKind::InvalidInput),
            (Path::new("/dev/zero"), ErrorKind::InvalidInput),
            (directory.path(), ErrorKind::IsADirectory),
            (Path::new("/nowhere/at/all"), ErrorKind::NotFound),
        ] {
            let error = read_regular(path, 1 << 20).expect_err("it is no regular file");
            assert_eq!(error.kind(), kind, "{}", path.display());
        }
        Ok(())
    }
}
