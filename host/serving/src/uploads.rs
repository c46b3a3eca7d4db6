//! Uploads of versions into a repository by clients.
//!
//! Files arrive one by one ([`incoming_file`]) in a directory beside the models ([`staging`]), within limits
//! ([`limits`]) on their bytes ([`storage_account`]) and their number. A commit first checks what strangers may not
//! upload (`content_check`), and the caller loads the version from a directory of its own (`trial`). Only then does the
//! version become part of the repository, in one step (`commit`). A version that is part of it does not change.
//! Everything here is about files; [`crate::model_control`] checks permissions, and loads.

mod commit;
pub(crate) mod content_check;
pub mod incoming_file;
pub mod limits;
pub mod staging;
pub(crate) mod storage_account;
mod trial;
pub(crate) mod upload_directory;
pub mod upload_error;

use incoming_file::{IncomingFile, NewFile, run};
use limits::UploadLimits;
use staging::{OpenUploadsError, Staging};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;
use upload_error::UploadError;
use wisp_protocol::upload::{UploadFileName, VersionName};

/// The number of files that arrive at the same time.
const UPLOADS_AT_ONCE: usize = 8;

/// The repository that takes uploads, and their limits.
#[derive(Debug, Clone)]
pub struct UploadTarget {
    /// A directory of models.
    pub repository: PathBuf,
    pub limits: UploadLimits,
}

/// The uploads into one repository. Lifetime: the service for it, of which requests may outlive the next one.
#[derive(Debug)]
pub struct Uploads {
    directory: Arc<Directory>,
    places: Arc<Semaphore>,
    /// Set once another service changes the repository, by its own rules.
    has_ended: AtomicBool,
}

/// The directory of the uploads into one repository, which one process at a time opens. Lifetime: until the repository is
/// given up.
#[derive(Debug)]
struct Directory {
    repository: PathBuf,
    /// The limits now.
    limits: Mutex<UploadLimits>,
    state: Mutex<DirectoryState>,
}

#[derive(Debug)]
enum DirectoryState {
    /// Somebody else uses the directory.
    Waiting,
    Open(Arc<Staging>),
    GivenUp,
}

impl Uploads {
    /// Opens a repository for uploads. Completes commits that were interrupted, and removes the remains of uploads, so the
    /// models are loaded afterwards.
    pub fn open(target: UploadTarget) -> Result<Uploads, OpenUploadsError> {
        let uploads = Uploads::unopened(target);
        uploads.directory.open()?;
        Ok(uploads)
    }

    /// Opens a repository for uploads, or leaves that to the first upload if it is still in use. A file that arrives, or a
    /// commit, goes on when its tenant is removed, and uses the repository also when the tenant has been added again.
    pub(crate) fn open_when_free(target: UploadTarget) -> Result<Uploads, OpenUploadsError> {
        let uploads = Uploads::unopened(target);
        match uploads.directory.open() {
            Ok(_) => Ok(uploads),
            Err(error @ OpenUploadsError::Locked(_)) => {
                // Perhaps by another server, for as long as that runs.
                tracing::warn!(%error, "uploads wait until the repository is free");
                Ok(uploads)
            }
            Err(error) => Err(error),
        }
    }

    fn unopened(target: UploadTarget) -> Uploads {
        let UploadTarget { repository, limits } = target;
        Uploads {
            directory: Arc::new(Directory {
                repository,
                limits: Mutex::new(limits),
                state: Mutex::new(DirectoryState::Waiting),
            }),
            places: Arc::new(Semaphore::new(UPLOADS_AT_ONCE)),
            has_ended: AtomicBool::new(false),
        }
    }

    /// Returns the uploads for the service that takes the place of the one of these, with the files that have arrived and
    /// those that still do. Nothing else is committed or deleted through these.
    pub(crate) fn hand_over(&self) -> Uploads {
        self.has_ended.store(true, SeqCst);
        Uploads {
            directory: Arc::clone(&self.directory),
            places: Arc::clone(&self.places),
            has_ended: AtomicBool::new(false),
        }
    }

    /// Leaves the repository to another process, or to nobody. It is free as soon as no file arrives and no version is
    /// committed or deleted.
    pub(crate) fn give_up(&self) {
        self.has_ended.store(true, SeqCst);
        *self.directory.lock() = DirectoryState::GivenUp;
    }

    /// Replaces the limits, also for files that arrive.
    pub(crate) fn set_limits(&self, limits: &UploadLimits) {
        self.directory.set_limits(limits);
    }

    /// Returns whether another service has these uploads now, or none.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(SeqCst)
    }

    /// Begins to receive a file of a version that does not exist.
    pub(crate) async fn begin(
        &self,
        name: VersionName,
        file: UploadFileName,
    ) -> Result<IncomingFile, UploadError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| UploadError::Busy)?;
        let limit = self.directory.limits().bytes_of(&file);
        let directory = Arc::clone(&self.directory);
        let checked = name.clone();
        let open = move || -> Result<(Arc<Staging>, tempfile::NamedTempFile), UploadError> {
            let staging = directory.open()?;
            staging.check_new(&checked)?;
            staging.check_room(0)?;
            let content = staging.new_file()?;
            Ok((staging, content))
        };
        let (staging, content) = run(open).await??;
        Ok(IncomingFile::new(NewFile {
            staging,
            name,
            file,
            limit,
            content,
            place,
        }))
    }

    /// Returns the files of the uploads, to commit or delete them. Blocks.
    pub(crate) fn staging(&self) -> Result<Arc<Staging>, UploadError> {
        match self.has_ended() {
            true => Err(OpenUploadsError::GivenUp.into()),
            false => Ok(self.directory.open()?),
        }
    }
}

impl Directory {
    /// Opens the directory, if it is not open yet. Blocks.
    fn open(&self) -> Result<Arc<Staging>, OpenUploadsError> {
        let mut state = self.lock();
        match &*state {
            DirectoryState::Open(staging) => Ok(Arc::clone(staging)),
            DirectoryState::GivenUp => Err(OpenUploadsError::GivenUp),
            DirectoryState::Waiting => {
                let opened = Staging::open(&self.repository, &self.limits())?;
                let staging = Arc::new(opened);
                *state = DirectoryState::Open(Arc::clone(&staging));
                Ok(staging)
            }
        }
    }

    /// Replaces the limits.
    fn set_limits(&self, limits: &UploadLimits) {
        // Held meanwhile, so that the directory is not opened with the former ones.
        let state = self.lock();
        {
            // It is replaced as a whole, so a poisoned lock guards a consistent value.
            let mut current = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
            *current = limits.clone();
        }
        if let DirectoryState::Open(staging) = &*state {
            staging.set_limits(limits);
        }
    }

    fn limits(&self) -> UploadLimits {
        // See `set_limits`.
        let current = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }

    fn lock(&self) -> MutexGuard<'_, DirectoryState> {
        // The state is replaced as a whole, so a poisoned lock guards a consistent one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::path::Path;
    use tempfile::TempDir;

    fn uploads(limits: UploadLimits) -> anyhow::Result<(TempDir, Uploads)> {
        let directory = tempfile::tempdir()?;
        let repository = directory.path().to_owned();
        let uploads = Uploads::open(UploadTarget { repository, limits })?;
        Ok((directory, uploads))
    }

    fn arriving(directory: &Path) -> anyhow::Result<usize> {
        let incoming = directory.join(".wisp-uploads/incoming");
        Ok(std::fs::read_dir(incoming)?.count())
    }

    async fn begin(uploads: &Uploads) -> Result<IncomingFile, UploadError> {
        let name = VersionName::parse("m", "1").map_err(|_| UploadError::Lost)?;
        let file = UploadFileName::parse("model.onnx").map_err(|_| UploadError::Lost)?;
        uploads.begin(name, file).await
    }

    #[tokio::test]
    async fn a_file_arrives_in_pieces_and_is_hashed() -> anyhow::Result<()> {
        let (directory, uploads) = uploads(UploadLimits::default())?;
        let mut file = begin(&uploads).await?;
        file.write(Bytes::from_static(b"ab")).await?;
        file.write(Bytes::from(vec![0; 3 << 20])).await?;
        file.write(Bytes::from_static(b"c")).await?;
        let received = file.finish().await?;
        assert_eq!(received.bytes, (3 << 20) + 3);
        let path = ".wisp-uploads/staged/m/1/version/model.onnx";
        let content = std::fs::read(directory.path().join(path))?;
        assert_eq!(content.len(), (3 << 20) + 3);
        assert!(content.starts_with(b"ab") && content.ends_with(b"c"));
        let mut file = begin(&uploads).await?;
        file.write(Bytes::from_static(b"abc")).await?;
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(file.finish().await?.sha256, expected);
        Ok(())
    }

    #[tokio::test]
    async fn an_upload_that_is_too_large_or_incomplete_leaves_nothing() -> anyhow::Result<()> {
        let (directory, uploads) = uploads(UploadLimits {
            file_bytes: 4,
            stored_bytes: 6,
            ..UploadLimits::default()
        })?;
        let mut file = begin(&uploads).await?;
        assert!(matches!(
            file.check_length(5),
            Err(UploadError::TooLarge { limit: 4 })
        ));
        let refused = file.write(Bytes::from_static(b"12345")).await;
        assert!(matches!(refused, Err(UploadError::TooLarge { limit: 4 })));
        file.write(Bytes::from_static(b"1234")).await?;
        let mut second = begin(&uploads).await?;
        let refused = second.write(Bytes::from_static(b"123")).await;
        assert!(matches!(
            refused,
            Err(UploadError::StorageFull { limit: 6 })
        ));
        assert_eq!(arriving(directory.path())?, 2);
        // The client has disconnected.
        drop((file, second));
        assert_eq!(arriving(directory.path())?, 0);
        let mut third = begin(&uploads).await?;
        third.write(Bytes::from_static(b"1234")).await?;
        Ok(())
    }

    #[tokio::test]
    async fn a_repository_that_is_still_in_use_takes_uploads_once_it_is_free() -> anyhow::Result<()>
    {
        let (directory, earlier) = uploads(UploadLimits::default())?;
        let mut arriving = begin(&earlier).await?;
        let target = || UploadTarget {
            repository: directory.path().to_owned(),
            limits: UploadLimits::default(),
        };
        drop(earlier);
        assert!(matches!(
            Uploads::open(target()),
            Err(OpenUploadsError::Locked(_))
        ));
        let later = Uploads::open_when_free(target())?;
        assert!(matches!(begin(&later).await, Err(UploadError::InUse(_))));
        arriving.write(Bytes::from_static(b"1")).await?;
        arriving.finish().await?;
        begin(&later).await?;
        Ok(())
    }

    #[tokio::test]
    async fn limits_that_are_set_while_a_repository_is_in_use_hold_once_it_is_free()
    -> anyhow::Result<()> {
        let (directory, earlier) = uploads(UploadLimits::default())?;
        let later = Uploads::open_when_free(UploadTarget {
            repository: directory.path().to_owned(),
            limits: UploadLimits::default(),
        })?;
        let small = UploadLimits {
            stored_bytes: 2,
            ..UploadLimits::default()
        };
        later.set_limits(&small);
        drop(earlier);
        let mut file = begin(&later).await?;
        file.write(Bytes::from_static(b"12")).await?;
        let refused = file.write(Bytes::from_static(b"3")).await;
        assert!(
            matches!(refused, Err(UploadError::StorageFull { limit: 2 })),
            "{refused:?}"
        );
        drop(file);
        // Those that are handed over share the limits, also for files that arrive.
        let last = later.hand_over();
        let mut arriving = begin(&later).await?;
        last.set_limits(&UploadLimits {
            stored_bytes: 1,
            ..small
        });
        let refused = arriving.write(Bytes::from_static(b"12")).await;
        assert!(
            matches!(refused, Err(UploadError::StorageFull { limit: 1 })),
            "{refused:?}"
        );
        Ok(())
    }

    /// Returns the model and version of the files of `begin`.
    fn version() -> anyhow::Result<VersionName> {
        Ok(VersionName::parse("m", "1")?)
    }

    #[tokio::test]
    async fn uploads_that_are_handed_over_go_on_while_requests_have_the_old_service()
    -> anyhow::Result<()> {
        let (_directory, earlier) = uploads(UploadLimits::default())?;
        let mut arrived = begin(&earlier).await?;
        arrived.write(Bytes::from_static(b"1")).await?;
        arrived.finish().await?;
        let mut arriving = begin(&earlier).await?;
        let later = earlier.hand_over();
        assert!(earlier.has_ended() && !later.has_ended());
        // Files that the old service would commit are not checked by the new rules.
        let refused = earlier.staging().map(|_| ());
        assert!(matches!(refused, Err(UploadError::InUse(_))), "{refused:?}");
        let staging = later.staging()?;
        drop(staging.begin_commit(&version()?)?);
        arriving.write(Bytes::from_static(b"2")).await?;
        arriving.finish().await?;
        // A request that has found the old service.
        begin(&earlier).await?;
        begin(&later).await?;
        Ok(())
    }

    #[tokio::test]
    async fn a_repository_that_is_given_up_is_free_once_nothing_arrives() -> anyhow::Result<()> {
        let (directory, earlier) = uploads(UploadLimits::default())?;
        let target = || UploadTarget {
            repository: directory.path().to_owned(),
            limits: UploadLimits::default(),
        };
        let arriving = begin(&earlier).await?;
        earlier.give_up();
        assert!(matches!(begin(&earlier).await, Err(UploadError::InUse(_))));
        assert!(matches!(
            Uploads::open(target()),
            Err(OpenUploadsError::Locked(_))
        ));
        drop(arriving);
        let later = Uploads::open(target())?;
        begin(&later).await?;
        // Files that were handed over before are given up too.
        let last = later.hand_over();
        last.give_up();
        assert!(matches!(begin(&later).await, Err(UploadError::InUse(_))));
        Uploads::open(target())?;
        Ok(())
    }

    #[tokio::test]
    async fn further_uploads_at_the_same_time_are_refused() -> anyhow::Result<()> {
        let (_directory, uploads) = uploads(UploadLimits::default())?;
        let mut files = Vec::new();
        for _ in 0..UPLOADS_AT_ONCE {
            files.push(begin(&uploads).await?);
        }
        assert!(matches!(begin(&uploads).await, Err(UploadError::Busy)));
        files.pop();
        begin(&uploads).await?;
        Ok(())
    }
}
