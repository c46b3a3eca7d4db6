//! The uploads into a repository that are not part of it: files that arrive, uploads that are not committed, and
//! versions that are being deleted. Their changes exclude each other.
//!
//! `upload_directory` has the files of all of them. One server at a time uses it.

use crate::registry::repository;
use crate::uploads::commit::{self, CASES, MODEL, VERSION, sync_directory};
use crate::uploads::limits::UploadLimits;
use crate::uploads::storage_account::{StorageAccount, StorageLimit, StorageReservation};
use crate::uploads::trial::Trial;
use crate::uploads::upload_directory::{
    INCOMING, ROOT, STAGED, TRASH, TRIALS, names, prepare, recover, remove_if_empty, stored_bytes,
};
use crate::uploads::upload_error::UploadError;
use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tempfile::NamedTempFile;
use wisp_protocol::upload::{FilePlace, UploadFileName, VersionName};

/// The room on the disk that uploads leave for everything else: changes of the tenants, logs, compiled code.
const DISK_RESERVE: u64 = 64 << 20;

/// The maximum number of files of each place of an upload.
const MAX_FILES: usize = 256;

/// The uploads into one repository. Lifetime: until the repository is given up.
#[derive(Debug)]
pub(crate) struct Staging {
    repository: PathBuf,
    root: PathBuf,
    limits: Mutex<UploadLimits>,
    account: Arc<StorageAccount>,
    /// The versions that are being committed, to which no file is added.
    committing: Mutex<BTreeSet<VersionName>>,
    /// Locked, so that no other server uses the directory.
    _lock: File,
}

/// The reason that a repository cannot take uploads.
#[derive(Debug, thiserror::Error)]
pub enum OpenUploadsError {
    #[error("`{}` is not a directory of models, so nothing can be uploaded to it", .0.display())]
    NoRepository(PathBuf),
    #[error("another server takes uploads for `{}`", .0.display())]
    Locked(PathBuf),
    #[error("another service of the tenant takes uploads now")]
    GivenUp,
    #[error("`{}` cannot be used for uploads", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// An upload that is being committed. Dropped without a commit, it stays as it was.
#[derive(Debug)]
pub(crate) struct StagedVersion {
    staging: Arc<Staging>,
    name: VersionName,
}

/// The error of an upload for which the directory of the uploads has to be opened first.
impl From<OpenUploadsError> for UploadError {
    fn from(error: OpenUploadsError) -> UploadError {
        match error {
            OpenUploadsError::Locked(_) => UploadError::InUse(
                "earlier requests still use the repository; try again soon".to_owned(),
            ),
            OpenUploadsError::GivenUp => UploadError::InUse(
                "the settings of the tenant have just changed; try again".to_owned(),
            ),
            OpenUploadsError::NoRepository(_) => UploadError::Disabled,
            OpenUploadsError::Io { source, .. } => source.into(),
        }
    }
}

impl Staging {
    /// Opens the directory, completes the commits that were decided, and removes all other files.
    pub(crate) fn open(
        repository: &Path,
        limits: &UploadLimits,
    ) -> Result<Staging, OpenUploadsError> {
        if !repository::is_repository(repository).unwrap_or(false) {
            return Err(OpenUploadsError::NoRepository(repository.to_owned()));
        }
        let root = repository.join(ROOT);
        let io = |source| OpenUploadsError::Io {
            path: root.clone(),
            source,
        };
        let lock = prepare(&root).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenUploadsError::Locked(repository.to_owned()));
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        recover(&root, repository).map_err(io)?;
        let used = stored_bytes(repository, 0).map_err(io)?;
        Ok(Staging {
            account: Arc::new(StorageAccount::new(StorageLimit::of(limits), used)),
            limits: Mutex::new(limits.clone()),
            repository: repository.to_owned(),
            root,
            committing: Mutex::default(),
            _lock: lock,
        })
    }

    /// Returns the account of the bytes of the repository.
    pub(crate) fn account(&self) -> &Arc<StorageAccount> {
        &self.account
    }

    /// Replaces the limits. What is stored stays.
    pub(crate) fn set_limits(&self, limits: &UploadLimits) {
        // It is replaced as a whole, so a poisoned lock guards a consistent value.
        let mut current = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        *current = limits.clone();
        self.account.set_limit(StorageLimit::of(limits));
    }

    fn limits(&self) -> UploadLimits {
        // See `set_limits`.
        let current = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }

    /// Returns an error if the disk has too little room for this many further bytes.
    pub(crate) fn check_room(&self, bytes: usize) -> Result<(), UploadError> {
        let disk = rustix::fs::statvfs(&self.root).map_err(io::Error::from)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        match leaves_reserve(free, bytes) {
            true => Ok(()),
            false => Err(UploadError::DiskReserved),
        }
    }

    /// Checks that the version does not exist, and that another one would be within the limits.
    pub(crate) fn check_new(&self, name: &VersionName) -> Result<(), UploadError> {
        let limits = self.limits();
        self.check_absent(name)?;
        let model = self.model_directory(name);
        let staged = self.root.join(STAGED);
        let is_known = model.is_dir() || staged.join(name.model.as_str()).is_dir();
        if !is_known {
            let waiting = names(&staged)?;
            let waiting = waiting
                .iter()
                .filter(|model| !self.repository.join(model).is_dir());
            let models = names(&self.repository)?
                .len()
                .saturating_add(waiting.count());
            if models >= limits.models {
                let limit = limits.models;
                return Err(match limits.of_tenant.models {
                    true => UploadError::OverTenantModels { limit },
                    false => UploadError::TooManyModels { limit },
                });
            }
        }
        let version = name.version.to_string();
        let waiting = names(&staged.join(name.model.as_str()))?;
        if !waiting.contains(&version) {
            let versions = self.versions(name)?.len().saturating_add(waiting.len());
            if versions >= limits.versions {
                let limit = limits.versions;
                return Err(UploadError::TooManyVersions { limit });
            }
        }
        Ok(())
    }

    /// Returns a new file, which is removed on drop.
    pub(crate) fn new_file(&self) -> io::Result<NamedTempFile> {
        NamedTempFile::new_in(self.root.join(INCOMING))
    }

    /// Makes a complete file, which has been written to the disk, part of the upload. Replaces one of the same name.
    pub(crate) fn keep(
        &self,
        (name, file): (&VersionName, &UploadFileName),
        content: NamedTempFile,
        reservation: StorageReservation,
    ) -> Result<(), UploadError> {
        // Held meanwhile, so that no commit begins.
        let committing = self.lock();
        if committing.contains(name) {
            return Err(being_committed(name));
        }
        // Checked again: files that arrive at the same time are not counted before.
        self.check_new(name)?;
        let staged = self.staged(name);
        check_undecided(name, &staged)?;
        let directory = match file.place() {
            FilePlace::Version => staged.join(VERSION),
            FilePlace::Model => staged.join(MODEL),
            FilePlace::Cases => staged.join(MODEL).join(CASES),
        };
        fs::create_dir_all(&directory)?;
        let path = directory.join(file.as_str());
        let replaced = fs::symlink_metadata(&path).map(|metadata| metadata.len());
        if replaced.is_err() && fs::read_dir(&directory)?.count() >= MAX_FILES {
            return Err(UploadError::TooManyFiles { limit: MAX_FILES });
        }
        content.persist(&path).map_err(|error| error.error)?;
        sync_directory(&directory)?;
        self.account.release(replaced.unwrap_or(0));
        reservation.keep();
        Ok(())
    }

    /// Begins to commit an upload. No other change of it is possible meanwhile.
    pub(crate) fn begin_commit(
        self: &Arc<Staging>,
        name: &VersionName,
    ) -> Result<StagedVersion, UploadError> {
        self.check_absent(name)?;
        let mut committing = self.lock();
        if !self.staged(name).is_dir() {
            return Err(UploadError::NothingUploaded(name.clone()));
        }
        if !committing.insert(name.clone()) {
            return Err(being_committed(name));
        }
        Ok(StagedVersion {
            staging: Arc::clone(self),
            name: name.clone(),
        })
    }

    /// Removes an upload that is not committed. Returns whether there was one.
    pub(crate) fn discard(&self, name: &VersionName) -> Result<bool, UploadError> {
        let committing = self.lock();
        if committing.contains(name) {
            return Err(being_committed(name));
        }
        let staged = self.staged(name);
        check_undecided(name, &staged)?;
        let is_there = staged.is_dir();
        if is_there {
            self.delete(&staged)?;
            remove_if_empty(&staged);
        }
        Ok(is_there)
    }

    /// Deletes a directory of the repository: first by one rename, and then its files.
    pub(crate) fn delete(&self, directory: &Path) -> Result<(), UploadError> {
        let bytes = stored_bytes(directory, 0)?;
        let trash = tempfile::Builder::new()
            .prefix("deleted-")
            .tempdir_in(self.root.join(TRASH))?;
        fs::rename(directory, trash.path().join("files"))?;
        if let Some(parent) = directory.parent() {
            sync_directory(parent)?;
        }
        // Files that cannot be removed now are removed at the next start.
        drop(trash);
        self.account.release(bytes);
        Ok(())
    }

    fn check_absent(&self, name: &VersionName) -> Result<(), UploadError> {
        let path = self.model_directory(name).join(name.version.to_string());
        let is_taken = fs::symlink_metadata(path).is_ok();
        match is_taken || self.versions(name)?.contains(&name.version.to_string()) {
            true => Err(UploadError::VersionExists(name.clone())),
            false => Ok(()),
        }
    }

    /// Returns the versions of the model in the repository.
    fn versions(&self, name: &VersionName) -> Result<BTreeSet<String>, UploadError> {
        let model = self.model_directory(name);
        if !model.is_dir() {
            return Ok(BTreeSet::new());
        }
        let versions = repository::versions(&model);
        let versions = versions.map_err(|error| UploadError::Refused(error.client_reason()))?;
        Ok(versions.keys().map(ToString::to_string).collect())
    }

    fn model_directory(&self, name: &VersionName) -> PathBuf {
        self.repository.join(name.model.as_str())
    }

    fn staged(&self, name: &VersionName) -> PathBuf {
        let model = self.root.join(STAGED).join(name.model.as_str());
        model.join(name.version.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<VersionName>> {
        // No code panics between two changes of the set, so a poisoned lock still guards a consistent one.
        self.committing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl StagedVersion ===

impl StagedVersion {
    /// Returns a directory from which the version can be loaded as it would be after the commit.
    pub(crate) fn trial(&self) -> Result<Trial, UploadError> {
        let trials = self.staging.root.join(TRIALS);
        let staged = self.staging.staged(&self.name);
        let model = self.staging.model_directory(&self.name);
        Ok(Trial::make(&trials, (&staged, &model), &self.name)?)
    }

    /// Makes the version part of the repository.
    pub(crate) fn commit(self) -> Result<(), UploadError> {
        self.staging.check_absent(&self.name)?;
        let staged = self.staging.staged(&self.name);
        let replaced = self.replaced_bytes(&staged);
        commit::decide(&staged)?;
        commit::roll_forward(&staged, &self.staging.repository, &self.name)?;
        remove_if_empty(&staged);
        self.staging.account.release(replaced);
        Ok(())
    }

    /// Returns the bytes of the files of the model that the commit replaces.
    fn replaced_bytes(&self, staged: &Path) -> u64 {
        let model = self.staging.model_directory(&self.name);
        let (from, cases) = (staged.join(MODEL), staged.join(MODEL).join(CASES));
        let places = [(from, model.clone()), (cases, model.join(CASES))];
        let mut bytes = 0u64;
        for (from, to) in places {
            let entries = fs::read_dir(from).into_iter().flatten().flatten();
            for entry in entries {
                let replaced = fs::symlink_metadata(to.join(entry.file_name()));
                let replaced = replaced.ok().filter(fs::Metadata::is_file);
                bytes = bytes.saturating_add(replaced.map_or(0, |metadata| metadata.len()));
            }
        }
        bytes
    }
}

impl Drop for StagedVersion {
    fn drop(&mut self) {
        self.staging.lock().remove(&self.name);
    }
}

/// Returns an error if the upload in the directory `staged` was decided and its files could not all be moved: it was
/// checked as it is, and the next commit or start completes it.
fn check_undecided(name: &VersionName, staged: &Path) -> Result<(), UploadError> {
    match commit::is_decided(staged) {
        true => Err(UploadError::InUse(format!(
            "the commit of version {} of `{}` has failed halfway; commit it again",
            name.version, name.model
        ))),
        false => Ok(()),
    }
}

fn being_committed(name: &VersionName) -> UploadError {
    let VersionName { model, version } = name;
    UploadError::InUse(format!(
        "version {version} of `{model}` is being committed; try again soon"
    ))
}

/// Returns whether this many further bytes leave the reserve on a disk with so many free ones.
fn leaves_reserve(free: u64, bytes: usize) -> bool {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    bytes.saturating_add(DISK_RESERVE) <= free
}

#[cfg(test)]
mod tests;
