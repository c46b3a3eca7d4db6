//! Tests of the installation of complete files.

use super::*;
use std::collections::BTreeMap;
use wisp_protocol::call::{ModelName, Version};

/// The artifact of version 2 of `m`.
fn artifact() -> anyhow::Result<ModelArtifact> {
    let mut files = BTreeMap::new();
    for title in ["2/model.onnx", "model.toml", "cases/x.json"] {
        files.insert(FileTitle::new(title)?, Blob::of(title.as_bytes()));
    }
    Ok(ModelArtifact {
        name: ModelName::new("m")?,
        version: Version::from_decimal("2").context("a version")?,
        files,
    })
}

/// Installs the artifact in a directory of models.
fn install(repository: &Path, force: bool) -> anyhow::Result<PathBuf> {
    let model = artifact()?;
    let installation = Installation {
        model: &model,
        directory: repository.join("m"),
        force,
    };
    installation.check()?;
    let staging = tempfile::Builder::new()
        .prefix(STAGING)
        .tempdir_in(repository)?;
    let files = staging.path().join("model");
    for title in model.files.keys() {
        let path = title.within(&files);
        fs::create_dir_all(path.parent().context("no parent")?)?;
        fs::write(path, title.as_str())?;
    }
    installation.install(&staging, &files)
}

/// Creates a directory of models with these files.
fn repository(files: &[(&str, &str)]) -> anyhow::Result<TempDir> {
    let repository = tempfile::tempdir()?;
    for (file, content) in files {
        let path = repository.path().join(file);
        fs::create_dir_all(path.parent().context("no parent")?)?;
        fs::write(path, content)?;
    }
    Ok(repository)
}

fn read(repository: &TempDir, file: &str) -> anyhow::Result<String> {
    let path = repository.path().join(file);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

fn refusal(repository: &TempDir) -> anyhow::Result<String> {
    let error = install(repository.path(), false)
        .err()
        .context("accepted")?;
    Ok(format!("{error:#}"))
}

#[test]
fn a_new_model_is_installed_as_a_whole() -> anyhow::Result<()> {
    let repository = repository(&[("other/1/model.onnx", "")])?;
    let place = install(repository.path(), false)?;
    assert_eq!(place, repository.path().join("m/2"));
    assert_eq!(read(&repository, "m/2/model.onnx")?, "2/model.onnx");
    assert_eq!(read(&repository, "m/cases/x.json")?, "cases/x.json");
    assert_eq!(fs::read_dir(repository.path())?.count(), 2);
    Ok(())
}

#[test]
fn a_version_is_added_to_a_model_with_the_same_settings() -> anyhow::Result<()> {
    let repository = repository(&[
        ("m/1/model.onnx", "one"),
        ("m/model.toml", "model.toml"),
        ("m/cases/own.json", "own"),
    ])?;
    install(repository.path(), false)?;
    assert_eq!(read(&repository, "m/1/model.onnx")?, "one");
    assert_eq!(read(&repository, "m/2/model.onnx")?, "2/model.onnx");
    assert_eq!(read(&repository, "m/cases/own.json")?, "own");
    assert_eq!(read(&repository, "m/cases/x.json")?, "cases/x.json");
    Ok(())
}

#[test]
fn existing_files_are_replaced_only_by_force() -> anyhow::Result<()> {
    for (file, expected) in [
        ("m/2/old.onnx", "m/2` exists"),
        ("m/002/old.onnx", "m/002` exists"),
        ("m/model.toml", "differs"),
        ("m/cases/x.json", "differs"),
    ] {
        let repository = repository(&[(file, "old")])?;
        let text = refusal(&repository)?;
        assert!(
            text.contains(expected) && text.contains("--force"),
            "{text}"
        );
        assert_eq!(read(&repository, file)?, "old");
        install(repository.path(), true)?;
        assert_eq!(read(&repository, "m/2/model.onnx")?, "2/model.onnx");
        assert_eq!(read(&repository, "m/model.toml")?, "model.toml");
        assert!(!repository.path().join("m/2/old.onnx").exists(), "{file}");
        assert!(!repository.path().join("m/002").exists(), "{file}");
        assert_eq!(fs::read_dir(repository.path())?.count(), 1);
    }
    Ok(())
}

#[test]
fn links_in_the_destination_are_not_followed() -> anyhow::Result<()> {
    for link in ["m", "m/2", "m/cases", "m/model.toml"] {
        let outside = tempfile::tempdir()?;
        let repository = repository(&[("other/1/model.onnx", "")])?;
        let link = repository.path().join(link);
        fs::create_dir_all(link.parent().context("no parent")?)?;
        std::os::unix::fs::symlink(outside.path(), &link)?;
        for force in [false, true] {
            let error = install(repository.path(), force)
                .err()
                .context("accepted")?;
            let text = format!("{error:#}");
            assert!(text.contains("is a symbolic link"), "{text}");
        }
        assert_eq!(fs::read_dir(outside.path())?.count(), 0);
    }
    Ok(())
}
