//! Starting and running a server, for the program and for tests.
//!
//! Takes sockets that are already bound and any future as the shutdown signal, so that a test can use port
//! 0 and a channel. Reads no arguments, no signals and no files, except for a renewed certificate.

use crate::drain::{Drain, ServeError};
use crate::listener::Listener;
use crate::options::{ServerOptions, Sockets};
use crate::service::Service;
use std::sync::Arc;
use tokio::task::JoinSet;
use wisp_serving::Serving;

/// Serves requests on `sockets` until `shutdown` completes or the server has been idle for too long, then drains.
///
/// Dropping the returned future closes all connections at once. A second signal uses this to force the end.
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
    drain.finish(connections, options.drain_timeout).await
}
