//! The JSON documents of tenants, for the API for administration and for a tenant's own limits.
//!
//! No document contains a hash. A key is in the response to the request that made it, and in no other.

use crate::tenants::api_key::ApiKey;
use crate::tenants::isolation::Isolation;
use crate::tenants::limits::Limits;
use crate::tenants::records::{NewKey, NewTenant, TenantRecord, TenantRecords};
use crate::tenants::role::Role;
use crate::tenants::settings_change::{IsolationChange, SettingsChange};
use crate::tenants::signing_key::SigningKey;
use crate::tenants::subject::Subject;
use crate::tenants::tenant_grant::TenantGrant;
use crate::tenants::tenant_id::TenantId;
use crate::tenants::tenant_set::Tenant;
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The time for which a replaced key stays valid if the request does not say.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// The error for a body that is not a document of the API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid JSON: {0}")]
pub struct DocumentError(String);

/// The body of a request for a new tenant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantBody {
    id: String,
    #[serde(default = "one")]
    weight: u32,
    #[serde(default)]
    anonymous: bool,
    isolation: Option<Isolation>,
    #[serde(default)]
    limits: Limits,
    #[serde(default = "infer")]
    role: Role,
    lifetime_seconds: Option<u64>,
}

/// The body of a request for a new key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyBody {
    #[serde(default = "infer")]
    role: Role,
    lifetime_seconds: Option<u64>,
    grace_seconds: Option<u64>,
}

/// The body of a request for a change of settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsBody {
    weight: Option<u32>,
    anonymous: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    isolation: Option<Option<Isolation>>,
    #[serde(default)]
    limits: BTreeMap<String, Option<u64>>,
    grants: Option<BTreeSet<TenantGrant>>,
    require_signature: Option<bool>,
    signing_keys: Option<Vec<String>>,
    subjects: Option<Vec<SubjectBody>>,
}

/// A name in client certificates.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectBody {
    name: String,
    #[serde(default = "infer")]
    role: Role,
}

fn one() -> u32 {
    1
}

fn infer() -> Role {
    Role::Infer
}

/// Decodes a request for a new tenant.
pub fn decode_tenant(body: &[u8]) -> Result<NewTenant, DocumentError> {
    let body: TenantBody = decode(body)?;
    let id: Result<TenantId, _> = body.id.parse();
    Ok(NewTenant {
        id: id.map_err(|error| DocumentError(format!("id: {error}")))?,
        weight: body.weight,
        anonymous: body.anonymous,
        isolation: body.isolation,
        limits: body.limits,
        key: NewKey {
            role: body.role,
            lifetime: body.lifetime_seconds.map(Duration::from_secs),
        },
    })
}

/// Decodes a request for a new key. Returns it with the time for which the replaced one stays valid.
pub fn decode_key(body: &[u8]) -> Result<(NewKey, Duration), DocumentError> {
    let body: KeyBody = match body.is_empty() {
        true => decode(b"{}")?,
        false => decode(body)?,
    };
    let key = NewKey {
        role: body.role,
        lifetime: body.lifetime_seconds.map(Duration::from_secs),
    };
    let grace = body.grace_seconds.map(Duration::from_secs);
    Ok((key, grace.unwrap_or(DEFAULT_GRACE)))
}

/// Decodes a request for a change of settings. A list takes the place of the one before, and `null` removes a limit.
pub fn decode_change(body: &[u8]) -> Result<SettingsChange, DocumentError> {
    let body: SettingsBody = decode(body)?;
    let isolation = body.isolation.map(|level| match level {
        Some(level) => IsolationChange::To(level),
        None => IsolationChange::Usual,
    });
    let mut change = SettingsChange {
        weight: body.weight,
        anonymous: body.anonymous,
        isolation,
        limits: body.limits,
        grants: body.grants,
        require_signature: body.require_signature,
        ..SettingsChange::default()
    };
    if let Some(keys) = body.signing_keys {
        let keys = keys.iter().map(|key| SigningKey::parse(key));
        let keys: Result<Vec<SigningKey>, _> = keys.collect();
        let invalid = |error| DocumentError(format!("signing_keys: {error}"));
        change.signing_keys = Some(keys.map_err(invalid)?);
    }
    if let Some(subjects) = body.subjects {
        let mut named = Vec::with_capacity(subjects.len());
        for SubjectBody { name, role } in subjects {
            let subject: Result<Subject, _> = name.parse();
            let subject = subject.map_err(|error| DocumentError(format!("subjects: {error}")))?;
            named.push((subject, role));
        }
        change.subjects = Some(named);
    }
    Ok(change)
}

/// Distinguishes `null` from a member that is missing.
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, DocumentError> {
    serde_json::from_slice(body).map_err(|error| DocumentError(error.to_string()))
}

/// Returns the document of all tenants.
pub fn tenants_document(records: &TenantRecords) -> Bytes {
    let tenants = records.tenants.iter();
    let tenants: Vec<Value> = tenants.map(|(id, record)| tenant(id, record)).collect();
    encode(&json!({ "tenants": tenants }))
}

/// Returns the document of one tenant, if there is such a tenant.
pub fn tenant_document(records: &TenantRecords, id: &TenantId) -> Option<Bytes> {
    let record = records.tenants.get(id.as_str())?;
    Some(encode(&tenant(id.as_str(), record)))
}

/// Returns the document with a key that has just been made.
pub fn key_document(id: &TenantId, key: &ApiKey) -> Bytes {
    encode(&json!({
        "tenant": id.as_str(),
        "key_id": key.id().to_string(),
        "key": key.reveal(),
    }))
}

/// Returns the document of a change without a result of its own.
pub fn removed_document(id: &TenantId) -> Bytes {
    encode(&json!({ "tenant": id.as_str(), "removed": true }))
}

/// Returns the document with a tenant's own limits. A limit that is not set is missing.
pub fn limits_document(tenant: &Tenant) -> Bytes {
    encode(&json!({
        "tenant": tenant.id.as_str(),
        "weight": tenant.weight,
        "limits": tenant.limits,
        "grants": tenant.grants,
    }))
}

fn tenant(id: &str, record: &TenantRecord) -> Value {
    let keys = record.keys.iter().map(|key| {
        json!({
            "id": key.id,
            "role": key.role.name(),
            "created": key.created,
            "expires": key.expires,
        })
    });
    let keys: Vec<Value> = keys.collect();
    let subjects = record.subjects.iter().map(|subject| {
        json!({
            "name": subject.name,
            "role": subject.role.name(),
        })
    });
    let subjects: Vec<Value> = subjects.collect();
    json!({
        "id": id,
        "weight": record.weight,
        "anonymous": record.anonymous,
        "isolation": record.isolation,
        "limits": record.limits,
        "grants": record.grants,
        "keys": keys,
        "subjects": subjects,
        "signing_keys": record.signing_keys,
        "require_signature": record.require_signature,
    })
}

fn encode(document: &Value) -> Bytes {
    Bytes::from(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn a_document_has_all_of_a_tenant_but_its_hashes() -> anyhow::Result<()> {
        let body = br#"{"id": "acme", "weight": 2, "role": "deploy", "lifetime_seconds": 60,
            "limits": {"concurrency": 8}}"#;
        let new = decode_tenant(body)?;
        let mut records = TenantRecords::default();
        let key = records.add(&new, SystemTime::now())?;
        records.add_subject(&new.id, &"dns:acme.example".parse()?, Role::Infer)?;
        let listed = tenants_document(&records);
        let text = String::from_utf8(listed.to_vec())?;
        assert!(!text.contains(&key.hash().to_string()), "{text}");
        let document: Value = serde_json::from_str(&text)?;
        let acme = &document["tenants"][0];
        assert_eq!(acme["id"], "acme");
        assert_eq!(acme["limits"], json!({ "concurrency": 8 }));
        assert_eq!(acme["keys"][0]["role"], "deploy");
        assert_eq!(acme["keys"][0]["id"], key.id().to_string());
        let subjects = json!([{ "name": "dns:acme.example", "role": "infer" }]);
        assert_eq!(acme["subjects"], subjects);
        assert_eq!(acme["require_signature"], false);
        let one = tenant_document(&records, &new.id).unwrap_or_default();
        assert_eq!(serde_json::from_slice::<Value>(&one)?, *acme);
        assert!(tenant_document(&records, &"other".parse()?).is_none());
        Ok(())
    }

    #[test]
    fn a_body_with_anything_unknown_is_refused() {
        for body in [
            "",
            "[]",
            r#"{"id": "A"}"#,
            r#"{"id": "a", "roles": []}"#,
            r#"{"id": "a", "role": "root"}"#,
            r#"{"id": "a", "limits": {"requests": 1}}"#,
            r#"{"id": "a", "weight": -1}"#,
        ] {
            assert!(decode_tenant(body.as_bytes()).is_err(), "{body}");
        }
        assert!(decode_key(b"{\"tenant\": 1}").is_err());
    }

    #[test]
    fn a_key_is_for_inference_unless_the_request_says_more() -> anyhow::Result<()> {
        let (key, grace) = decode_key(b"")?;
        assert_eq!((key.role, key.lifetime), (Role::Infer, None));
        assert_eq!(grace, DEFAULT_GRACE);
        let (key, grace) = decode_key(br#"{"role": "admin", "grace_seconds": 0}"#)?;
        assert_eq!((key.role, grace), (Role::Admin, Duration::ZERO));
        Ok(())
    }

    #[test]
    fn a_change_distinguishes_null_from_nothing() -> anyhow::Result<()> {
        assert!(decode_change(b"{}")?.is_empty());
        let change = decode_change(
            br#"{"isolation": null, "limits": {"models": null, "queue": 4}, "grants": ["clock"],
            "subjects": [{"name": "dns:acme.example", "role": "deploy"}, {"name": "dns:b.example"}]}"#,
        )?;
        assert_eq!(change.isolation, Some(IsolationChange::Usual));
        assert_eq!(change.weight, None);
        assert_eq!(change.limits.get("models"), Some(&None));
        assert_eq!(change.limits.get("queue"), Some(&Some(4)));
        assert_eq!(change.grants, Some(BTreeSet::from([TenantGrant::Clock])));
        let roles = change.subjects.unwrap_or_default();
        let roles: Vec<Role> = roles.iter().map(|(_, role)| *role).collect();
        assert_eq!(roles, [Role::Deploy, Role::Infer]);
        for body in [
            "",
            r#"{"id": "other"}"#,
            r#"{"limits": {"models": -1}}"#,
            r#"{"grants": ["files"]}"#,
            r#"{"subjects": [{"name": "dns:*"}]}"#,
            r#"{"signing_keys": ["a"]}"#,
            r#"{"keys": []}"#,
        ] {
            assert!(decode_change(body.as_bytes()).is_err(), "{body}");
        }
        Ok(())
    }
}
