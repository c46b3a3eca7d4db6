//! The sockets and limits of a server.

use crate::authority::AllowedHosts;
use crate::cors::AllowedOrigin;
use crate::listening_socket::ListeningSocket;
use crate::request_report::RequestLines;
use crate::spans::Spans;
use crate::tls::Tls;
use crate::worker_process::StartWorker;
use std::sync::Arc;
use std::time::Duration;

/// Limits of the HTTP and gRPC server. The limits on the content of a request are in `wisp_serving`.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The maximum number of open connections. To accept another one, the server closes the connection that
    /// has been idle longest; if none is idle, the new connection is refused with 503 and closed.
    pub max_connections: usize,
    /// The time from the first byte of a request's head to its last.
    pub header_timeout: Duration,
    /// The time that a body may keep the server waiting, in addition to the time for its bytes at 16 KiB/s.
    /// The total is at most five minutes.
    pub body_timeout: Duration,
    /// The time that a client may take to accept any more bytes of a response.
    pub write_timeout: Duration,
    /// The time that a connection may stay open without a request.
    pub idle_timeout: Duration,
    /// The origins whose pages may read responses in a browser. If empty, browsers keep their default rule
    /// that no other origin may.
    pub cors_origins: Vec<AllowedOrigin>,
    /// The hosts that requests may name on sockets that listen on loopback; `None` for any host.
    pub allowed_hosts: Option<AllowedHosts>,
    /// The time without a request in progress and without a new connection after which the server drains by
    /// itself; `None` if it does not.
    pub idle_exit: Option<Duration>,
    /// The time from reporting "not ready" to the end of accepting, so that load balancers notice the
    /// change. Sockets that another process holds too are left at once.
    pub drain_delay: Duration,
    /// The time from the end of accepting until requests that are still running are closed.
    pub drain_timeout: Duration,
    /// The requests that have a line of their own in the log.
    pub request_lines: RequestLines,
    /// The spans of traced requests; `None` if no request is traced.
    pub spans: Option<Arc<Spans>>,
    /// The source of the worker processes of tenants; `None` if there are none.
    pub workers: Option<Arc<dyn StartWorker>>,
}

impl Default for ServerOptions {
    fn default() -> ServerOptions {
        ServerOptions {
            max_connections: 10_000,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            // Longer than common load balancers keep a connection (AWS 60 s, Google 600 s), so that the
            // server does not close it while a request is on its way.
            idle_timeout: Duration::from_secs(620),
            cors_origins: Vec::new(),
            allowed_hosts: None,
            idle_exit: None,
            drain_delay: Duration::from_secs(1),
            // Together with the delay, well below the 30 s that Kubernetes and systemd wait before a kill.
            drain_timeout: Duration::from_secs(25),
            request_lines: RequestLines::None,
            spans: None,
            workers: None,
        }
    }
}

/// The bound sockets that a server listens on. All of them serve all protocols, apart from those for metrics and for
/// administration.
#[derive(Debug)]
pub struct Sockets {
    pub http: ListeningSocket,
    /// An additional socket for gRPC clients, which by convention have a port of their own.
    pub grpc: Option<ListeningSocket>,
    /// The certificate for TLS on the sockets before. If `None`, TLS is disabled.
    pub tls: Option<Arc<Tls>>,
    /// The socket for metrics, which serves nothing else and does not use TLS.
    pub metrics: Option<ListeningSocket>,
    /// The socket for changes of the tenants, which serves nothing else. It uses TLS if the first sockets do.
    pub admin: Option<ListeningSocket>,
}
