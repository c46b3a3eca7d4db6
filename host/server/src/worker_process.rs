//! The interface to the worker processes of tenants, which the program that uses this crate starts.
//!
//! A worker writes one byte to its socket when it is ready. Then it answers all requests of its tenant over HTTP/2, in the
//! protocols of the server.

use std::fmt::Debug;
use std::io;
use std::os::unix::net::UnixStream;
use std::process::ExitStatus;
use wisp_serving::tenants::tenant_set::Tenant;

/// The source of the worker processes of tenants. Lifetime: the process.
pub trait StartWorker: Debug + Send + Sync {
    /// Starts a worker for this tenant, one of `tenants` that have a worker when they need one. Blocks until the process
    /// runs, not until it is ready.
    fn start(&self, tenant: &Tenant, tenants: usize) -> io::Result<StartedWorker>;
}

/// A worker process that has been started.
#[derive(Debug)]
pub struct StartedWorker {
    /// The server's end of the socket.
    pub socket: UnixStream,
    pub process: Box<dyn WorkerProcess>,
}

/// A running worker process. Dropping it kills the process without waiting for its end.
pub trait WorkerProcess: Debug + Send {
    /// Kills the process unless it has ended by itself, waits for its end, and returns its status.
    fn end(self: Box<Self>) -> io::Result<ExitStatus>;
}
