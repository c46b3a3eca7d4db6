//! The listener for administration: a socket, connections and limits of its own.
//!
//! It shares no limit with the listener of the API, so that a tenant can be removed while that one is overloaded. A few
//! operators and programs use it, which is why its limits are low and cannot be set.

use crate::admin::AdminService;
use crate::authority::AllowedHosts;
use crate::connection;
use crate::connection_activity::Timeouts;
use crate::drain::Drain;
use crate::listener::{Listener, ListenerSettings};
use crate::listening_socket::ListeningSocket;
use crate::responder::Responder;
use crate::tls::Tls;
use std::sync::Arc;
use std::time::Duration;

/// The maximum number of open connections.
const MAX_CONNECTIONS: usize = 32;

/// The limits on a client: the head of its request, the response that it reads, and the time between two requests.
const TIMEOUTS: Timeouts = Timeouts {
    header: Duration::from_secs(5),
    write: Duration::from_secs(10),
    idle: Duration::from_secs(60),
};

/// Serves the tenants until the future is dropped.
pub(crate) async fn serve_admin(
    socket: ListeningSocket,
    admin: Arc<AdminService>,
    tls: Option<Arc<Tls>>,
) {
    // The connections end with the listener and not before.
    let drain = Drain::new();
    let settings = ListenerSettings {
        max_connections: MAX_CONNECTIONS,
        timeouts: TIMEOUTS,
        // The names that the operator allows for the API do not apply to its administration.
        allowed_hosts: Some(AllowedHosts::default()),
        tls,
        protocols: connection::protocols(),
        counts: Arc::default(),
    };
    let responder = Responder::Admin(admin);
    let mut listener = Listener::new(vec![socket], responder, drain.watch(), settings);
    listener.accept_until(std::future::pending()).await;
}
