//! A file that takes exactly the announced number of bytes from a download.
//!
//! The client of registries compares digests after the last byte only, so that without this limit a
//! registry could fill the disk.

use indicatif::ProgressBar;
use std::fs::File;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;

/// The error of a write beyond the announced number of bytes.
#[derive(Debug, thiserror::Error)]
#[error("the registry sent more bytes than the manifest states")]
pub(super) struct TooManyBytes;

/// The receiving end of a download.
#[derive(Debug)]
pub(super) struct BoundedFile<'a> {
    file: &'a File,
    left: &'a mut u64,
    progress: &'a ProgressBar,
}

impl<'a> BoundedFile<'a> {
    /// Creates the end that accepts `left` bytes, and counts them there. Written synchronously: a command
    /// has nothing else to do meanwhile.
    pub(super) fn new(
        file: &'a File,
        left: &'a mut u64,
        progress: &'a ProgressBar,
    ) -> BoundedFile<'a> {
        BoundedFile {
            file,
            left,
            progress,
        }
    }
}

impl AsyncWrite for BoundedFile<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let end = self.get_mut();
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let Some(left) = end.left.checked_sub(length) else {
            return Poll::Ready(Err(io::Error::other(TooManyBytes)));
        };
        let mut file = end.file;
        Poll::Ready(file.write_all(bytes).map(|()| {
            *end.left = left;
            end.progress.inc(length);
            bytes.len()
        }))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
