//! Starting and running a server, for the program and for tests.
//!
//! Takes sockets that are already bound and any future as the shutdown signal, so that a test can use port
//! 0 and a channel. Reads no arguments, no signals and no files, except for a renewed certificate.

use crate::admin::AdminService;
use crate::admin_listener::serve_admin;
use crate::connection;
use crate::connection_activity::Timeouts;
use crate::connection_counts::ConnectionCounts;
use crate::drain::{Drain, ServeError};
use crate::listener::{Listener, ListenerSettings};
use crate::metrics::{MetricsService, ServerCounts};
use crate::metrics_listener::serve_metrics;
use crate::options::{ServerOptions, Sockets};
use crate::responder::Responder;
use crate::service::Service;
use std::sync::Arc;
use tokio::task::JoinSet;
use wisp_serving::namespaces::Namespaces;

/// Serves requests on `sockets` until `shutdown` completes or the server has been idle for too long, then drains.
///
/// Dropping the returned future closes all connections at once. A second signal uses this to force the end.
pub async fn serve(
    sockets: Sockets,
    namespaces: Arc<Namespaces>,
    options: ServerOptions,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let drain = Drain::new();
    let Sockets {
        http,
        grpc,
        tls,
        metrics,
        admin,
    } = sockets;
    let service = Service::new(Arc::clone(&namespaces), drain.watch(), &options);
    let service = Arc::new(service);
    let connections: Arc<ConnectionCounts> = Arc::default();
    // Dropped, and so ended, when this function returns.
    let mut following = JoinSet::new();
    if let Some(tls) = &tls {
        following.spawn(Arc::clone(tls).follow());
    }
    if let Some(socket) = metrics {
        let counts = ServerCounts {
            requests: Arc::clone(service.counts()),
            connections: Arc::clone(&connections),
            max_connections: options.max_connections,
            spans: options.spans.clone(),
            workers: service.worker_counts(),
        };
        let metrics = Arc::new(MetricsService::new(Arc::clone(&namespaces), counts));
        following.spawn(serve_metrics(socket, metrics));
    }
    if let Some(socket) = admin {
        let admin = Arc::new(AdminService::new(Arc::clone(&namespaces)));
        following.spawn(serve_admin(socket, admin, tls.clone()));
    }
    following.spawn(Arc::clone(&service).follow_workers(Arc::clone(&namespaces)));
    let settings = ListenerSettings {
        max_connections: options.max_connections,
        timeouts: Timeouts {
            header: options.header_timeout,
            write: options.write_timeout,
            idle: options.idle_timeout,
        },
        allowed_hosts: options.allowed_hosts.clone(),
        tls,
        protocols: connection::protocols(),
        counts: connections,
    };
    let sockets = std::iter::once(http).chain(grpc).collect();
    let responder = Responder::Api(Arc::clone(&service));
    let mut listener = Listener::new(sockets, responder, drain.watch(), settings);
    listener
        .accept_until_idle(shutdown, options.idle_exit)
        .await;
    // Before anything else, so that the next process gets the connections that wait there.
    listener.leave_shared_sockets();
    service.start_draining();
    if listener.is_listening() {
        let delay = tokio::time::sleep(options.drain_delay);
        listener.accept_until(delay).await;
    }
    let connections = listener.close(options.drain_delay).await;
    let finished = drain.finish(connections, options.drain_timeout).await;
    service.end_workers();
    finished
}
