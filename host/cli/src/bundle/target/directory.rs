//! The directory of a target: a manifest that the tools of a platform read, and the files that it names.
//!
//! Invariant: a manifest that exists is not replaced, since its owner may have added routes and accounts. It is
//! refused if it does not name the files that are written.

use super::component::replace;
use crate::display;
use crate::failure::{BadConfiguration, bad_configuration};
use anyhow::Context;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

/// A file in the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TargetFile {
    pub(super) name: String,
    pub(super) content: Vec<u8>,
}

/// The contents of the directory.
#[derive(Debug)]
pub(super) struct TargetDirectory {
    /// The manifest, in TOML.
    pub(super) manifest: TargetFile,
    pub(super) files: Vec<TargetFile>,
}

impl TargetFile {
    pub(super) fn new(name: &str, content: impl Into<Vec<u8>>) -> TargetFile {
        TargetFile {
            name: name.to_owned(),
            content: content.into(),
        }
    }
}

impl TargetDirectory {
    /// Writes the files. A different manifest that exists must satisfy `fits`. Files that an earlier bundle left
    /// are removed if `is_own` recognises their names.
    pub(super) fn write(
        &self,
        output: &Path,
        fits: impl Fn(&toml::Table) -> bool,
        is_own: impl Fn(&str) -> bool,
    ) -> anyhow::Result<()> {
        let keeps_manifest = self.check_manifest(output, fits)?;
        let shown = display::path(output);
        fs::create_dir_all(output).with_context(|| format!("failed to create `{shown}`"))?;
        self.remove_old(output, is_own)
            .with_context(|| format!("failed to remove the old files in `{shown}`"))?;
        let manifest = (!keeps_manifest).then_some(&self.manifest);
        for file in self.files.iter().chain(manifest) {
            let path = output.join(&file.name);
            replace(&path, &file.content)
                .with_context(|| format!("failed to write `{}`", display::path(&path)))?;
        }
        Ok(())
    }

    /// Returns whether the manifest that exists is kept.
    fn check_manifest(
        &self,
        output: &Path,
        fits: impl Fn(&toml::Table) -> bool,
    ) -> anyhow::Result<bool> {
        let path = output.join(&self.manifest.name);
        let shown = display::path(&path);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                let output = display::path(output);
                return Err(bad_configuration(format!(
                    "`{output}` is a file; name a directory with --output"
                )));
            }
            Err(error) => {
                return Err(error).with_context(|| format!("failed to read `{shown}`"));
            }
        };
        let invalid = || BadConfiguration::new(format!("`{shown}` is not valid TOML"));
        let table = text.parse().with_context(invalid)?;
        if !fits(&table) {
            return Err(bad_configuration(format!(
                "`{shown}` exists and does not name the files of this bundle; remove it, or name another directory \
                 with --output"
            )));
        }
        Ok(true)
    }

    fn remove_old(&self, output: &Path, is_own: impl Fn(&str) -> bool) -> io::Result<()> {
        for entry in fs::read_dir(output)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if is_own(name) && !self.files.iter().any(|file| file.name == name) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// Returns the path by which a command that runs in `directory` finds `path`.
pub(super) fn relative(directory: &Path, path: &Path) -> io::Result<PathBuf> {
    let (directory, path) = (canonical(directory)?, canonical(path)?);
    let pairs = directory.components().zip(path.components());
    let common = pairs.take_while(|(a, b)| a == b).count();
    let up = directory.components().skip(common);
    let relative: PathBuf = up
        .map(|_| Component::ParentDir)
        .chain(path.components().skip(common))
        .collect();
    Ok(match relative.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => relative,
    })
}

/// Returns the absolute path without symbolic links, as far as it exists.
fn canonical(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    if let Ok(canonical) = path.canonicalize() {
        return Ok(canonical);
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok(canonical(parent)?.join(name)),
        _ => Ok(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents() -> TargetDirectory {
        TargetDirectory {
            manifest: TargetFile::new("app.toml", "main = \"a.js\""),
            files: vec![
                TargetFile::new("a.js", "one"),
                TargetFile::new("b1.wasm", "two"),
            ],
        }
    }

    fn names_main(manifest: &toml::Table) -> bool {
        manifest.get("main").and_then(toml::Value::as_str) == Some("a.js")
    }

    #[test]
    fn a_manifest_with_additions_is_kept_and_files_are_replaced() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let output = directory.path().join("deep/app");
        contents().write(&output, names_main, |_| false)?;
        let edited = "main = \"a.js\"\nroute = \"example.org\"";
        fs::write(output.join("app.toml"), edited)?;
        fs::write(output.join("a.js"), "old")?;
        fs::write(output.join("b2.wasm"), "old")?;
        fs::write(output.join("notes.txt"), "kept")?;
        contents().write(&output, names_main, |name| name.starts_with('b'))?;
        assert_eq!(fs::read_to_string(output.join("app.toml"))?, edited);
        assert_eq!(fs::read_to_string(output.join("a.js"))?, "one");
        assert!(!output.join("b2.wasm").exists());
        assert!(output.join("notes.txt").exists());
        Ok(())
    }

    #[test]
    fn a_manifest_of_something_else_is_refused_before_anything_is_written() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        for manifest in ["main = \"other.js\"", "not TOML"] {
            fs::write(directory.path().join("app.toml"), manifest)?;
            let written = contents().write(directory.path(), names_main, |_| false);
            let error = written.err().context("written")?;
            assert!(error.is::<BadConfiguration>(), "{error:#}");
            assert!(!directory.path().join("a.js").exists());
        }
        Ok(())
    }

    #[test]
    fn a_file_is_no_directory() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let output = directory.path().join("m.wasm");
        fs::write(&output, "")?;
        let written = contents().write(&output, names_main, |_| false);
        assert!(written.is_err_and(|error| error.is::<BadConfiguration>()));
        Ok(())
    }

    #[test]
    fn a_path_is_relative_to_the_directory_of_the_manifest() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let root = directory.path();
        let path = relative(&root.join("out/app"), &root.join("models/m"))?;
        assert_eq!(path, Path::new("../../models/m"));
        assert_eq!(relative(root, &root.join("m"))?, Path::new("m"));
        assert_eq!(relative(root, root)?, Path::new("."));
        Ok(())
    }
}
