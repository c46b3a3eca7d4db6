//! The settings of `wisp serve` for tenants and their workers.

use super::value;
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The directory of the tenants, and the address at which they can be changed.
#[derive(Debug, Args)]
pub(crate) struct TenancyArgs {
    /// The directory of the tenants. `wisp tenant` writes it, and `tenants/<tenant>/models` in it has their own models. Once
    /// there is a tenant, every request except for health checks needs the key of one. Changes take effect within a
    /// second [default: none].
    #[arg(long, value_name = "DIR", env = "WISP_TENANTS")]
    pub(crate) tenants: Option<PathBuf>,

    /// The address for changes of the tenants over HTTP, with keys of the role `admin`. Needs `--tenants`, and a
    /// certificate unless it is a loopback address [default: none].
    #[arg(
        long,
        value_name = "ADDR",
        env = "WISP_ADMIN",
        value_parser = value::address
    )]
    pub(crate) admin: Option<SocketAddr>,

    /// Memory in bytes that the worker process of a tenant with the isolation `worker` may allocate. A worker that needs
    /// more ends, and its requests fail [default: an equal part of half of the server's memory for each tenant with this
    /// isolation, at least 768 MiB and 64 MiB per processor].
    #[arg(
        long,
        value_name = "N",
        env = "WISP_WORKER_MEMORY_BYTES",
        value_parser = value::at_least_one
    )]
    pub(crate) worker_memory_bytes: Option<usize>,
}
