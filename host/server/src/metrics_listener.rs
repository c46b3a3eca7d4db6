//! The listener of the metrics: a socket, connections and limits of its own.
//!
//! It shares no limit with the listener of the API, so that the metrics can be read while that one is overloaded, and
//! a scraper takes no connection from clients. It answers until the server ends, also while it drains. It is meant for
//! one or a few scrapers, which is why its limits are low and cannot be set.

use crate::authority::AllowedHosts;
use crate::connection;
use crate::connection_activity::Timeouts;
use crate::drain::Drain;
use crate::listener::{Listener, ListenerSettings};
use crate::listening_socket::ListeningSocket;
use crate::metrics::MetricsService;
use crate::responder::Responder;
use std::sync::Arc;
use std::time::Duration;

/// The maximum number of open connections. Each holds at most one page.
const MAX_CONNECTIONS: usize = 32;

/// The limits on a scraper: the head of its request, the page that it reads, and the time between two requests, which
/// is longer than common scrape intervals.
const TIMEOUTS: Timeouts = Timeouts {
    header: Duration::from_secs(5),
    write: Duration::from_secs(10),
    idle: Duration::from_secs(150),
};

/// Serves the metrics until the future is dropped.
pub(crate) async fn serve_metrics(socket: ListeningSocket, metrics: Arc<MetricsService>) {
    // The connections end with the listener and not before.
    let drain = Drain::new();
    let settings = ListenerSettings {
        max_connections: MAX_CONNECTIONS,
        timeouts: TIMEOUTS,
        // The names that the operator allows for the API do not apply to its metrics.
        allowed_hosts: Some(AllowedHosts::default()),
        tls: None,
        // HTTP/2 would let one connection hold many pages.
        protocols: connection::protocols().http1_only(),
        counts: Arc::default(),
    };
    let responder = Responder::Metrics(metrics);
    let mut listener = Listener::new(vec![socket], responder, drain.watch(), settings);
    listener.accept_until(std::future::pending()).await;
}
