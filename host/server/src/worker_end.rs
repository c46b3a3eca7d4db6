//! The end of a worker process: a service for the requests that the server passes on to it.
//!
//! They come over one socket, as HTTP/2, from a server that has checked who sends them and what these may do. The service
//! is the same as a server's, without listeners and without limits on connections, of which there is one.

use crate::connection_activity::{ConnectionActivity, Multiplexing};
use crate::drain::Drain;
use crate::options::ServerOptions;
use crate::service::Service;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use tokio::net::UnixStream;
use wisp_serving::namespaces::Namespaces;

/// The bytes of one body that may be on their way.
const STREAM_WINDOW: u32 = 256 << 10;

/// The bytes of all bodies that may be on their way: so many that no request delays another.
const CONNECTION_WINDOW: u32 = 1 << 30;

/// The most requests at a time, above what a server admits by default.
const MAX_REQUESTS: u32 = 65_536;

/// The largest head of a request: what the server accepts from a client, and some room for how HTTP/2 counts.
const MAX_HEAD_BYTES: u32 = 256 << 10;

/// The number of requests that the server may cancel before they are processed.
const MAX_CANCELLED: usize = 4096;

/// Answers the requests that come over the socket, until the other end closes it. Must be called within a runtime.
pub async fn serve_forwarded(
    socket: std::os::unix::net::UnixStream,
    namespaces: Arc<Namespaces>,
    options: ServerOptions,
) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let stream = UnixStream::from_std(socket)?;
    // Never signalled: the server drains, and this process ends with it.
    let drain = Drain::new();
    let service = Arc::new(Service::new(namespaces, drain.watch(), &options));
    let activity = Arc::new(ConnectionActivity::new());
    let respond = service_fn(move |request: Request<Incoming>| {
        let guard = activity.begin(Multiplexing::Concurrent);
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(service.respond(request, guard, None).await) }
    });
    let mut protocol = http2::Builder::new(TokioExecutor::new());
    protocol
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_REQUESTS)
        .max_header_list_size(MAX_HEAD_BYTES)
        .max_pending_accept_reset_streams(MAX_CANCELLED)
        .max_local_error_reset_streams(None::<usize>);
    let connection = protocol.serve_connection(TokioIo::new(stream), respond);
    let served = connection.await;
    drop(drain);
    served.map_err(io::Error::other)
}
