//! Signatures of versions, which prove the author of loaded files, however they were deployed.
//!
//! `SHA256SUMS` in the directory of a version lists the digests of its files, with paths from the directory of the
//! repository, as `sha256sum wine/1/model.onnx wine/model.toml` writes them. The paths bind the files to the model and the
//! version, and the list binds them to each other. `SHA256SUMS.minisig` is its signature, as `minisign -Sm` writes it: an
//! Ed25519 signature. Every file that a load reads must be in the list, and every listed file of the version must exist.
//!
//! The files are verified before they are parsed. A file that has changed by the end of the load makes it fail, since the
//! load may have read either state.

mod checksums;

use self::checksums::Checksums;
use crate::file_state::FileState;
use crate::registry::baseline_file;
use crate::registry::model_file::{FILE_NAME, ModelFile};
use crate::registry::repository::VersionFiles;
use crate::registry::signature_error::VersionSignatureError;
use crate::registry::triton_config::TRITON_CONFIG_FILE;
use crate::registry::version_directory::file_name;
use minisign_verify::{PublicKey, Signature};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use wisp_backend::bounded_file::{open_regular, read_regular_text};
use wisp_protocol::upload::{CHECKSUMS_FILE, SIGNATURE_FILE};

/// The size limit of a list of digests in bytes.
const MAX_CHECKSUMS_BYTES: u64 = 1 << 20;

/// The size limit of a signature in bytes, far above the four lines of one.
const MAX_SIGNATURE_BYTES: u64 = 4 << 10;

/// The maximum depth of folders in the directory of a version. Links may form circles.
const MAX_DEPTH: usize = 8;

/// The maximum number of files of a version.
const MAX_FILES: usize = 10_000;

/// The bytes that are hashed at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// A public key whose signatures are trusted. Lifetime: the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey(PublicKey);

/// The error for a text that is not a public key of minisign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a public key of minisign, such as the file minisign.pub")]
pub struct TrustedKeyError;

/// The rules for the signatures of versions. By default, signatures are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignaturePolicy {
    /// The keys that may sign. With at least one, a signature that exists must be valid.
    pub trusted_keys: Vec<TrustedKey>,
    /// Set if versions without a signature are refused.
    pub is_required: bool,
}

/// The files of a version whose signature was verified, with their states from before. Lifetime: a load.
#[derive(Debug, Default)]
pub(crate) struct VerifiedFiles {
    /// `None` if no signature was verified.
    version: Option<VersionFiles>,
    files: BTreeMap<String, (PathBuf, FileState)>,
}

impl TrustedKey {
    /// Parses a public key: the two lines of the file that minisign writes, or the second of them alone.
    pub fn parse(text: &str) -> Result<TrustedKey, TrustedKeyError> {
        let text = text.trim();
        let key = match text.lines().count() {
            1 => PublicKey::from_base64(text),
            _ => PublicKey::decode(text),
        };
        key.map(TrustedKey).map_err(|_| TrustedKeyError)
    }
}

impl SignaturePolicy {
    /// Verifies the signature of a version, if the policy asks for it.
    pub(crate) fn verify(
        &self,
        files: &VersionFiles,
    ) -> Result<VerifiedFiles, VersionSignatureError> {
        if self.trusted_keys.is_empty() && !self.is_required {
            return Ok(VerifiedFiles::default());
        }
        let (Some(version), Some(model)) = (&files.directory, &files.model_directory) else {
            return match self.is_required {
                true => Err(VersionSignatureError::SingleFile),
                false => Ok(VerifiedFiles::default()),
            };
        };
        let signature = version.join(SIGNATURE_FILE);
        if fs::symlink_metadata(&signature).is_err() {
            return match self.is_required {
                true => Err(VersionSignatureError::Unsigned),
                false => Ok(VerifiedFiles::default()),
            };
        }
        let signature = read_text(&signature, MAX_SIGNATURE_BYTES)?;
        let checksums = read_text(&version.join(CHECKSUMS_FILE), MAX_CHECKSUMS_BYTES)?;
        self.check_signature(&signature, &checksums)?;
        let checksums = Checksums::parse(&checksums);
        let checksums = checksums.map_err(|line| VersionSignatureError::Checksums { line })?;
        let loaded = loaded_files(files, (version, model))?;
        let name = files.model.as_str();
        let number = file_name(version);
        for listed in checksums.of_version(name, &number) {
            if !loaded.contains_key(listed) {
                return Err(VersionSignatureError::Missing {
                    file: listed.to_owned(),
                });
            }
        }
        let mut verified = BTreeMap::new();
        for (file, path) in loaded {
            let Some(expected) = checksums.digest(&file) else {
                return Err(VersionSignatureError::NotListed { file });
            };
            let read = |source| VersionSignatureError::Read {
                file: file.clone(),
                source,
            };
            let state = FileState::of(&path).map_err(read)?;
            if digest(&path).map_err(read)? != expected {
                return Err(VersionSignatureError::Different { file });
            }
            verified.insert(file, (path, state));
        }
        Ok(VerifiedFiles {
            version: Some(files.clone()),
            files: verified,
        })
    }

    fn check_signature(
        &self,
        signature: &str,
        checksums: &str,
    ) -> Result<(), VersionSignatureError> {
        let signature =
            Signature::decode(signature).map_err(|_| VersionSignatureError::Malformed)?;
        let mut refusal = VersionSignatureError::UnknownKey;
        for TrustedKey(key) in &self.trusted_keys {
            match key.verify(checksums.as_bytes(), &signature, false) {
                Ok(()) => return Ok(()),
                Err(minisign_verify::Error::UnexpectedKeyId) => {}
                Err(_) => refusal = VersionSignatureError::Invalid,
            }
        }
        Err(refusal)
    }
}

impl VerifiedFiles {
    /// Checks that the files are still those that were verified, and that there are no others.
    pub(crate) fn check_unchanged(&self) -> Result<(), VersionSignatureError> {
        for (file, (path, before)) in &self.files {
            if FileState::of(path).ok().as_ref() != Some(before) {
                return Err(VersionSignatureError::Changed { file: file.clone() });
            }
        }
        // Settings, or a file of the version that takes the place of one of the model, may have been added.
        if let Some(files) = &self.version
            && let (Some(version), Some(model)) = (&files.directory, &files.model_directory)
        {
            let now = loaded_files(files, (version, model))?;
            let mut now = now.into_keys();
            if let Some(file) = now.find(|file| !self.files.contains_key(file)) {
                return Err(VersionSignatureError::Changed { file });
            }
        }
        Ok(())
    }
}

/// Returns the files that a load of the version may read, with their paths from the directory of the repository. Golden
/// cases are not among them: they can only refuse a version.
fn loaded_files(
    files: &VersionFiles,
    (version, model): (&Path, &Path),
) -> Result<BTreeMap<String, PathBuf>, VersionSignatureError> {
    let name = files.model.as_str();
    let mut loaded = BTreeMap::new();
    let prefix = format!("{name}/{}", file_name(version));
    add_directory(&mut loaded, (version, &prefix), 0)?;
    loaded.remove(&format!("{prefix}/{CHECKSUMS_FILE}"));
    loaded.remove(&format!("{prefix}/{SIGNATURE_FILE}"));
    // An invalid file is reported by the load, if it is the signed one.
    let model_file = ModelFile::load(model).unwrap_or_default();
    let settings = [FILE_NAME, TRITON_CONFIG_FILE, baseline_file::FILE_NAME];
    let named = model_file.files();
    for file in settings.iter().map(Path::new).chain(named) {
        let path = model.join(file);
        if fs::symlink_metadata(&path).is_ok() {
            loaded.insert(format!("{name}/{}", plain(file)), path);
        }
    }
    Ok(loaded)
}

/// Returns a relative path without `.`.
fn plain(path: &Path) -> String {
    let parts = path.components();
    let parts = parts.filter(|part| !matches!(part, std::path::Component::CurDir));
    let path: PathBuf = parts.collect();
    path.to_string_lossy().into_owned()
}

/// Adds the files in a directory, in folders too.
fn add_directory(
    loaded: &mut BTreeMap<String, PathBuf>,
    (directory, name): (&Path, &str),
    depth: usize,
) -> Result<(), VersionSignatureError> {
    let read = |source| VersionSignatureError::Read {
        file: name.to_owned(),
        source,
    };
    for entry in fs::read_dir(directory).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let name = format!("{name}/{}", file_name(&path));
        if depth >= MAX_DEPTH || loaded.len() >= MAX_FILES {
            return Err(VersionSignatureError::TooManyFiles);
        }
        match path.is_dir() {
            true => add_directory(loaded, (&path, &name), depth.saturating_add(1))?,
            false => {
                loaded.insert(name, path);
            }
        }
    }
    Ok(())
}

fn read_text(path: &Path, limit: u64) -> Result<String, VersionSignatureError> {
    read_regular_text(path, limit).map_err(|source| VersionSignatureError::Read {
        file: file_name(path),
        source,
    })
}

/// Returns the digest of a file.
fn digest(path: &Path) -> io::Result<[u8; 32]> {
    let (mut file, _) = open_regular(path)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(digest.finalize().into()),
            Ok(bytes) => digest.update(buffer.get(..bytes).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
