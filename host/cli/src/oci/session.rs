//! The requests of one command to one registry.
//!
//! Uploads and downloads are streams between files and the network. A file is uploaded in one request, as
//! the clients of containers do, since not every registry takes parts. Addresses outside of the registry
//! that a manifest names are never used.

use super::bounded_file::BoundedFile;
use super::credentials::Credentials;
use super::digest::{Blob, ContentDigest};
use super::registry_error::{RegistryError, Subject, THE_MANIFEST};
use crate::options::{ArtifactReference, RegistryAccessArgs};
use anyhow::Context;
use bytes::Bytes;
use futures_util::stream;
use indicatif::ProgressBar;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
};
use oci_client::{Client, RegistryOperation};
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_rustls::rustls::crypto::ring;

/// The time limit for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// The time limit for each wait for bytes of a download.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The time limit for a manifest, which is small.
const MANIFEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The maximum size of a manifest, to which registries limit it too.
const MAX_MANIFEST_BYTES: usize = 4 << 20;

/// The size of the pieces in which files are read.
const CHUNK_BYTES: usize = 256 << 10;

/// The accepted manifests. Those that cannot be pulled are received to name them.
const ACCEPTED: [&str; 4] = [
    OCI_IMAGE_MEDIA_TYPE,
    OCI_IMAGE_INDEX_MEDIA_TYPE,
    IMAGE_MANIFEST_MEDIA_TYPE,
    IMAGE_MANIFEST_LIST_MEDIA_TYPE,
];

/// The error without certificates of authorities, which are loaded for HTTP too.
const NO_TLS: &str = "failed to set up TLS; install the certificates of authorities (ca-certificates), or set \
                      SSL_CERT_FILE";

/// A signed-in client for the artifact of one reference.
pub(crate) struct RegistrySession<'a> {
    runtime: Runtime,
    client: Client,
    reference: &'a ArtifactReference,
    /// The reference as text.
    name: String,
    credentials: Credentials,
}

impl<'a> RegistrySession<'a> {
    /// Connects to the registry of the reference, and signs in if it asks for it.
    pub(crate) fn open(
        reference: &'a ArtifactReference,
        access: &RegistryAccessArgs,
        operation: RegistryOperation,
    ) -> anyhow::Result<RegistrySession<'a>> {
        let registry = reference.registry();
        let credentials = Credentials::find(access, registry)?;
        let is_plain = access.plain_http.unwrap_or(reference.is_loopback());
        let config = ClientConfig {
            protocol: match is_plain {
                true => ClientProtocol::HttpsExcept(vec![registry.to_owned()]),
                false => ClientProtocol::Https,
            },
            use_monolithic_push: true,
            platform_resolver: None,
            connect_timeout: Some(CONNECT_TIMEOUT),
            // It would also limit an upload as a whole.
            read_timeout: match operation {
                RegistryOperation::Pull => Some(READ_TIMEOUT),
                RegistryOperation::Push => None,
            },
            user_agent: concat!("wisp/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        // An error means that the process has a provider already.
        let _ = ring::default_provider().install_default();
        let client = Client::try_from(config).context(NO_TLS)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("failed to start the client of registries")?;
        let session = RegistrySession {
            runtime,
            client,
            reference,
            name: reference.to_string(),
            credentials,
        };
        session.sign_in(operation)?;
        Ok(session)
    }

    /// Requests a token if the registry needs one. Later requests would report the failure without its cause.
    fn sign_in(&self, operation: RegistryOperation) -> Result<(), RegistryError> {
        let reference = self.reference.as_client_reference();
        let token = self
            .client
            .auth(reference, &self.credentials.auth, operation);
        let token = self.wait(token, THE_MANIFEST)?;
        // The client assumes it of every token.
        let is_valid = |token: &String| token.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        match token.is_none_or(|token| is_valid(&token)) {
            true => Ok(()),
            false => Err(RegistryError::Protocol {
                message: "its server for tokens sent an invalid token".to_owned(),
            }),
        }
    }

    /// Uploads a file, unless the registry has its content.
    pub(crate) fn push_file(
        &self,
        path: &Path,
        blob: &Blob,
        progress: &ProgressBar,
    ) -> anyhow::Result<()> {
        if self.has(blob) {
            progress.inc(blob.size);
            return Ok(());
        }
        let chunks = FileChunks {
            file: File::open(path)?,
            progress: progress.clone(),
        };
        Ok(self.upload(chunks, blob)?)
    }

    /// Uploads some bytes, unless the registry has them.
    pub(crate) fn push_bytes(&self, bytes: &[u8], blob: &Blob) -> Result<(), RegistryError> {
        if self.has(blob) {
            return Ok(());
        }
        self.upload(std::iter::once(Ok(Bytes::copy_from_slice(bytes))), blob)
    }

    /// Returns whether the repository has the content. A failure of the request is left to the upload, which
    /// reports it.
    fn has(&self, blob: &Blob) -> bool {
        let reference = self.reference.as_client_reference();
        let exists = self.client.blob_exists(reference, blob.digest.as_str());
        self.runtime.block_on(exists).unwrap_or(false)
    }

    fn upload(
        &self,
        chunks: impl Iterator<Item = Result<Bytes, OciDistributionError>> + Send + 'static,
        blob: &Blob,
    ) -> Result<(), RegistryError> {
        let reference = self.reference.as_client_reference();
        let digest = blob.digest.as_str();
        let upload =
            self.client
                .push_blob_stream(reference, stream::iter(chunks), digest, Some(blob.size));
        self.wait(upload, digest)?;
        Ok(())
    }

    /// Uploads the manifest under the reference's tag, after everything that it names.
    pub(crate) fn push_manifest(&self, manifest: Vec<u8>) -> anyhow::Result<ContentDigest> {
        let digest = ContentDigest::of(&manifest);
        let media_type = super::artifact::MANIFEST.parse()?;
        let reference = self.reference.as_client_reference();
        let upload = self
            .client
            .push_manifest_raw(reference, manifest, media_type);
        self.wait(upload, THE_MANIFEST)?;
        Ok(digest)
    }

    /// Downloads the manifest, and verifies it if the reference has a digest.
    pub(crate) fn fetch_manifest(&self) -> Result<(Bytes, ContentDigest), RegistryError> {
        let reference = self.reference.as_client_reference();
        let pull = self
            .client
            .pull_manifest_raw(reference, &self.credentials.auth, &ACCEPTED);
        let limited = async {
            match tokio::time::timeout(MANIFEST_TIMEOUT, pull).await {
                Ok(result) => result,
                Err(_) => Err(OciDistributionError::GenericError(Some(
                    "the manifest takes more than a minute".to_owned(),
                ))),
            }
        };
        let (manifest, _) = self.wait(limited, THE_MANIFEST)?;
        if manifest.len() > MAX_MANIFEST_BYTES {
            return Err(RegistryError::Protocol {
                message: "the manifest has more than 4 MiB".to_owned(),
            });
        }
        let digest = ContentDigest::of(&manifest);
        if let Some(expected) = self.reference.digest() {
            RegistryError::check_digest(THE_MANIFEST, expected, &digest)?;
        }
        Ok((manifest, digest))
    }

    /// Downloads some content into an empty file, and verifies its size and digest. `part` names it in
    /// messages.
    pub(crate) fn fetch(
        &self,
        part: &str,
        blob: &Blob,
        (file, progress): (&File, &ProgressBar),
    ) -> Result<(), RegistryError> {
        let mut left = blob.size;
        let reference = self.reference.as_client_reference();
        let end = BoundedFile::new(file, &mut left, progress);
        let pull = self.client.pull_blob(reference, blob.digest.as_str(), end);
        self.wait(pull, part)?;
        match left {
            0 => Ok(()),
            left => Err(RegistryError::Size {
                subject: part.to_owned(),
                expected: blob.size,
                actual: blob.size.saturating_sub(left),
            }),
        }
    }

    /// Runs a request to its end.
    fn wait<T>(
        &self,
        request: impl Future<Output = Result<T, OciDistributionError>>,
        part: &str,
    ) -> Result<T, RegistryError> {
        let subject = Subject {
            registry: self.reference.registry(),
            reference: &self.name,
            origin: &self.credentials.origin,
            part,
        };
        let result = self.runtime.block_on(request);
        result.map_err(|error| RegistryError::of(error, subject))
    }
}

impl fmt::Debug for RegistrySession<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrySession")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The content of a file in pieces.
struct FileChunks {
    file: File,
    progress: ProgressBar,
}

impl Iterator for FileChunks {
    type Item = Result<Bytes, OciDistributionError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            match self.file.read(&mut chunk) {
                Ok(0) => return None,
                Ok(length) => {
                    chunk.truncate(length);
                    self.progress.inc(u64::try_from(length).unwrap_or(u64::MAX));
                    return Some(Ok(chunk.into()));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Some(Err(error.into())),
            }
        }
    }
}
