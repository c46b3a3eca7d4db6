//! The file of the tenants: read as a whole, replaced as a whole, and readable by its owner alone.
//!
//! A change is made under a lock, in another file that is synchronized and then takes the place of the old one
//! (`replaced_file`), so that two operators do not overwrite each other, and an end of the process at any moment leaves
//! the file before a change or the one after it. The server finds a change by the state of the file.

use crate::file_state::FileState;
use crate::tenants::records::{ChangeError, TenantRecords};
use crate::tenants::replaced_file;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use wisp_backend::bounded_file::read_regular;

/// The name of the file in the directory of the tenants.
pub const FILE_NAME: &str = "tenants.toml";

/// The name of the directory of the tenants' files.
const TENANTS: &str = "tenants";

/// The name of the file that is locked while the tenants are changed. The file itself is replaced, and so has no lock.
const LOCK_NAME: &str = ".tenants.lock";

/// The size limit of the file. A tenant takes a few hundred bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// The number of times that the file is read while it changes.
const READS: usize = 100;

/// The permissions of the group and of others.
const OTHERS: u32 = 0o077;

const HEADING: &str = "\
# The tenants of `wisp serve --tenants`. `wisp tenant` changes this file; running servers follow it.
# A key is stored as a hash, from which it cannot be restored.

";

/// The file of the tenants in a directory. Lifetime: the process.
#[derive(Debug, Clone)]
pub struct TenantFile {
    directory: PathBuf,
}

/// The reason that the file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TenantFileError {
    #[error("failed to {action} `{}`", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "`{}` can be read by others than its owner (mode {mode:04o}): use `chmod go= {}`",
        path.display(),
        path.display()
    )]
    Permissions { path: PathBuf, mode: u32 },
    #[error(
        "`{}` belongs to another user (uid {uid}): change its owner with `chown`, or run as that user",
        path.display()
    )]
    Owner { path: PathBuf, uid: u32 },
    #[error("`{}` is not valid: {reason}", path.display())]
    Content { path: PathBuf, reason: String },
}

/// The reason that the tenants are not changed.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    #[error(transparent)]
    File(#[from] TenantFileError),
    #[error(transparent)]
    Change(#[from] ChangeError),
}

impl TenantFile {
    /// Returns the file in this directory, which need not exist.
    pub fn new(directory: &Path) -> TenantFile {
        TenantFile {
            directory: directory.to_owned(),
        }
    }

    /// Returns the directory of the file.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the directory of the tenants' files. It does not contain this file, so that processes that load the models of
    /// tenants can be allowed to read it.
    pub fn tenants(&self) -> PathBuf {
        self.directory.join(TENANTS)
    }

    /// Returns the path of the file.
    pub fn path(&self) -> PathBuf {
        self.directory.join(FILE_NAME)
    }

    /// Returns the state of the file now, or `None` if it does not exist.
    pub fn state(&self) -> io::Result<Option<FileState>> {
        match FileState::of(&self.path()) {
            Ok(state) => Ok(Some(state)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads the file. Without one there are no tenants.
    pub fn read(&self) -> Result<TenantRecords, TenantFileError> {
        let path = self.path();
        match fs::metadata(&path) {
            Ok(metadata) => check_access(&path, (metadata.mode(), metadata.uid()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(TenantRecords::default());
            }
            Err(source) => return Err(failed("read", &path, source)),
        }
        let text = self.read_bytes();
        let text = text.map_err(|source| failed("read", &path, source))?;
        let invalid = |reason: String| TenantFileError::Content {
            path: path.clone(),
            reason,
        };
        let text = String::from_utf8(text).map_err(|_| invalid("it is not UTF-8".to_owned()))?;
        // The position of an error is enough: its text would repeat a line of the file, which may contain a hash.
        toml::from_str(&text).map_err(|error| invalid(error.message().to_owned()))
    }

    /// Returns the content at one time. Two changes while it is read would mix theirs, so it is read again after any.
    fn read_bytes(&self) -> io::Result<Vec<u8>> {
        let path = self.path();
        let mut before = FileState::of(&path)?;
        for _ in 0..READS {
            let bytes = read_regular(&path, MAX_FILE_BYTES)?;
            let after = FileState::of(&path)?;
            if before == after {
                return Ok(bytes);
            }
            before = after;
        }
        Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "it changes all the time",
        ))
    }

    /// Reads the file, changes its content and writes it, unless the change fails. Creates the directory if necessary.
    ///
    /// No other process changes the file in between.
    pub fn change<T>(
        &self,
        change: impl FnOnce(&mut TenantRecords) -> Result<T, ChangeError>,
    ) -> Result<T, TenantError> {
        let _lock = self.lock()?;
        let mut records = self.read()?;
        let changed = change(&mut records)?;
        self.write(&records)?;
        Ok(changed)
    }

    /// Waits for the lock, which ends when the file is dropped.
    fn lock(&self) -> Result<File, TenantFileError> {
        let mut directory = DirBuilder::new();
        let created = directory
            .recursive(true)
            .mode(0o700)
            .create(&self.directory);
        created.map_err(|source| failed("create", &self.directory, source))?;
        let path = self.directory.join(LOCK_NAME);
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let opened = options.open(&path);
        let file = opened.map_err(|source| failed("open", &path, source))?;
        let locked = file.lock();
        locked.map_err(|source| failed("lock", &path, source))?;
        Ok(file)
    }

    fn write(&self, records: &TenantRecords) -> Result<(), TenantFileError> {
        let path = self.path();
        let text = toml::to_string(records).map_err(|error| TenantFileError::Content {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        let text = HEADING.to_owned() + &text;
        let replaced = replaced_file::replace(&path, text.as_bytes());
        replaced.map_err(|source| failed("write", &path, source))
    }

    /// Reserves room on the disk for the next change, unless it cannot be had. Does nothing as long as there is no file.
    pub(crate) fn reserve(&self) {
        if self.path().exists()
            && let Ok(_lock) = self.lock()
        {
            replaced_file::reserve(&self.path());
        }
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> TenantFileError {
    TenantFileError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Checks that only the user of this process can read and write the file. Root may read the file of any user.
fn check_access(path: &Path, (mode, uid): (u32, u32)) -> Result<(), TenantFileError> {
    let path = || path.to_owned();
    let own = rustix::process::geteuid();
    if !own.is_root() && uid != own.as_raw() {
        return Err(TenantFileError::Owner { path: path(), uid });
    }
    match mode & OTHERS {
        0 => Ok(()),
        _ => Err(TenantFileError::Permissions {
            path: path(),
            mode: mode & 0o7777,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenants::limits::Limits;
    use crate::tenants::records::{NewKey, NewTenant};
    use crate::tenants::role::Role;
    use crate::tenants::settings_change::SettingsChange;
    use crate::tenants::tenant_grant::TenantGrant;
    use crate::tenants::tenant_id::TenantId;
    use std::collections::BTreeSet;
    use std::os::unix::fs::PermissionsExt;
    use std::time::SystemTime;

    fn add(file: &TenantFile, id: &str) -> anyhow::Result<()> {
        let new = NewTenant {
            id: id.parse()?,
            weight: 3,
            anonymous: false,
            isolation: None,
            limits: Limits {
                requests_per_second: Some(7),
                ..Limits::default()
            },
            key: NewKey {
                role: Role::Admin,
                lifetime: None,
            },
        };
        file.change(|records| records.add(&new, SystemTime::now()))?;
        Ok(())
    }

    #[test]
    fn the_file_has_what_was_written_and_its_owner_alone_reads_it() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let file = TenantFile::new(&directory.path().join("a/b"));
        assert_eq!(file.read()?, TenantRecords::default());
        assert_eq!(file.state()?, None);
        add(&file, "acme")?;
        let (first, records) = (file.state()?, file.read()?);
        let acme = &records.tenants["acme"];
        assert_eq!((acme.weight, acme.keys.len()), (3, 1));
        assert_eq!(acme.limits.requests_per_second, Some(7));
        let mode = fs::metadata(file.path())?.permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        add(&file, "other")?;
        assert_ne!(file.state()?, first);
        let change = SettingsChange {
            grants: Some(TenantGrant::ALL.into()),
            ..SettingsChange::default()
        };
        let id: TenantId = "acme".parse()?;
        file.change(|records| records.set(&id, &change))?;
        let records = file.read()?;
        let acme = &records.tenants["acme"];
        assert_eq!(acme.grants, BTreeSet::from(TenantGrant::ALL));
        assert_eq!((acme.weight, acme.keys.len()), (3, 1));
        let names: Vec<String> = file.read()?.tenants.into_keys().collect();
        assert_eq!(names, ["acme", "other"]);
        Ok(())
    }

    #[test]
    fn a_change_that_fails_leaves_the_file_as_it_was() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let file = TenantFile::new(directory.path());
        add(&file, "acme")?;
        let (state, content) = (file.state()?, fs::read(file.path())?);
        assert!(add(&file, "acme").is_err());
        assert_eq!(file.state()?, state);
        assert_eq!(fs::read(file.path())?, content);
        Ok(())
    }

    #[test]
    fn an_empty_file_is_damaged_and_one_whose_last_tenant_was_removed_is_not() -> anyhow::Result<()>
    {
        let directory = tempfile::tempdir()?;
        let file = TenantFile::new(directory.path());
        add(&file, "acme")?;
        let acme = "acme".parse()?;
        file.change(|records| records.remove(&acme))?;
        assert_eq!(file.read()?, TenantRecords::default());
        for content in ["", "\n", HEADING] {
            fs::write(file.path(), content)?;
            let read = file.read();
            let is_refused = matches!(read, Err(TenantFileError::Content { .. }));
            assert!(is_refused, "{content:?}: {read:?}");
        }
        Ok(())
    }

    #[test]
    fn a_file_that_others_can_read_or_that_is_damaged_is_refused() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let file = TenantFile::new(directory.path());
        add(&file, "acme")?;
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640))?;
        let error = file.read().err().map(|error| error.to_string());
        let error = error.unwrap_or_default();
        assert!(error.contains("0640") && error.contains("chmod"), "{error}");
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600))?;
        assert!(file.read().is_ok());
        let hash = "abcdef0123456789";
        for content in [
            format!("[tenants.acme]\nwieght = 1\nhash = \"{hash}\""),
            format!("[tenants.acme\nhash = \"{hash}\""),
            format!("[[tenants.acme.keys]]\nid = \"{hash}\"\nrole = \"root\""),
        ] {
            fs::write(file.path(), &content)?;
            let error = file.read().err().map(|error| error.to_string());
            let error = error.unwrap_or_default();
            assert!(error.contains("is not valid"), "{content}: {error}");
            assert!(!error.contains(hash), "{error}");
        }
        Ok(())
    }
}
