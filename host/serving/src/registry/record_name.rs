//! The names of the records that loads leave in the cache directory, which are digests of files and their settings.
//!
//! Records of public models have the digest itself as their name. Those of a tenant's own models have a digest of it and of
//! the tenant: otherwise the time of a load would show one tenant that another has loaded the same file, and what the
//! loader of a hostile file has reported would hold for others.

/// Returns the name of a record of a tenant; an empty name of the tenant stands for the public models.
pub(crate) fn record_name(digest: &str, tenant: &str) -> String {
    if tenant.is_empty() {
        return digest.to_owned();
    }
    let mut hasher = blake3::Hasher::new();
    // Both have a fixed length, so no two pairs are the same bytes.
    hasher.update(blake3::hash(tenant.as_bytes()).as_bytes());
    hasher.update(blake3::hash(digest.as_bytes()).as_bytes());
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_tenant_has_names_of_its_own_and_public_models_have_the_digest() {
        assert_eq!(record_name("ab", ""), "ab");
        let digests = ["a", "ab", "abc"];
        let names = digests.iter().flat_map(|digest| {
            let tenants = ["a", "b", "ba", "local"];
            tenants.map(|tenant| record_name(digest, tenant))
        });
        let names: BTreeSet<String> = names.collect();
        assert_eq!(names.len(), 12);
        assert!(names.iter().all(|name| name.len() == 64));
        assert_eq!(record_name("ab", "acme"), record_name("ab", "acme"));
    }
}
