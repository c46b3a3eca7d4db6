//! The worker processes of tenants, as this crate sees them: somebody starts one, and it has a socket.
//!
//! A worker answers all requests of its tenant, in the protocols of the server, over HTTP/2. Before that it writes one
//! byte, when it is ready. This crate contains no processes; the program that uses it does.

use std::fmt::Debug;
use std::io;
use std::os::unix::net::UnixStream;
use std::process::ExitStatus;
use wisp_serving::tenants::tenant_set::Tenant;

/// The source of the worker processes of tenants. Lifetime: the process.
pub trait StartWorker: Debug + Send + Sync {
    /// Starts a worker for this tenant. Blocks until the process runs, not until it is ready.
    fn start(&self, tenant: &Tenant) -> io::Result<StartedWorker>;
}

/// A worker process that has been started.
#[derive(Debug)]
pub struct StartedWorker {
    /// The end of the server of the socket.
    pub socket: UnixStream,
    pub process: Box<dyn WorkerProcess>,
}

/// A running worker process. Dropping it kills the process without waiting for its end.
pub trait WorkerProcess: Debug + Send {
    /// Kills the process, if it has not ended by itself, and returns how it has ended. Blocks until then.
    fn end(self: Box<Self>) -> io::Result<ExitStatus>;
}
