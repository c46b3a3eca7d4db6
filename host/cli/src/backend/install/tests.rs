//! Tests of the contents of the cache directory after installations that succeed, fail or are
//! interrupted.

use super::super::package::Member;
use super::*;
use sha2::{Digest, Sha256};
use std::io::Write;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A package with one small wheel, and the wheel's path.
struct Sample {
    directory: TempDir,
    package: &'static Package,
    wheel: Vec<PathBuf>,
}

impl Sample {
    fn new() -> anyhow::Result<Sample> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("renamed.zip");
        let mut writer = ZipWriter::new(File::create(&path)?);
        writer.start_file("pkg/lib.so", SimpleFileOptions::default())?;
        writer.write_all(b"12345")?;
        writer.finish()?;
        let content = fs::read(&path)?;
        let digest = Sha256::digest(&content);
        let sha256: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        // The table has static lifetimes; these few bytes are leaked until the tests end.
        let members = vec![Member {
            from: "pkg/lib.so",
            to: "lib.so",
            bytes: 5,
        }];
        let wheels = vec![Wheel {
            project: "sample",
            file: "sample-1.0-py3-none-any.whl",
            bytes: u64::try_from(content.len())?,
            sha256: sha256.leak(),
            members: members.leak(),
        }];
        let package = Box::leak(Box::new(Package {
            name: "sample",
            version: "1.0",
            machine: ("here", "now"),
            wheels: wheels.leak(),
        }));
        Ok(Sample {
            directory,
            package,
            wheel: vec![path],
        })
    }

    fn cache(&self) -> PathBuf {
        self.directory.path().join("cache")
    }

    fn install(&self, files: &[PathBuf], force: bool) -> anyhow::Result<Outcome> {
        let installation = Installation {
            package: self.package,
            cache: &self.cache(),
            source: Source::Files(files),
            force,
        };
        installation.run()
    }

    fn is_installed(&self) -> bool {
        installed::directory(&self.cache(), self.package).is_some()
    }

    /// Returns the names of the entries below `backends`, sorted.
    fn entries(&self) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.cache().join("backends"))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }
}

#[test]
fn a_package_is_installed_once_and_again_on_request() -> anyhow::Result<()> {
    let sample = Sample::new()?;
    let outcome = sample.install(&sample.wheel, false)?;
    assert!(matches!(outcome, Outcome::Installed(_)), "{outcome:?}");
    assert!(sample.is_installed());
    assert_eq!(sample.entries()?, ["lock", "sample-1.0"]);
    // No file is opened if the package is present.
    let outcome = sample.install(&["no such file".into()], false)?;
    assert!(matches!(outcome, Outcome::WasThere(_)), "{outcome:?}");
    let outcome = sample.install(&sample.wheel, true)?;
    assert!(matches!(outcome, Outcome::Installed(_)), "{outcome:?}");
    assert_eq!(sample.entries()?, ["lock", "sample-1.0"]);
    Ok(())
}

#[test]
fn an_installation_is_writable_by_its_owner_only() -> anyhow::Result<()> {
    let sample = Sample::new()?;
    sample.install(&sample.wheel, false)?;
    let place = sample.cache().join("backends/sample-1.0");
    for path in [place.clone(), place.join("lib.so")] {
        let mode = fs::metadata(&path)?.permissions().mode();
        assert_eq!(mode & 0o022, 0, "{}", path.display());
    }
    Ok(())
}

#[test]
fn a_damaged_installation_is_replaced() -> anyhow::Result<()> {
    let sample = Sample::new()?;
    sample.install(&sample.wheel, false)?;
    let library = sample.cache().join("backends/sample-1.0/lib.so");
    fs::write(&library, "123")?;
    assert!(!sample.is_installed());
    let outcome = sample.install(&sample.wheel, false)?;
    assert!(matches!(outcome, Outcome::Installed(_)), "{outcome:?}");
    assert_eq!(fs::read(&library)?, b"12345");
    Ok(())
}

#[test]
fn a_wheel_that_is_not_the_one_leaves_nothing() -> anyhow::Result<()> {
    let sample = Sample::new()?;
    let mut content = fs::read(&sample.wheel[0])?;
    // A bit of the library; the archive's own checksum would detect the change too.
    content[50] ^= 1;
    let damaged = sample.directory.path().join("damaged.whl");
    fs::write(&damaged, &content)?;
    let shorter = sample.directory.path().join("shorter.whl");
    fs::write(&shorter, &content[1..])?;
    for (file, expected) in [
        (&damaged, "not the published file"),
        (&shorter, "expected `sample-1.0-py3-none-any.whl`"),
        (&sample.directory.path().join("none"), "cannot open"),
    ] {
        let result = sample.install(std::slice::from_ref(file), false);
        let error = result.err().context("accepted")?;
        assert!(format!("{error:#}").contains(expected), "{error:#}");
        assert!(error.is::<BadConfiguration>(), "{error:#}");
        assert!(!sample.is_installed());
        assert_eq!(sample.entries()?, ["lock"]);
    }
    Ok(())
}

#[test]
fn a_failed_replacement_keeps_what_was_there() -> anyhow::Result<()> {
    let sample = Sample::new()?;
    sample.install(&sample.wheel, false)?;
    assert!(sample.install(&["no such file".into()], true).is_err());
    assert!(sample.is_installed());
    Ok(())
}

#[test]
fn files_left_by_an_interrupted_process_are_no_installation_and_are_removed() -> anyhow::Result<()>
{
    let sample = Sample::new()?;
    let left = sample.cache().join("backends/.partial-1x2y3z");
    fs::create_dir_all(&left)?;
    fs::write(left.join("lib.so"), "12345")?;
    assert!(!sample.is_installed());
    sample.install(&sample.wheel, false)?;
    assert_eq!(sample.entries()?, ["lock", "sample-1.0"]);
    Ok(())
}

#[test]
fn two_at_once_both_end_well() -> anyhow::Result<()> {
    let sample = Sample::new()?;
    let outcomes = std::thread::scope(|scope| {
        let install = || sample.install(&sample.wheel, false);
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(install)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow::anyhow!("panicked"))?)
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    let installed = |outcome: &&Outcome| matches!(outcome, Outcome::Installed(_));
    assert_eq!(outcomes.iter().filter(installed).count(), 1);
    assert_eq!(sample.entries()?, ["lock", "sample-1.0"]);
    Ok(())
}

#[test]
fn uninstalling_removes_every_version_and_nothing_else() -> anyhow::Result<()> {
    let sample = Sample::new()?;
    assert_eq!(uninstall(&sample.cache(), "sample")?, Vec::<PathBuf>::new());
    sample.install(&sample.wheel, false)?;
    let home = sample.cache().join("backends");
    for other in ["sample-0.9", "sample-extra-1.0", "decisions", "samples-1"] {
        fs::create_dir(home.join(other))?;
    }
    let removed = uninstall(&sample.cache(), "sample")?;
    assert_eq!(removed, [home.join("sample-0.9"), home.join("sample-1.0")]);
    assert_eq!(
        sample.entries()?,
        ["decisions", "lock", "sample-extra-1.0", "samples-1"]
    );
    Ok(())
}
