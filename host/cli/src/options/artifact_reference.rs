//! The name of an artifact in a registry: `REGISTRY/NAME:TAG` or `REGISTRY/NAME@sha256:DIGEST`.

use oci_client::Reference;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// The expected syntax, for errors.
const EXPECTED: &str =
    "expected REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST, such as ghcr.io/acme/digits:1";

/// The reference of an artifact, which names its registry.
///
/// A name without a registry is refused, although other tools take it for one of Docker Hub: a
/// forgotten registry must not publish a model there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArtifactReference(Reference);

impl ArtifactReference {
    /// Returns the reference for the client of registries.
    pub(crate) fn as_client_reference(&self) -> &Reference {
        &self.0
    }

    /// Returns the host and port that requests go to.
    pub(crate) fn registry(&self) -> &str {
        self.0.resolve_registry()
    }

    /// Returns the digest to which the reference is pinned.
    pub(crate) fn digest(&self) -> Option<&str> {
        self.0.digest()
    }

    /// Returns the last part of the repository's name: `digits` of `ghcr.io/acme/digits:1`.
    pub(crate) fn last_name(&self) -> &str {
        let name = self.0.repository();
        name.rsplit('/').next().unwrap_or(name)
    }

    /// Returns the reference with the tag it has and a digest.
    pub(crate) fn pinned(&self, digest: &str) -> String {
        let (registry, name) = (self.0.registry(), self.0.repository());
        match self.0.tag() {
            Some(tag) => format!("{registry}/{name}:{tag}@{digest}"),
            None => format!("{registry}/{name}@{digest}"),
        }
    }

    /// Returns whether the registry is on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let registry = self.registry();
        let host = registry.split(':').next().unwrap_or(registry);
        let address = host.parse::<Ipv4Addr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

impl FromStr for ArtifactReference {
    type Err = String;

    fn from_str(text: &str) -> Result<ArtifactReference, String> {
        let is_registry =
            |name: &str| name.contains('.') || name.contains(':') || name == "localhost";
        if !text
            .split_once('/')
            .is_some_and(|(first, _)| is_registry(first))
        {
            return Err(format!("it names no registry; {EXPECTED}"));
        }
        let reference =
            Reference::try_from(text).map_err(|error| format!("{error}; {EXPECTED}"))?;
        if let Some(digest) = reference.digest() {
            let is_lower_case = !digest.bytes().any(|byte| byte.is_ascii_uppercase());
            if !digest.starts_with("sha256:") || !is_lower_case {
                return Err(format!(
                    "a digest is `sha256:` and 64 lower-case hexadecimal digits; {EXPECTED}"
                ));
            }
        }
        Ok(ArtifactReference(reference))
    }
}

impl fmt::Display for ArtifactReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, Result, anyhow};

    fn parsed(text: &str) -> Result<ArtifactReference> {
        text.parse()
            .map_err(|error: String| anyhow!("{text}: {error}"))
    }

    #[test]
    fn a_reference_has_a_registry_a_name_and_a_tag_or_a_digest() -> Result<()> {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let reference = parsed("ghcr.io/acme/digits:1")?;
        assert_eq!(reference.registry(), "ghcr.io");
        assert_eq!(reference.last_name(), "digits");
        assert_eq!(
            reference.pinned(&digest),
            format!("ghcr.io/acme/digits:1@{digest}")
        );
        let reference = parsed(&format!("localhost:5000/digits@{digest}"))?;
        assert_eq!(reference.digest(), Some(digest.as_str()));
        assert_eq!(
            reference.pinned(&digest),
            format!("localhost:5000/digits@{digest}")
        );
        assert_eq!(
            parsed("ghcr.io/acme/digits")?.to_string(),
            "ghcr.io/acme/digits:latest"
        );
        Ok(())
    }

    #[test]
    fn references_without_a_registry_and_other_digests_are_refused() -> Result<()> {
        let sha512 = format!("a.io/x@sha512:{}", "ab".repeat(64));
        let upper_case = format!("a.io/x@sha256:{}", "AB".repeat(32));
        for (text, expected) in [
            ("digits", "names no registry"),
            ("digits:1", "names no registry"),
            ("acme/digits:1", "names no registry"),
            ("ghcr.io/", "invalid reference format"),
            ("ghcr.io/Digits:1", "invalid reference format"),
            ("https://ghcr.io/digits:1", "invalid reference format"),
            ("ghcr.io/digits@sha256:12", "invalid reference format"),
            (&sha512, "64 lower-case"),
            (&upper_case, "64 lower-case"),
        ] {
            let error = parsed(text).err().context("accepted")?.to_string();
            assert!(error.contains(expected), "{error}");
        }
        Ok(())
    }

    #[test]
    fn loopback_addresses_are_recognised() -> Result<()> {
        for (text, expected) in [
            ("localhost/digits", true),
            ("localhost:5000/digits", true),
            ("127.0.0.1:5000/digits", true),
            ("127.1.2.3/digits", true),
            ("127.0.0.1.example.com/digits", false),
            ("localhost.example.com/digits", false),
            ("10.0.0.1:5000/digits", false),
        ] {
            assert_eq!(parsed(text)?.is_loopback(), expected, "{text}");
        }
        Ok(())
    }
}
