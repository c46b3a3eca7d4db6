//! The reasons that an upload is refused or fails. Their messages are for clients and contain no path.

use std::io;
use wisp_protocol::error::{ErrorKind, HasErrorKind};
use wisp_protocol::upload::VersionName;

/// The reason that an upload was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error("uploads are not enabled: start the server with --allow-upload")]
    Disabled,
    #[error("the file is larger than {limit} bytes, the limit for it")]
    TooLarge { limit: u64 },
    #[error(
        "the repository would have more than {limit} bytes, the limit that --max-stored-bytes sets; delete versions \
         that are not used"
    )]
    StorageFull { limit: u64 },
    #[error(
        "the tenant's models would have more than {limit} bytes of files, its limit `stored_bytes`; delete versions that \
         are not used"
    )]
    OverTenantBytes { limit: u64 },
    #[error("the file system of the repository is full")]
    DiskFull(#[source] io::Error),
    /// Almost full: the rest is kept for others.
    #[error(
        "the file system of the repository has too little room left; delete versions that are not used"
    )]
    DiskReserved,
    #[error(
        "the repository has {limit} models, the limit that --max-stored-models sets; delete one that is not used"
    )]
    TooManyModels { limit: usize },
    #[error("the tenant has {limit} models, its limit `models`; delete one that is not used")]
    OverTenantModels { limit: usize },
    #[error(
        "the model has {limit} versions, the limit that --max-stored-versions sets; delete one that is not used"
    )]
    TooManyVersions { limit: usize },
    #[error("a version has at most {limit} files")]
    TooManyFiles { limit: usize },
    #[error("too many files are being uploaded; try again")]
    Busy,
    #[error(
        "`{}` has a version {} already, and a version does not change: upload another one, or delete it first",
        .0.model, .0.version
    )]
    VersionExists(VersionName),
    #[error("no file of version {} of `{}` has been uploaded", .0.version, .0.model)]
    NothingUploaded(VersionName),
    #[error("unknown version: `{}` has no version {}", .0.model, .0.version)]
    UnknownVersion(VersionName),
    /// A file that is not accepted.
    #[error("{0}")]
    Refused(String),
    /// A change that others stand against at the moment.
    #[error("{0}")]
    InUse(String),
    #[error("the server cannot store the files: {}", .0.kind())]
    Io(#[source] io::Error),
    /// A thread of the server has failed.
    #[error("the server failed")]
    Lost,
}

impl HasErrorKind for UploadError {
    fn kind(&self) -> ErrorKind {
        match self {
            UploadError::Disabled => ErrorKind::Forbidden,
            UploadError::TooLarge { .. } => ErrorKind::TooLarge,
            UploadError::StorageFull { .. }
            | UploadError::DiskFull(_)
            | UploadError::DiskReserved
            | UploadError::TooManyModels { .. }
            | UploadError::TooManyVersions { .. } => ErrorKind::StorageFull,
            UploadError::OverTenantBytes { .. } | UploadError::OverTenantModels { .. } => {
                ErrorKind::OverQuota
            }
            UploadError::Busy => ErrorKind::Unavailable,
            UploadError::VersionExists(_) | UploadError::InUse(_) => ErrorKind::Conflict,
            UploadError::NothingUploaded(_) | UploadError::UnknownVersion(_) => ErrorKind::NotFound,
            UploadError::TooManyFiles { .. } | UploadError::Refused(_) => ErrorKind::InvalidRequest,
            UploadError::Io(_) | UploadError::Lost => ErrorKind::Internal,
        }
    }
}

impl From<io::Error> for UploadError {
    fn from(error: io::Error) -> UploadError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                UploadError::DiskFull(error)
            }
            _ => UploadError::Io(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_a_lack_of_capacity_and_not_a_failure_of_the_server() {
        let full = UploadError::from(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(full.kind().status().as_u16(), 507);
        assert_eq!(UploadError::DiskReserved.kind().status().as_u16(), 507);
        let other = UploadError::from(io::Error::new(io::ErrorKind::NotFound, "/secret"));
        assert_eq!(other.kind(), ErrorKind::Internal);
        assert!(!other.to_string().contains("secret"));
    }

    #[test]
    fn a_limit_of_the_tenant_is_a_quota_and_no_lack_of_capacity() {
        for (error, limit) in [
            (UploadError::OverTenantBytes { limit: 9 }, "`stored_bytes`"),
            (UploadError::OverTenantModels { limit: 9 }, "`models`"),
        ] {
            assert_eq!(error.kind().status().as_u16(), 429);
            let text = error.to_string();
            assert!(text.contains(limit) && !text.contains("--"), "{text}");
        }
    }
}
