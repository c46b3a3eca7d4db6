//! Uploads of the files of a version into the repository: the names that are accepted, and the responses.
//!
//! A name is one of a few fixed ones, or ends as files of its kind do. It has the characters of a model's name, so that
//! it stays in its directory on every file system, and is never decoded. Archives and the data of graphs in files of
//! their own have no names here.

use crate::call::{ModelName, Version};
use crate::encoded_response::document;
use crate::error::{ErrorKind, HasErrorKind};
use crate::quoted::Quoted;
use bytes::Bytes;
use serde::Serialize;
use std::fmt;

/// The maximum length of the name of a file in bytes, as for a model.
const MAX_NAME_BYTES: usize = 128;

/// The directory of the golden cases of a model.
const CASES: &str = "cases";

/// The endings of files that a handler or the labels of classes may read.
const TEXT_ENDINGS: [&str; 4] = ["txt", "json", "csv", "tsv"];

/// The file with the digests of the files of a version.
pub const CHECKSUMS_FILE: &str = "SHA256SUMS";

/// The signature of [`CHECKSUMS_FILE`].
pub const SIGNATURE_FILE: &str = "SHA256SUMS.minisig";

/// The directory to which an uploaded file belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilePlace {
    /// The directory of the version.
    Version,
    /// The directory of the model.
    Model,
    /// The directory of the golden cases of the model.
    Cases,
}

/// The name of a file that may be uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadFileName {
    name: String,
    place: FilePlace,
}

/// A version that a client changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionName {
    pub model: ModelName,
    pub version: Version,
}

/// The reason that a name in the path of an upload is not accepted. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UploadNameError {
    #[error(
        "{0} is not the name of a model that can be uploaded: it is 1 to 128 letters, digits, `_`, `.` or `-`, starts \
         with a letter, a digit or `_`, and is not a number"
    )]
    Model(Quoted),
    #[error("{0} is not a version: it is a decimal number from 1, without leading zeros")]
    Version(Quoted),
    #[error(
        "{0} is not a file that can be uploaded: it is `<name>.onnx`, `handler.wasm`, `model.toml`, `config.pbtxt`, \
         `baseline.json`, `cases/<name>.json`, `{CHECKSUMS_FILE}`, `{SIGNATURE_FILE}`, or a text that ends with .txt, \
         .json, .csv or .tsv"
    )]
    File(Quoted),
}

impl HasErrorKind for UploadNameError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidRequest
    }
}

impl UploadFileName {
    /// Parses the name of a file as it is in a path, in which nothing is percent-encoded.
    pub fn parse(text: &str) -> Result<UploadFileName, UploadNameError> {
        let refused = || UploadNameError::File(Quoted::new(text));
        let (folder, name) = match text.split_once('/') {
            Some((folder, name)) => (Some(folder), name),
            None => (None, text),
        };
        if !is_plain(name) {
            return Err(refused());
        }
        let ending = name.rsplit_once('.').map(|(_, ending)| ending);
        let place = match (folder, name, ending) {
            (Some(CASES), _, Some("json")) => FilePlace::Cases,
            (Some(_), _, _) => return Err(refused()),
            (None, "model.toml" | "config.pbtxt", _) => FilePlace::Model,
            (None, "handler.wasm" | CHECKSUMS_FILE | SIGNATURE_FILE, _) => FilePlace::Version,
            (None, _, Some("onnx")) => FilePlace::Version,
            (None, _, Some(ending)) if TEXT_ENDINGS.contains(&ending) => FilePlace::Version,
            (None, _, _) => return Err(refused()),
        };
        let name = name.to_owned();
        Ok(UploadFileName { name, place })
    }

    /// Returns the name in its directory.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// Returns the directory to which the file belongs.
    pub fn place(&self) -> FilePlace {
        self.place
    }

    /// Returns whether this is the file of a graph.
    pub fn is_graph(&self) -> bool {
        self.name.ends_with(".onnx")
    }
}

impl fmt::Display for UploadFileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            FilePlace::Cases => write!(f, "{CASES}/{}", self.name),
            FilePlace::Version | FilePlace::Model => f.write_str(&self.name),
        }
    }
}

/// Returns whether the name has the characters of a model's name.
fn is_plain(name: &str) -> bool {
    let starts = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let goes_on = |byte: u8| starts(&byte) || byte == b'.' || byte == b'-';
    name.len() <= MAX_NAME_BYTES
        && name.as_bytes().first().is_some_and(starts)
        && name.bytes().all(goes_on)
}

impl VersionName {
    /// Parses the model and the version in a path, in which nothing is percent-encoded. A model with a number as its name
    /// would look like a version.
    pub fn parse(model: &str, version: &str) -> Result<VersionName, UploadNameError> {
        let is_number = model.bytes().all(|byte| byte.is_ascii_digit());
        let name = ModelName::new(model).ok().filter(|_| !is_number);
        let number = Version::from_decimal(version);
        Ok(VersionName {
            model: name.ok_or_else(|| UploadNameError::Model(Quoted::new(model)))?,
            version: number.ok_or_else(|| UploadNameError::Version(Quoted::new(version)))?,
        })
    }
}

/// A file that has been received and is not part of a version yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedFile {
    pub bytes: u64,
    /// The digest of the content in hexadecimal digits.
    pub sha256: String,
}

/// A version that has been added to the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedVersion {
    /// Set if the model was loaded again, with those versions that its policy selects.
    pub is_loaded: bool,
    /// The reason that the model was not loaded again, although the version itself can be.
    pub problem: Option<String>,
}

#[derive(Serialize)]
struct FileDocument<'a> {
    model: &'a str,
    version: String,
    file: String,
    bytes: u64,
    sha256: &'a str,
}

#[derive(Serialize)]
struct CommitDocument<'a> {
    model: &'a str,
    version: String,
    committed: bool,
    loaded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
}

#[derive(Serialize)]
struct DeletionDocument<'a> {
    model: &'a str,
    version: String,
    deleted: bool,
}

/// Returns the response to the upload of a file.
pub fn received_document(
    name: &VersionName,
    file: &UploadFileName,
    received: &ReceivedFile,
) -> Bytes {
    document(&FileDocument {
        model: name.model.as_str(),
        version: name.version.to_string(),
        file: file.to_string(),
        bytes: received.bytes,
        sha256: &received.sha256,
    })
}

/// Returns the response to the commit of a version.
pub fn committed_document(name: &VersionName, committed: &CommittedVersion) -> Bytes {
    document(&CommitDocument {
        model: name.model.as_str(),
        version: name.version.to_string(),
        committed: true,
        loaded: committed.is_loaded,
        problem: committed.problem.as_deref(),
    })
}

/// Returns the response to the deletion of a version.
pub fn deleted_document(name: &VersionName) -> Bytes {
    document(&DeletionDocument {
        model: name.model.as_str(),
        version: name.version.to_string(),
        deleted: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_version_and_of_its_model_have_their_places() {
        for (name, place) in [
            ("model.onnx", FilePlace::Version),
            ("encoder-2.b.onnx", FilePlace::Version),
            ("handler.wasm", FilePlace::Version),
            ("baseline.json", FilePlace::Version),
            ("labels.txt", FilePlace::Version),
            ("SHA256SUMS", FilePlace::Version),
            ("SHA256SUMS.minisig", FilePlace::Version),
            ("model.toml", FilePlace::Model),
            ("config.pbtxt", FilePlace::Model),
            ("cases/one.json", FilePlace::Cases),
        ] {
            let parsed = UploadFileName::parse(name).unwrap();
            assert_eq!((parsed.place(), parsed.to_string().as_str()), (place, name));
        }
    }

    #[test]
    fn no_other_name_is_accepted() {
        let long = format!("{}.onnx", "x".repeat(MAX_NAME_BYTES));
        for name in [
            "",
            ".",
            "..",
            "../model.onnx",
            "..%2fmodel.onnx",
            "%2e%2e/model.onnx",
            "model.onnx%00",
            "model.onnx\0",
            "a/model.onnx",
            "cases/../model.json",
            "cases/a/b.json",
            "cases/.json",
            "cases/a.txt",
            "/model.onnx",
            "a\\model.onnx",
            ".model.onnx",
            "-x.onnx",
            "model.onnx ",
            "mod\u{e9}l.onnx",
            "model.onnx_data",
            "model.nnef.tgz",
            "weights.bin",
            "handler.cwasm",
            "other.wasm",
            "model.zip",
            "other.toml",
            "model.so",
            "README.md",
            "onnx",
            &long,
        ] {
            assert!(UploadFileName::parse(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn models_and_versions_have_one_spelling() {
        let name = VersionName::parse("wine-2.b", "12").unwrap();
        assert_eq!(
            (name.model.as_str(), name.version.to_string().as_str()),
            ("wine-2.b", "12")
        );
        for model in ["", "..", ".hidden", "a/b", "a%2fb", "7", "a b", "-a"] {
            let refused = VersionName::parse(model, "1");
            assert!(matches!(refused, Err(UploadNameError::Model(_))), "{model}");
        }
        for version in ["", "0", "01", "+1", "1.0", "..", "99999999999999999999"] {
            let refused = VersionName::parse("m", version);
            assert!(
                matches!(refused, Err(UploadNameError::Version(_))),
                "{version}"
            );
        }
    }

    #[test]
    fn responses_name_what_was_changed() {
        let name = VersionName::parse("m", "3").unwrap();
        let file = UploadFileName::parse("cases/a.json").unwrap();
        let received = ReceivedFile {
            bytes: 2,
            sha256: "ab".to_owned(),
        };
        let document = received_document(&name, &file, &received);
        assert_eq!(
            &document[..],
            br#"{"model":"m","version":"3","file":"cases/a.json","bytes":2,"sha256":"ab"}"#
        );
        let committed = CommittedVersion {
            is_loaded: true,
            problem: None,
        };
        assert_eq!(
            &committed_document(&name, &committed)[..],
            br#"{"model":"m","version":"3","committed":true,"loaded":true}"#
        );
        assert_eq!(
            &deleted_document(&name)[..],
            br#"{"model":"m","version":"3","deleted":true}"#
        );
    }
}
