//! Starting and running a server, for the program and for tests.
//!
//! Takes sockets that are already bound and any future as the shutdown signal, so that a test can use port
//! 0 and a channel. Reads no arguments, no signals and no files, except for a renewed certificate.

use crate::authority::AllowedHosts;
use crate::cors::AllowedOrigin;
use crate::drain::Drain;
use crate::listener::Listener;
use crate::service::Service;
use crate::tls::Tls;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use wisp_serving::Serving;

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
    /// The time from reporting "not ready" to the end of accepting, so that load balancers notice the
    /// change.
    pub drain_notice: Duration,
    /// The time from the end of accepting until requests that are still running are cut.
    pub drain_timeout: Duration,
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
            drain_notice: Duration::from_secs(1),
            // Together with the notice, well below the 30 s that Kubernetes and systemd wait before a kill.
            drain_timeout: Duration::from_secs(25),
        }
    }
}

/// The bound sockets that a server listens on. All of them serve all protocols.
#[derive(Debug)]
pub struct Sockets {
    pub http: TcpListener,
    /// An additional socket for gRPC clients, which by convention have a port of their own.
    pub grpc: Option<TcpListener>,
    /// The certificate for TLS on all sockets. If `None`, TLS is disabled.
    pub tls: Option<Arc<Tls>>,
}

/// An error that ended a server other than by a completed drain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServeError {
    #[error(
        "{connections} connections were cut, still busy {drain_timeout:?} after draining began"
    )]
    DrainTimeout {
        connections: usize,
        drain_timeout: Duration,
    },
}

/// Serves requests on `sockets` until `shutdown` completes, then drains.
///
/// Dropping the returned future cuts all connections at once. A second signal uses this to force the end.
pub async fn serve(
    sockets: Sockets,
    serving: Arc<Serving>,
    options: ServerOptions,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let drain = Drain::new();
    let service = Arc::new(Service::new(serving, drain.watch(), &options));
    // Dropped, and so ended, when this function returns.
    let mut following = JoinSet::new();
    if let Some(tls) = &sockets.tls {
        following.spawn(Arc::clone(tls).follow());
    }
    let mut listener = Listener::new(sockets, Arc::clone(&service), drain.watch(), &options);
    listener.accept_until(shutdown).await;
    service.start_draining();
    listener
        .accept_until(tokio::time::sleep(options.drain_notice))
        .await;
    let connections = listener.close(options.drain_notice).await;
    drain.finish(connections, options.drain_timeout).await
}
