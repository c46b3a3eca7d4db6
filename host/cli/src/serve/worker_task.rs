//! The first message from a server to a worker: the tenant whose requests it serves.
//!
//! It is one line of JSON. Everything else about a worker is in its command, which is the same for all tenants.

use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use wisp_serving::tenants::isolation::Isolation;
use wisp_serving::tenants::limits::Limits;
use wisp_serving::tenants::signing_key::{SigningKey, SigningRules};
use wisp_serving::tenants::tenant_grant::TenantGrant;
use wisp_serving::tenants::tenant_set::Tenant;

/// The size limit of the message.
const MAX_BYTES: usize = 64 << 10;

/// The tenant of a worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkerTask {
    tenant: String,
    weight: u32,
    limits: Limits,
    /// The public keys that sign its versions.
    #[serde(default)]
    signing_keys: Vec<String>,
    #[serde(default)]
    require_signature: bool,
    /// The capabilities of its own models beyond those of every model.
    #[serde(default)]
    grants: BTreeSet<TenantGrant>,
}

impl WorkerTask {
    pub(super) fn of(tenant: &Tenant) -> WorkerTask {
        let keys = tenant.signatures.keys.iter();
        WorkerTask {
            tenant: tenant.id.to_string(),
            weight: tenant.weight,
            limits: tenant.limits,
            signing_keys: keys.map(|key| key.as_str().to_owned()).collect(),
            require_signature: tenant.signatures.is_required,
            grants: tenant.grants.clone(),
        }
    }

    /// Returns the tenant, which is the only one in its process and uses all of it.
    pub(super) fn tenant(&self) -> anyhow::Result<Tenant> {
        let keys = self.signing_keys.iter().map(|key| SigningKey::parse(key));
        let keys: Result<Vec<SigningKey>, _> = keys.collect();
        Ok(Tenant {
            id: self.tenant.parse()?,
            weight: self.weight,
            isolation: Isolation::Shared,
            limits: self.limits,
            // A key that is left out would let versions pass that it has not signed.
            signatures: SigningRules {
                keys: keys?,
                is_required: self.require_signature,
            },
            grants: self.grants.clone(),
        })
    }

    pub(super) fn write(&self, mut output: impl Write) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        output.write_all(&line)
    }

    /// Reads the message and nothing after it.
    pub(super) fn read(mut input: impl Read) -> anyhow::Result<WorkerTask> {
        let mut line = Vec::new();
        let mut byte = [0_u8; 1];
        loop {
            input
                .read_exact(&mut byte)
                .context("the server has named no tenant")?;
            if byte == [b'\n'] {
                return serde_json::from_slice(&line).context("not the name of a tenant");
            }
            anyhow::ensure!(line.len() < MAX_BYTES, "the name of a tenant is too long");
            line.extend(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    #[test]
    fn a_worker_learns_its_tenant_and_leaves_what_follows() -> anyhow::Result<()> {
        let tenant = Tenant {
            id: "acme".parse()?,
            weight: 7,
            isolation: Isolation::Worker,
            limits: Limits {
                models: Some(3),
                ..Limits::default()
            },
            signatures: SigningRules {
                keys: vec![SigningKey::parse(KEY)?],
                is_required: true,
            },
            grants: BTreeSet::from([TenantGrant::Clock]),
        };
        let mut bytes = Vec::new();
        WorkerTask::of(&tenant).write(&mut bytes)?;
        bytes.extend(b"PRI");
        let mut input = bytes.as_slice();
        let read = WorkerTask::read(&mut input)?.tenant()?;
        assert_eq!((read.id, read.weight), (tenant.id, 7));
        assert_eq!(read.limits, tenant.limits);
        assert_eq!(read.signatures, tenant.signatures);
        assert_eq!(read.grants, tenant.grants);
        assert_eq!(input, b"PRI");
        Ok(())
    }

    #[test]
    fn a_message_without_an_end_or_with_a_path_as_its_tenant_is_refused() -> anyhow::Result<()> {
        assert!(WorkerTask::read(&b"{}"[..]).is_err());
        assert!(WorkerTask::read(vec![b'x'; MAX_BYTES * 2].as_slice()).is_err());
        let path = br#"{"tenant": "../other", "weight": 1, "limits": {}}"#;
        let key = br#"{"tenant": "acme", "weight": 1, "limits": {}, "signing_keys": ["a"]}"#;
        for message in [&path[..], key] {
            let task = WorkerTask::read([message, b"\n"].concat().as_slice())?;
            assert!(task.tenant().is_err());
        }
        Ok(())
    }
}
