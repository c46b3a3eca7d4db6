//! A file that is replaced by an empty one when it has reached a size. A few of the older ones are kept.
//!
//! The files contain what clients have sent, so that only the user of the server can read them. Lines are appended as a
//! whole, and a program that reads the file by its name finds the newest ones.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The number of older files.
const KEPT: u32 = 4;

/// A file and its older ones. Lifetime: the process.
#[derive(Debug)]
pub(super) struct RotatingFile {
    path: PathBuf,
    max_bytes: u64,
    /// The open file with its size; `None` after a failure, until it can be opened again.
    current: Option<(File, u64)>,
}

impl RotatingFile {
    /// Opens the file, which may have lines already.
    pub(super) fn open(path: &Path, max_bytes: u64) -> io::Result<RotatingFile> {
        Ok(RotatingFile {
            path: path.to_owned(),
            max_bytes,
            current: Some(append(path)?),
        })
    }

    /// Appends a line, to a new file if it does not fit. After a failure the file is opened again by the next call.
    pub(super) fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        let text = [line, b"\n"].concat();
        let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
        let (mut file, mut size) = match self.current.take() {
            Some(current) => current,
            None => append(&self.path)?,
        };
        // A line that is larger than a file gets one of its own.
        let is_full = size > 0 && size.saturating_add(bytes) > self.max_bytes;
        // A pipe or a terminal has no size, and its name belongs to the system.
        if is_full && file.metadata()?.is_file() {
            drop(file);
            self.rotate()?;
            (file, size) = append(&self.path)?;
        }
        file.write_all(&text)?;
        self.current = Some((file, size.saturating_add(bytes)));
        Ok(())
    }

    /// Renames the files: each becomes one older, and the oldest is replaced.
    fn rotate(&self) -> io::Result<()> {
        for age in (1..=KEPT).rev() {
            let newer = older(&self.path, age - 1);
            match std::fs::rename(&newer, older(&self.path, age)) {
                // Not all of them exist yet.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                renamed => renamed?,
            }
        }
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true).mode(0o600).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

/// Returns the name of an older file; the age 0 is the file itself.
fn older(path: &Path, age: u32) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    if age > 0 {
        name.push(format!(".{age}"));
    }
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_pipe_keeps_its_name_however_much_is_written() -> anyhow::Result<()> {
        let (reader, writer) = io::pipe()?;
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        let mut file = RotatingFile::open(Path::new(&path), 4)?;
        for line in ["one", "two", "three"] {
            file.write_line(line.as_bytes())?;
        }
        drop((file, writer));
        assert_eq!(io::read_to_string(reader)?, "one\ntwo\nthree\n");
        Ok(())
    }
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_full_file_becomes_an_older_one_and_four_are_kept() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("payloads");
        let mut file = RotatingFile::open(&path, 8)?;
        for line in [
            "1aa",
            "1bb",
            "2aa",
            "2bb",
            "3",
            "a line of more bytes",
            "5",
            "6666666",
            "7",
        ] {
            file.write_line(line.as_bytes())?;
        }
        let content = |age| std::fs::read_to_string(older(&path, age));
        assert_eq!(content(0)?, "7\n");
        assert_eq!(content(1)?, "6666666\n");
        assert_eq!(content(2)?, "5\n");
        assert_eq!(content(3)?, "a line of more bytes\n");
        assert_eq!(content(4)?, "3\n");
        assert!(!older(&path, 5).exists());
        Ok(())
    }

    #[test]
    fn lines_are_added_to_those_of_an_earlier_server() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("payloads");
        RotatingFile::open(&path, 100)?.write_line(b"a")?;
        RotatingFile::open(&path, 100)?.write_line(b"b")?;
        assert_eq!(std::fs::read_to_string(&path)?, "a\nb\n");
        let mode = std::fs::metadata(&path)?.permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        Ok(())
    }

    #[test]
    fn a_file_that_could_not_be_opened_is_opened_later() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("below/payloads");
        assert!(RotatingFile::open(&path, 100).is_err());
        std::fs::create_dir(directory.path().join("below"))?;
        let mut file = RotatingFile::open(&path, 2)?;
        file.write_line(b"a")?;
        std::fs::remove_dir_all(directory.path().join("below"))?;
        // It is full, and there is no directory for the next one.
        assert!(file.write_line(b"b").is_err());
        std::fs::create_dir(directory.path().join("below"))?;
        file.write_line(b"c")?;
        assert_eq!(std::fs::read_to_string(&path)?, "c\n");
        Ok(())
    }
}
