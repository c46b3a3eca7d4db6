//! The SHA-256 digests by which registries identify content.

use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The prefix of a digest's text.
const ALGORITHM: &str = "sha256:";

/// The digest of some content, formatted as `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ContentDigest(String);

/// The content of a descriptor: its digest and its size in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) digest: ContentDigest,
    pub(crate) size: u64,
}

impl ContentDigest {
    /// Parses a digest, whose text becomes a part of URLs.
    pub(crate) fn parse(text: &str) -> Option<ContentDigest> {
        let digits = text.strip_prefix(ALGORITHM)?;
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (digits.len() == 64 && digits.bytes().all(is_digit)).then(|| ContentDigest(text.to_owned()))
    }

    /// Returns the digest of `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> ContentDigest {
        ContentDigest::finish(Sha256::new_with_prefix(bytes))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn finish(hasher: Sha256) -> ContentDigest {
        let digits = hasher.finalize();
        let digits: String = digits.iter().map(|byte| format!("{byte:02x}")).collect();
        ContentDigest(format!("{ALGORITHM}{digits}"))
    }
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Blob {
    /// Returns the blob with the content `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Blob {
        Blob {
            digest: ContentDigest::of(bytes),
            size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        }
    }

    /// Reads a file and returns the blob with its content.
    pub(crate) fn of_file(path: &Path) -> io::Result<Blob> {
        let mut file = File::open(path)?;
        let mut hasher = Sha256::new();
        let mut size = 0u64;
        let mut chunk = vec![0; 1 << 20];
        loop {
            let length = match file.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let bytes = chunk.get(..length).unwrap_or_default();
            hasher.update(bytes);
            size = size.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        }
        Ok(Blob {
            digest: ContentDigest::finish(hasher),
            size,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    #[test]
    fn bytes_and_a_file_with_them_have_the_same_digest() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("hello");
        std::fs::write(&path, "hello")?;
        assert_eq!(ContentDigest::of(b"hello").as_str(), HELLO);
        assert_eq!(Blob::of_file(&path)?, Blob::of(b"hello"));
        assert_eq!(Blob::of(b"hello").size, 5);
        Ok(())
    }

    #[test]
    fn digests_that_would_change_a_url_are_refused() {
        assert!(ContentDigest::parse(HELLO).is_some());
        let long = format!("{HELLO}0");
        let upper_case = HELLO.to_uppercase();
        let other = HELLO.replace("sha256", "sha512");
        for text in [
            "",
            "sha256:",
            "sha256:../../../etc",
            &long,
            &upper_case,
            &other,
        ] {
            assert_eq!(ContentDigest::parse(text), None, "{text}");
        }
    }
}
