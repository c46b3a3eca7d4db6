//! The arguments of `wisp tenant`.

use super::value;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use wisp_serving::tenants::api_key::KeyId;
use wisp_serving::tenants::role::Role;
use wisp_serving::tenants::tenant_id::TenantId;

/// Add, list and change the tenants of a server, and their keys.
///
/// The tenants are in a file of the directory that `wisp serve --tenants` names. Running servers follow it, so a change
/// needs no restart. A key is printed once; the file has only a hash of it.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "\
Examples:

  wisp tenant --tenants /var/lib/wisp/tenants add acme
  wisp tenant --tenants /var/lib/wisp/tenants add operator --role admin
  wisp tenant --tenants /var/lib/wisp/tenants list
  wisp tenant --tenants /var/lib/wisp/tenants rotate acme --role deploy
  wisp tenant --tenants /var/lib/wisp/tenants revoke acme --key 0123456789abcdef"
)]
pub(crate) struct TenantCommandArgs {
    /// The directory of the tenants.
    #[arg(long, value_name = "DIR", env = "WISP_TENANTS", hide_env_values = true)]
    pub(crate) tenants: PathBuf,

    #[command(subcommand)]
    pub(crate) command: TenantCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    Add(Box<TenantAddArgs>),
    /// List the tenants with their limits and the ids of their keys.
    #[command(after_help = "Example:\n\n  wisp tenant --tenants DIR list --json")]
    List(TenantListArgs),
    Rotate(TenantRotateArgs),
    Revoke(TenantRevokeArgs),
    /// Remove a tenant with all its keys. The files of its models stay.
    #[command(after_help = "Example:\n\n  wisp tenant --tenants DIR remove acme")]
    Remove(TenantRemoveArgs),
}

/// Add a tenant and print its first key.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp tenant --tenants DIR add acme
  wisp tenant --tenants DIR add acme --role deploy --requests-per-second 50 --concurrency 8
  wisp tenant --tenants DIR add visitors --anonymous --requests-per-second 5")]
pub(crate) struct TenantAddArgs {
    /// The name of the tenant: up to 63 lower-case letters, digits and hyphens. `local` owns the public models.
    pub(crate) id: TenantId,

    #[command(flatten)]
    pub(crate) key: NewKeyArgs,

    /// The tenant's share of the processors in relation to those of others, from 1 to 1000.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) weight: u32,

    /// Let requests without a key be this tenant's, with the role `infer`.
    #[arg(long)]
    pub(crate) anonymous: bool,

    /// Limit on inference requests per second, of which twice as many may come at once [default: none].
    #[arg(long, value_name = "N")]
    pub(crate) requests_per_second: Option<u64>,

    /// Limit on inference requests at the same time [default: none].
    #[arg(long, value_name = "N")]
    pub(crate) concurrency: Option<u64>,

    /// Limit on the size of a request body or message [default: that of the server].
    #[arg(long, value_name = "N")]
    pub(crate) body_bytes: Option<u64>,

    /// Limit on the bytes of tensors that all requests hold at the same time [default: none].
    #[arg(long, value_name = "N")]
    pub(crate) tensor_bytes: Option<u64>,

    /// Limit on the processor time of handlers in each second, in milliseconds [default: none].
    #[arg(long, value_name = "N")]
    pub(crate) guest_milliseconds_per_second: Option<u64>,

    /// Limit on the time of computations in each second, in milliseconds [default: none].
    #[arg(long, value_name = "N")]
    pub(crate) backend_milliseconds_per_second: Option<u64>,

    /// Limit on the memory of the tenant's own loaded models [default: none].
    #[arg(long, value_name = "N")]
    pub(crate) model_memory_bytes: Option<u64>,

    /// Limit on the number of the tenant's own models [default: none].
    #[arg(long, value_name = "N")]
    pub(crate) models: Option<u64>,

    /// Limit on the files of the tenant's own models [default: none].
    #[arg(long, value_name = "N")]
    pub(crate) stored_bytes: Option<u64>,
}

/// The role and the lifetime of a new key.
#[derive(Debug, Args)]
pub(crate) struct NewKeyArgs {
    /// The role of the key: `infer`, `deploy` (also loads and changes the tenant's own models) or `admin` (also changes
    /// the tenants).
    #[arg(long, value_name = "ROLE", default_value_t = Role::Infer)]
    pub(crate) role: Role,

    /// Seconds after which the key is not valid any more [default: none].
    #[arg(long, value_name = "N", value_parser = value::lifetime)]
    pub(crate) expires_secs: Option<u64>,
}

/// The form of the list.
#[derive(Debug, Args)]
pub(crate) struct TenantListArgs {
    /// Print one JSON document.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Add a key to a tenant and print it.
///
/// A tenant has at most two keys of the same role: the new one, and the one that it replaces, which stays valid for some
/// time.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp tenant --tenants DIR rotate acme
  wisp tenant --tenants DIR rotate acme --role deploy --grace-secs 0")]
pub(crate) struct TenantRotateArgs {
    /// The name of the tenant.
    pub(crate) id: TenantId,

    #[command(flatten)]
    pub(crate) key: NewKeyArgs,

    /// Seconds for which the replaced key of the same role stays valid.
    #[arg(long, value_name = "N", default_value_t = 86_400)]
    pub(crate) grace_secs: u64,
}

/// Make one key of a tenant invalid, or all of them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp tenant --tenants DIR revoke acme --key 0123456789abcdef
  wisp tenant --tenants DIR revoke acme --all-keys")]
pub(crate) struct TenantRevokeArgs {
    /// The name of the tenant.
    pub(crate) id: TenantId,

    /// The id of the key, as the list shows it; the second part of the key itself.
    #[arg(long, value_name = "ID", required_unless_present = "all_keys", value_parser = value::key_id)]
    pub(crate) key: Option<KeyId>,

    /// Make all keys of the tenant invalid.
    #[arg(long, conflicts_with = "key")]
    pub(crate) all_keys: bool,
}

/// The tenant that is removed.
#[derive(Debug, Args)]
pub(crate) struct TenantRemoveArgs {
    /// The name of the tenant.
    pub(crate) id: TenantId,
}
