//! A file that is being uploaded: written to the disk as it arrives, within the limits, and hashed.
//!
//! At most one buffer of it is in memory. Until it is complete it has no name that anybody reads; dropping it removes it.

use crate::uploads::staging::Staging;
use crate::uploads::storage_account::StorageReservation;
use crate::uploads::upload_error::UploadError;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::sync::Arc;
use tempfile::NamedTempFile;
use tokio::sync::OwnedSemaphorePermit;
use wisp_protocol::upload::{ReceivedFile, UploadFileName, VersionName};

/// The bytes that are collected before they are written.
const BUFFER_BYTES: usize = 1 << 20;

/// A file that is arriving. Lifetime: one request.
#[derive(Debug)]
pub struct IncomingFile {
    staging: Arc<Staging>,
    name: VersionName,
    file: UploadFileName,
    limit: u64,
    received: u64,
    buffer: Vec<u8>,
    /// `None` while a thread writes to it, and after that has failed.
    sink: Option<Sink>,
    reservation: StorageReservation,
    _place: OwnedSemaphorePermit,
}

/// The parts of a new upload.
#[derive(Debug)]
pub(super) struct NewFile {
    pub(super) staging: Arc<Staging>,
    pub(super) name: VersionName,
    pub(super) file: UploadFileName,
    pub(super) limit: u64,
    pub(super) content: NamedTempFile,
    /// The place among the uploads at the same time.
    pub(super) place: OwnedSemaphorePermit,
}

/// The file on the disk, and the digest of the written bytes.
#[derive(Debug)]
struct Sink {
    content: NamedTempFile,
    digest: Sha256,
}

impl IncomingFile {
    pub(super) fn new(parts: NewFile) -> IncomingFile {
        let NewFile {
            staging,
            name,
            file,
            limit,
            content,
            place,
        } = parts;
        IncomingFile {
            reservation: staging.account().reservation(),
            staging,
            name,
            file,
            limit,
            received: 0,
            buffer: Vec::new(),
            sink: Some(Sink {
                content,
                digest: Sha256::new(),
            }),
            _place: place,
        }
    }

    /// Returns an error if a file of this length would be refused, so that its bytes need not be sent.
    pub fn check_length(&self, bytes: u64) -> Result<(), UploadError> {
        if bytes > self.limit {
            return Err(UploadError::TooLarge { limit: self.limit });
        }
        self.reservation.account().check(bytes)
    }

    /// Adds the next bytes.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), UploadError> {
        let bytes = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        let received = self.received.saturating_add(bytes);
        if received > self.limit {
            return Err(UploadError::TooLarge { limit: self.limit });
        }
        self.reservation.grow(bytes)?;
        self.received = received;
        // Kept as they are, many tiny pieces would hold far more memory.
        self.buffer.extend_from_slice(&piece);
        match self.buffer.len() >= BUFFER_BYTES {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    /// Makes the complete file part of the upload of its version.
    pub async fn finish(mut self) -> Result<ReceivedFile, UploadError> {
        self.flush().await?;
        let IncomingFile {
            staging,
            name,
            file,
            received,
            sink,
            reservation,
            _place,
            ..
        } = self;
        let Sink { content, digest } = sink.ok_or(UploadError::Lost)?;
        let sha256: String = digest
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let keep = move || {
            content.as_file().sync_all()?;
            staging.keep((&name, &file), content, reservation)
        };
        run(keep).await??;
        Ok(ReceivedFile {
            bytes: received,
            sha256,
        })
    }

    async fn flush(&mut self) -> Result<(), UploadError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut sink = self.sink.take().ok_or(UploadError::Lost)?;
        let buffer = std::mem::take(&mut self.buffer);
        let staging = Arc::clone(&self.staging);
        let write = move || {
            sink.digest.update(&buffer);
            let written = match staging.check_room(buffer.len()) {
                Ok(()) => sink.content.write_all(&buffer).map_err(UploadError::from),
                Err(error) => Err(error),
            };
            (sink, buffer, written)
        };
        let (sink, mut buffer, written) = run(write).await?;
        written?;
        buffer.clear();
        self.buffer = buffer;
        self.sink = Some(sink);
        Ok(())
    }
}

/// Runs work with files on a thread that may block.
pub(super) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, UploadError> {
    let worked = tokio::task::spawn_blocking(work).await;
    worked.map_err(|_| UploadError::Lost)
}
