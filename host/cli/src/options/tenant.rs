//! The arguments of `wisp tenant`.

use super::value::{self, GrantList, LimitValue};
use clap::{ArgAction, Args, Subcommand};
use std::collections::BTreeMap;
use std::path::PathBuf;
use wisp_serving::tenants::api_key::KeyId;
use wisp_serving::tenants::isolation::Isolation;
use wisp_serving::tenants::role::Role;
use wisp_serving::tenants::settings_change::IsolationChange;
use wisp_serving::tenants::signing_key::SigningKey;
use wisp_serving::tenants::subject::Subject;
use wisp_serving::tenants::tenant_id::TenantId;

/// Add, list and change the tenants of a server, their keys, and the names in their client certificates.
///
/// The tenants are in a file of the directory that `wisp serve --tenants` names. Running servers follow it, so a change
/// needs no restart. A key is printed once; the file has only a hash of it.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "\
Examples:

  wisp tenant add acme --tenants /var/lib/wisp/tenants
  wisp tenant add operator --role admin --tenants /var/lib/wisp/tenants
  wisp tenant list --tenants /var/lib/wisp/tenants
  wisp tenant rotate acme --role deploy --tenants /var/lib/wisp/tenants
  wisp tenant revoke acme --key 0123456789abcdef --tenants /var/lib/wisp/tenants
  wisp tenant set acme --requests-per-second 100 --tenants /var/lib/wisp/tenants
  wisp tenant subject add acme uri:spiffe://example.org/acme --tenants /var/lib/wisp/tenants
  wisp tenant signing-key add acme minisign.pub --tenants /var/lib/wisp/tenants"
)]
pub(crate) struct TenantCommandArgs {
    #[command(subcommand)]
    pub(crate) command: TenantCommand,
}

/// The directory that is changed.
#[derive(Debug, Args)]
pub(crate) struct TenantDirectoryArgs {
    /// The directory of the tenants.
    #[arg(long, value_name = "DIR", env = "WISP_TENANTS")]
    pub(crate) tenants: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    Add(Box<TenantAddArgs>),
    /// List the tenants with their limits, the ids of their keys, and their names in certificates.
    #[command(after_help = "Example:\n\n  wisp tenant list --json --tenants DIR")]
    List(TenantListArgs),
    Rotate(TenantRotateArgs),
    Revoke(TenantRevokeArgs),
    Set(Box<TenantSetArgs>),
    /// Add and remove the names in client certificates that identify a tenant.
    #[command(
        subcommand,
        after_help = "Example:\n\n  wisp tenant subject add acme uri:spiffe://example.org/acme --tenants DIR"
    )]
    Subject(SubjectCommand),
    /// Add and remove the keys that sign the versions of a tenant's own models.
    #[command(
        subcommand,
        after_help = "Example:\n\n  wisp tenant signing-key add acme minisign.pub --tenants DIR"
    )]
    SigningKey(SigningKeyCommand),
    RequireSignature(TenantRequireSignatureArgs),
    /// Remove a tenant with all its keys. The files of its models stay.
    #[command(after_help = "Example:\n\n  wisp tenant remove acme --tenants DIR")]
    Remove(TenantRemoveArgs),
}

/// Add a tenant and print its first key.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp tenant add acme --tenants DIR
  wisp tenant add acme --role deploy --requests-per-second 50 --concurrency 8 --tenants DIR
  wisp tenant add acme --role deploy --isolation worker --tenants DIR
  wisp tenant add visitors --anonymous --requests-per-second 5 --tenants DIR")]
pub(crate) struct TenantAddArgs {
    /// The name of the tenant: up to 63 lower-case letters, digits and hyphens. `local` owns the public models.
    pub(crate) id: TenantId,

    #[command(flatten)]
    pub(crate) key: NewKeyArgs,

    /// The tenant's share of the processors, relative to the shares of others, from 1 to 1000.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) weight: u32,

    /// Treat requests without a key as requests of this tenant, with the role `infer`.
    #[arg(long)]
    pub(crate) anonymous: bool,

    /// The isolation of the tenant: `shared` (the threads of the server), `cordon` (own threads and
    /// instances for its own models) or `worker` (its own process) [default: `worker` for tenants that have or may deploy models of
    /// their own if native code can compute them, and `shared` for others].
    #[arg(long, value_name = "LEVEL")]
    pub(crate) isolation: Option<Isolation>,

    #[command(flatten)]
    pub(crate) limits: TenantLimitArgs,

    #[command(flatten)]
    pub(crate) directory: TenantDirectoryArgs,
}

/// Change settings of a tenant. Settings that are not given do not change.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp tenant set acme --requests-per-second 100 --concurrency 8 --queue 64 --tenants DIR
  wisp tenant set acme --models none --tenants DIR
  wisp tenant set acme --weight 4 --isolation worker --tenants DIR
  wisp tenant set acme --grants clock,random --tenants DIR")]
pub(crate) struct TenantSetArgs {
    /// The name of the tenant.
    pub(crate) id: TenantId,

    /// The tenant's share of the processors relative to the shares of others, from 1 to 1000.
    #[arg(long, value_name = "N")]
    pub(crate) weight: Option<u32>,

    /// `true` to treat requests without a key as requests of this tenant, with the role `infer`.
    #[arg(long, value_name = "BOOL")]
    pub(crate) anonymous: Option<bool>,

    /// The isolation of the tenant: `shared`, `cordon` or `worker`, or `none` for the one that the server gives tenants of
    /// this kind.
    #[arg(long, value_name = "LEVEL", value_parser = value::isolation)]
    pub(crate) isolation: Option<IsolationChange>,

    /// The capabilities that the tenant's own models have if their model.toml asks for them: `random` and `clock` (the grants
    /// of handlers), `network` (the hosts of web components), separated by commas, or `none`.
    #[arg(long, value_name = "GRANTS", value_parser = value::grants)]
    pub(crate) grants: Option<GrantList>,

    #[command(flatten)]
    pub(crate) limits: TenantLimitArgs,

    #[command(flatten)]
    pub(crate) directory: TenantDirectoryArgs,
}

/// The limits of a tenant. A limit that has never been given does not exist.
#[derive(Debug, Args)]
pub(crate) struct TenantLimitArgs {
    /// Limit on inference requests per second, on average, or `none`. Up to twice as many may come at once.
    #[arg(long, value_name = "N", value_parser = value::limit)]
    pub(crate) requests_per_second: Option<LimitValue>,

    /// Limit on inference requests at the same time, or `none`.
    #[arg(long, value_name = "N", value_parser = value::limit)]
    pub(crate) concurrency: Option<LimitValue>,

    /// The number of inference requests above `--concurrency` that wait for their turn, or `none`: all are refused.
    #[arg(long, value_name = "N", value_parser = value::limit)]
    pub(crate) queue: Option<LimitValue>,

    /// Limit on the size of a request body or message, or `none` for that of the server.
    #[arg(long, value_name = "N", value_parser = value::limit)]
    pub(crate) body_bytes: Option<LimitValue>,

    /// Limit on the bytes of tensors that all requests hold at the same time, or `none`.
    #[arg(long, value_name = "N", value_parser = value::limit)]
    pub(crate) tensor_bytes: Option<LimitValue>,

    /// Limit on the processor time of handlers in each second, in milliseconds, or `none`.
    #[arg(long, value_name = "N", value_parser = value::limit)]
    pub(crate) guest_milliseconds_per_second: Option<LimitValue>,

    /// Limit on the time of computations in each second, in milliseconds, or `none`.
    #[arg(long, value_name = "N", value_parser = value::limit)]
    pub(crate) backend_milliseconds_per_second: Option<LimitValue>,

    /// Limit on the memory of each instance of a handler of the tenant's own models, or `none` for that of the server.
    #[arg(long, value_name = "N", value_parser = value::limit)]
    pub(crate) instance_bytes: Option<LimitValue>,

    /// Limit on the memory of the tenant's own loaded models, or `none` for a quarter of the memory limit of the server, or
    /// half of that of the tenant's worker.
    #[arg(long, value_name = "N", value_parser = value::limit)]
    pub(crate) model_memory_bytes: Option<LimitValue>,

    /// Limit on the number of the tenant's own models, or `none`.
    #[arg(long, value_name = "N", value_parser = value::limit)]
    pub(crate) models: Option<LimitValue>,

    /// Limit on the files of the tenant's own models, or `none`.
    #[arg(long, value_name = "N", value_parser = value::limit)]
    pub(crate) stored_bytes: Option<LimitValue>,
}

impl TenantLimitArgs {
    /// Returns the limits that are given, by the names that they have in files and requests.
    pub(crate) fn changes(&self) -> BTreeMap<String, Option<u64>> {
        let named = [
            ("requests_per_second", self.requests_per_second),
            ("concurrency", self.concurrency),
            ("queue", self.queue),
            ("body_bytes", self.body_bytes),
            ("tensor_bytes", self.tensor_bytes),
            (
                "guest_milliseconds_per_second",
                self.guest_milliseconds_per_second,
            ),
            (
                "backend_milliseconds_per_second",
                self.backend_milliseconds_per_second,
            ),
            ("instance_bytes", self.instance_bytes),
            ("model_memory_bytes", self.model_memory_bytes),
            ("models", self.models),
            ("stored_bytes", self.stored_bytes),
        ];
        let given = named.into_iter().filter_map(|(name, value)| {
            let LimitValue(limit) = value?;
            Some((name.to_owned(), limit))
        });
        given.collect()
    }
}

/// The role and the lifetime of a new key.
#[derive(Debug, Args)]
pub(crate) struct NewKeyArgs {
    /// The role of the key: `infer`, `deploy` (also loads and changes the tenant's own models) or `admin` (also changes
    /// the tenants).
    #[arg(long, value_name = "ROLE", default_value_t = Role::Infer)]
    pub(crate) role: Role,

    /// Seconds after which the key expires [default: none].
    #[arg(long, value_name = "N", value_parser = value::lifetime)]
    pub(crate) expires_secs: Option<u64>,
}

/// The form of the list.
#[derive(Debug, Args)]
pub(crate) struct TenantListArgs {
    /// Print one JSON document.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) directory: TenantDirectoryArgs,
}

/// Add a key to a tenant and print it.
///
/// A tenant has at most two keys of the same role: the new one, and the one that it replaces. The replaced key stays valid
/// for the time that `--grace-secs` sets.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp tenant rotate acme --tenants DIR
  wisp tenant rotate acme --role deploy --grace-secs 0 --tenants DIR")]
pub(crate) struct TenantRotateArgs {
    /// The name of the tenant.
    pub(crate) id: TenantId,

    #[command(flatten)]
    pub(crate) key: NewKeyArgs,

    /// Seconds for which the replaced key of the same role stays valid.
    #[arg(long, value_name = "N", default_value_t = 86_400)]
    pub(crate) grace_secs: u64,

    #[command(flatten)]
    pub(crate) directory: TenantDirectoryArgs,
}

/// Revoke one key of a tenant, or all of them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp tenant revoke acme --key 0123456789abcdef --tenants DIR
  wisp tenant revoke acme --all-keys --tenants DIR")]
pub(crate) struct TenantRevokeArgs {
    /// The name of the tenant.
    pub(crate) id: TenantId,

    #[command(flatten)]
    pub(crate) keys: RevokedKeysArgs,

    #[command(flatten)]
    pub(crate) directory: TenantDirectoryArgs,
}

/// The keys that are revoked.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct RevokedKeysArgs {
    /// The id of the key, which `wisp tenant list` shows. It is also the second part of the key: `wisp_<id>_<secret>`.
    #[arg(long, value_name = "ID", value_parser = value::key_id)]
    pub(crate) key: Option<KeyId>,

    /// Revoke all keys of the tenant.
    #[arg(long)]
    pub(crate) all_keys: bool,
}

/// The tenant that is removed.
#[derive(Debug, Args)]
pub(crate) struct TenantRemoveArgs {
    /// The name of the tenant.
    pub(crate) id: TenantId,

    #[command(flatten)]
    pub(crate) directory: TenantDirectoryArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SubjectCommand {
    Add(TenantSubjectAddArgs),
    Remove(TenantSubjectRemoveArgs),
}

/// Identify a tenant by a name in the certificates of its clients.
///
/// The server verifies the certificates with `wisp serve --tls-client-ca`. A name belongs to one tenant, and is compared
/// byte by byte.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp tenant subject add acme uri:spiffe://example.org/acme --tenants DIR
  wisp tenant subject add acme dns:deploy.acme.example --role deploy --tenants DIR
  wisp tenant subject add acme 'dn:CN=acme,O=Example' --tenants DIR")]
pub(crate) struct TenantSubjectAddArgs {
    /// The name of the tenant.
    pub(crate) id: TenantId,

    /// The name in the certificates: `uri:` or `dns:` with an alternative name of that kind, or `dn:` with the whole
    /// subject, as `openssl x509 -noout -subject -nameopt RFC2253,utf8,-esc_msb` prints it.
    #[arg(value_name = "NAME")]
    pub(crate) subject: Subject,

    /// The role of the clients, as for a key: `infer`, `deploy` or `admin`.
    #[arg(long, value_name = "ROLE", default_value_t = Role::Infer)]
    pub(crate) role: Role,

    #[command(flatten)]
    pub(crate) directory: TenantDirectoryArgs,
}

/// Remove a name of a tenant, also for connections that are open.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n\n  wisp tenant subject remove acme dns:deploy.acme.example --tenants DIR"
)]
pub(crate) struct TenantSubjectRemoveArgs {
    /// The name of the tenant.
    pub(crate) id: TenantId,

    /// The name in the certificates, as the list shows it.
    #[arg(value_name = "NAME")]
    pub(crate) subject: Subject,

    #[command(flatten)]
    pub(crate) directory: TenantDirectoryArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SigningKeyCommand {
    Add(TenantSigningKeyAddArgs),
    Remove(TenantSigningKeyRemoveArgs),
}

/// Trust a key that signs versions of a tenant's own models.
///
/// As soon as a tenant has such a key, the keys of `wisp serve --trusted-key` do not count for its models.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n\n  wisp tenant signing-key add acme minisign.pub --tenants DIR")]
pub(crate) struct TenantSigningKeyAddArgs {
    /// The name of the tenant.
    pub(crate) id: TenantId,

    /// The file of the public key, which `minisign -G` writes.
    pub(crate) file: PathBuf,

    #[command(flatten)]
    pub(crate) directory: TenantDirectoryArgs,
}

/// Remove a trusted key. Versions that no other trusted key has signed are not loaded again.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n\n  wisp tenant signing-key remove acme RWQf6LRCGA9i53ml...3Y7GFO3 --tenants DIR"
)]
pub(crate) struct TenantSigningKeyRemoveArgs {
    /// The name of the tenant.
    pub(crate) id: TenantId,

    /// The key, as the list shows it: the second line of its file.
    #[arg(value_name = "KEY", value_parser = SigningKey::parse)]
    pub(crate) key: SigningKey,

    #[command(flatten)]
    pub(crate) directory: TenantDirectoryArgs,
}

/// Load versions of a tenant's own models only with a valid signature.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp tenant require-signature acme --tenants DIR
  wisp tenant require-signature acme false --tenants DIR")]
pub(crate) struct TenantRequireSignatureArgs {
    /// The name of the tenant.
    pub(crate) id: TenantId,

    /// `false` to leave it to `wisp serve --require-signature`.
    #[arg(value_name = "BOOL", action = ArgAction::Set, default_value_t = true)]
    pub(crate) is_required: bool,

    #[command(flatten)]
    pub(crate) directory: TenantDirectoryArgs,
}
