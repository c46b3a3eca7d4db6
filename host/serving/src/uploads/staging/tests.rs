//! Tests of uploads on the disk: their visibility, and their state after a restart.

use super::*;
use crate::uploads::limits::TenantParts;
use crate::uploads::upload_directory::has_content;
use anyhow::Result;
use std::io::Write;
use tempfile::TempDir;

fn repository() -> Result<TempDir> {
    let directory = tempfile::tempdir()?;
    let version = directory.path().join("m/1");
    fs::create_dir_all(&version)?;
    fs::write(version.join("model.onnx"), "12345678")?;
    Ok(directory)
}

fn open(repository: &TempDir) -> Result<Arc<Staging>> {
    let staging = Staging::open(repository.path(), &UploadLimits::default())?;
    Ok(Arc::new(staging))
}

/// Uploads one file.
fn put(staging: &Staging, (model, version): (&str, &str), file: &str) -> Result<(), UploadError> {
    let name = VersionName::parse(model, version).map_err(|_| UploadError::Lost)?;
    let file = UploadFileName::parse(file).map_err(|_| UploadError::Lost)?;
    let mut content = staging.new_file()?;
    content.write_all(b"1234")?;
    let mut reservation = staging.account().reservation();
    reservation.grow(4)?;
    staging.keep((&name, &file), content, reservation)
}

#[test]
fn an_upload_is_part_of_the_repository_once_it_is_committed() -> Result<()> {
    let repository = repository()?;
    let staging = open(&repository)?;
    put(&staging, ("m", "2"), "model.onnx")?;
    put(&staging, ("m", "2"), "cases/a.json")?;
    let model = repository.path().join("m");
    assert_eq!(repository::versions(&model)?.len(), 1);
    let staged = staging.begin_commit(&VersionName::parse("m", "2")?)?;
    let refused = put(&staging, ("m", "2"), "handler.wasm");
    assert!(matches!(refused, Err(UploadError::InUse(_))), "{refused:?}");
    staged.commit()?;
    assert!(model.join("2/model.onnx").is_file() && model.join("cases/a.json").is_file());
    let refused = put(&staging, ("m", "2"), "model.onnx");
    assert!(matches!(refused, Err(UploadError::VersionExists(_))));
    Ok(())
}

#[test]
fn a_start_keeps_what_was_decided_and_removes_the_rest() -> Result<()> {
    let repository = repository()?;
    let staging = open(&repository)?;
    put(&staging, ("m", "2"), "model.onnx")?;
    put(&staging, ("m", "3"), "model.onnx")?;
    put(&staging, ("new", "1"), "model.onnx")?;
    let arriving = staging.new_file()?.keep()?.1;
    commit::decide(&staging.staged(&VersionName::parse("m", "3")?))?;
    // As if the process had ended.
    drop(staging);
    let staging = open(&repository)?;
    let model = repository.path().join("m");
    assert!(model.join("3/model.onnx").is_file());
    assert!(!model.join("2").exists() && !repository.path().join("new").exists());
    assert!(!arriving.exists());
    assert!(names(&staging.root.join(STAGED))?.is_empty());
    Ok(())
}

#[test]
fn an_upload_whose_commit_has_failed_halfway_does_not_change() -> Result<()> {
    let repository = repository()?;
    let staging = open(&repository)?;
    let name = VersionName::parse("m", "2")?;
    put(&staging, ("m", "2"), "model.onnx")?;
    commit::decide(&staging.staged(&name))?;
    // A file added now would be moved into the repository without a check.
    let refused = put(&staging, ("m", "2"), "handler.wasm");
    assert!(matches!(refused, Err(UploadError::InUse(_))), "{refused:?}");
    let refused = staging.discard(&name);
    assert!(matches!(refused, Err(UploadError::InUse(_))), "{refused:?}");
    staging.begin_commit(&name)?.commit()?;
    let version = repository.path().join("m/2");
    assert!(version.join("model.onnx").is_file() && !version.join("handler.wasm").exists());
    Ok(())
}

#[test]
fn one_server_at_a_time_takes_uploads() -> Result<()> {
    let repository = repository()?;
    let first = open(&repository)?;
    let second = Staging::open(repository.path(), &UploadLimits::default());
    assert!(matches!(second, Err(OpenUploadsError::Locked(_))));
    drop(first);
    open(&repository)?;
    Ok(())
}

#[test]
fn models_and_versions_are_counted_with_those_that_are_not_committed() -> Result<()> {
    let repository = repository()?;
    let limits = UploadLimits {
        models: 2,
        versions: 2,
        ..UploadLimits::default()
    };
    let staging = Staging::open(repository.path(), &limits)?;
    let check = |model: &str, version: &str| -> Result<Result<(), UploadError>> {
        Ok(staging.check_new(&VersionName::parse(model, version)?))
    };
    check("m", "2")??;
    check("new", "1")??;
    put(&staging, ("m", "2"), "model.onnx")?;
    put(&staging, ("new", "1"), "model.onnx")?;
    check("m", "2")??;
    check("new", "1")??;
    let refused = check("m", "3")?;
    assert!(matches!(refused, Err(UploadError::TooManyVersions { .. })));
    let refused = check("other", "1")?;
    assert!(matches!(refused, Err(UploadError::TooManyModels { .. })));
    assert!(staging.discard(&VersionName::parse("new", "1")?)?);
    check("other", "1")??;
    put(&staging, ("other", "1"), "model.onnx")?;
    // A file that began to arrive before.
    let refused = put(&staging, ("new", "1"), "model.onnx");
    assert!(matches!(refused, Err(UploadError::TooManyModels { .. })));
    let refused = put(&staging, ("m", "3"), "model.onnx");
    assert!(matches!(refused, Err(UploadError::TooManyVersions { .. })));
    let exists = check("m", "1")?;
    assert!(matches!(exists, Err(UploadError::VersionExists(_))));
    Ok(())
}

#[test]
fn bytes_are_counted_until_their_files_are_deleted() -> Result<()> {
    let repository = repository()?;
    let limits = UploadLimits {
        stored_bytes: 16,
        ..UploadLimits::default()
    };
    let staging = Arc::new(Staging::open(repository.path(), &limits)?);
    assert!(staging.account().check(8).is_ok() && staging.account().check(9).is_err());
    put(&staging, ("m", "2"), "model.onnx")?;
    // The same file again takes the place of the first.
    put(&staging, ("m", "2"), "model.onnx")?;
    assert!(staging.account().check(4).is_ok() && staging.account().check(5).is_err());
    staging
        .begin_commit(&VersionName::parse("m", "2")?)?
        .commit()?;
    assert!(staging.account().check(5).is_err());
    staging.delete(&repository.path().join("m/2"))?;
    assert!(staging.account().check(8).is_ok());
    assert!(names(&staging.root.join(TRASH))?.is_empty());
    Ok(())
}

#[test]
fn a_link_in_place_of_the_directory_is_refused() -> Result<()> {
    let (repository, elsewhere) = (repository()?, tempfile::tempdir()?);
    std::os::unix::fs::symlink(elsewhere.path(), repository.path().join(ROOT))?;
    let opened = Staging::open(repository.path(), &UploadLimits::default());
    assert!(matches!(opened, Err(OpenUploadsError::Io { .. })));
    Ok(())
}

#[test]
fn a_repository_has_content_as_long_as_it_has_a_model_or_an_upload() -> Result<()> {
    let directory = tempfile::tempdir()?;
    assert!(!has_content(&directory.path().join("nothing"))?);
    assert!(!has_content(directory.path())?);
    let staging = open(&directory)?;
    assert!(!has_content(directory.path())?);
    put(&staging, ("m", "1"), "model.onnx")?;
    assert!(has_content(directory.path())?);
    let name = VersionName::parse("m", "1")?;
    staging.begin_commit(&name)?.commit()?;
    assert!(has_content(directory.path())?);
    staging.delete(&directory.path().join("m"))?;
    assert!(!has_content(directory.path())?);
    Ok(())
}

#[test]
fn uploads_leave_room_on_the_disk() {
    for (free, bytes, is_left) in [
        (DISK_RESERVE, 0, true),
        (DISK_RESERVE, 1, false),
        (DISK_RESERVE + 10, 10, true),
        (DISK_RESERVE - 1, 0, false),
        (0, usize::MAX, false),
    ] {
        assert_eq!(leaves_reserve(free, bytes), is_left, "{free} {bytes}");
    }
}

#[test]
fn new_limits_hold_for_the_next_upload_and_name_the_tenant() -> Result<()> {
    let repository = repository()?;
    let staging = open(&repository)?;
    put(&staging, ("m", "2"), "model.onnx")?;
    staging.set_limits(&UploadLimits {
        models: 1,
        of_tenant: TenantParts {
            stored_bytes: false,
            models: true,
        },
        ..UploadLimits::default()
    });
    let refused = put(&staging, ("n", "1"), "model.onnx");
    assert!(
        matches!(refused, Err(UploadError::OverTenantModels { limit: 1 })),
        "{refused:?}"
    );
    put(&staging, ("m", "3"), "model.onnx")?;
    Ok(())
}
