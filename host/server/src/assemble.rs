//! From what the program needs to a running server; used by the program and by tests.
//!
//! Takes a socket that is already bound and any future as the signal to stop, so that a test
//! passes port 0 and a channel. Reads no files (but for a certificate that is renewed), no arguments and no
//! signals.

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

/// Limits of the front door. Those of a request's content are `wisp_serving`'s.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Connections open at once. For the next one the connection that has been idle longest is closed; where
    /// none is idle, it is answered 503 and closed.
    pub max_connections: usize,
    /// From the first byte of a request's head to its last.
    pub header_timeout: Duration,
    /// How long a body may make us wait, besides the time its bytes take at 16 KiB/s; at most five
    /// minutes together.
    pub body_timeout: Duration,
    /// How long a client may leave a response lying without taking any of it.
    pub write_timeout: Duration,
    /// How long a connection may stay open without a request.
    pub idle_timeout: Duration,
    /// The origins whose pages may read answers in a browser; with none, browsers keep to their rule that
    /// none may.
    pub cors_origins: Vec<AllowedOrigin>,
    /// The hosts that requests may name on sockets that listen on loopback; `None` for any.
    pub allowed_hosts: Option<AllowedHosts>,
    /// From "not ready" to the end of accepting, so that load balancers notice in between.
    pub drain_notice: Duration,
    /// From the end of accepting to the end of requests that are still running.
    pub drain_timeout: Duration,
}

impl Default for ServerOptions {
    fn default() -> ServerOptions {
        ServerOptions {
            max_connections: 10_000,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            // Longer than the load balancers in use keep a connection (AWS 60 s, Google 600 s):
            // whoever closes first, it must not be us while a request is on its way.
            idle_timeout: Duration::from_secs(620),
            cors_origins: Vec::new(),
            allowed_hosts: None,
            drain_notice: Duration::from_secs(1),
            // With the notice well within the 30 s that Kubernetes and systemd wait before a kill.
            drain_timeout: Duration::from_secs(25),
        }
    }
}

/// The sockets that a server listens on, bound already. All of them serve everything.
#[derive(Debug)]
pub struct Sockets {
    pub http: TcpListener,
    /// For clients of gRPC, which have a port of their own by convention.
    pub grpc: Option<TcpListener>,
    /// What TLS is spoken with, on all of them; without it, none is.
    pub tls: Option<Arc<Tls>>,
}

/// Why a server ended otherwise than drained.
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

/// Answer requests on `sockets` until `shutdown` completes, then drain.
///
/// Dropping the returned future cuts all connections at once: that is how a second signal forces
/// the end.
pub async fn serve(
    sockets: Sockets,
    serving: Arc<Serving>,
    options: ServerOptions,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let drain = Drain::new();
    let service = Arc::new(Service::new(serving, drain.watch(), &options));
    // Ends with this function, however that ends.
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
