//! One connection from its first byte to its last: HTTP/1.1, or HTTP/2 if the client begins with it.
//!
//! If TLS is enabled, a handshake comes first. hyper implements the protocols, within the limits set here.
//! The loop in this module adds the features that hyper lacks: time limits, which use the `activity` of the
//! connection, and draining.

use crate::authority::AllowedHosts;
use crate::connection_activity::{ConnectionActivity, Multiplexing, TimeoutCheck, Timeouts};
use crate::drain::DrainWatch;
use crate::peer_certificate::PeerCertificate;
use crate::responder::Responder;
use crate::socket::Socket;
use crate::tls::Tls;
use crate::transport::{MonitoredStream, Transport};
use http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// hyper's configuration of the protocols and their limits.
pub(crate) type Protocols = auto::Builder<TokioExecutor>;

/// The largest head of a request, and the largest piece of a body, in bytes.
const MAX_HEAD_BYTES: u16 = u16::MAX;

/// The maximum number of concurrent HTTP/2 requests on a connection, between the minimum of 100 that the
/// standard recommends and hyper's default of 200.
const MAX_CONCURRENT_STREAMS: u32 = 128;

/// The number of HTTP/2 streams that a client may reset before they are processed, which is the library's
/// default. More than this is the rapid-reset attack.
const MAX_PENDING_RESETS: usize = 20;

/// The number of HTTP/2 streams that a client may cause the server to reset by its errors. The library's
/// default of 1024 leaves room for variants of that attack.
const MAX_LOCAL_RESETS: usize = 100;

/// The time from the first byte of a handshake to its last.
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The time for an idle connection to close after the server has announced its end.
const GRACEFUL_CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The complete response to a connection above the limit. It is HTTP/1 because the client has not indicated
/// its protocol yet; an HTTP/2 client detects that it is not HTTP/2.
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/json\r\n\
    content-length: 45\r\n\
    retry-after: 1\r\n\
    connection: close\r\n\
    \r\n\
    {\"error\":\"the server has no free connection\"}";

/// A connection that has just been accepted.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    /// The certificate for TLS, if it is enabled.
    pub(crate) tls: Option<Arc<Tls>>,
    /// The hosts that its requests may name, if they are checked.
    pub(crate) hosts: Option<Arc<AllowedHosts>>,
    pub(crate) activity: Arc<ConnectionActivity>,
    pub(crate) protocols: Arc<Protocols>,
    pub(crate) timeouts: Timeouts,
    pub(crate) responder: Responder,
    pub(crate) drain: DrainWatch,
}

pub(crate) fn protocols() -> Protocols {
    let mut protocols = Protocols::new(TokioExecutor::new());
    protocols
        .http1()
        // hyper's default limit of 100 headers applies. Setting it explicitly would cost an allocation per
        // request.
        .max_buf_size(usize::from(MAX_HEAD_BYTES))
        // The activity limits this time, and does not count the time between requests.
        .header_read_timeout(None);
    protocols
        .http2()
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS)
        .max_header_list_size(u32::from(MAX_HEAD_BYTES));
    protocols
}

impl Connection {
    /// Serves requests until the client or the server ends the connection. Dropping the future cancels
    /// their work.
    pub(crate) async fn run(self) {
        let Connection {
            stream,
            tls,
            hosts,
            activity,
            protocols,
            timeouts,
            responder,
            drain,
        } = self;
        // The connection keeps this certificate even if it is renewed later.
        let config = tls.as_ref().map(|tls| tls.config());
        let socket = tokio::select! {
            socket = open(MonitoredStream::new(stream, Arc::clone(&activity)), config) => socket,
            () = activity.close_requested() => None,
        };
        let Some(socket) = socket else {
            return;
        };
        let peer = peer_certificate(&socket, tls);
        let socket = TokioIo::new(socket);
        let respond = {
            let activity = Arc::clone(&activity);
            service_fn(move |mut request: Request<Incoming>| {
                // Outside of the future, which HTTP/2 runs later in another task.
                let guard = activity.begin(multiplexing(&request));
                let (responder, hosts) = (responder.clone(), hosts.clone());
                if let Some(peer) = &peer {
                    request.extensions_mut().insert(Arc::clone(peer));
                }
                async move {
                    let response = responder.respond(request, guard, hosts.as_deref());
                    Ok::<_, Infallible>(response.await)
                }
            })
        };
        let mut connection = pin!(protocols.serve_connection(socket, respond));
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        let mut drain = pin!(drain.begun());
        let mut place_needed = pin!(activity.close_requested());
        let mut draining = false;
        let mut left = false;
        // Set when the client has been notified that no further requests are accepted.
        let mut shutdown_sent = false;
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection ended with an error");
                    }
                    return;
                }
                () = drain.as_mut(), if !draining => {
                    draining = true;
                    match activity.start_draining() {
                        Some(first_request) => timer.as_mut().reset(first_request),
                        None => {
                            shutdown_sent = true;
                            connection.as_mut().graceful_shutdown();
                            // Other limits apply from now on.
                            timer.as_mut().reset(Instant::now());
                        }
                    }
                }
                () = place_needed.as_mut(), if !left => {
                    left = true;
                    shutdown_sent = true;
                    connection.as_mut().graceful_shutdown();
                    if activity.idle_since().is_some() {
                        leave(connection.as_mut()).await;
                        return;
                    }
                }
                () = timer.as_mut() => match activity.check_timeouts(&timeouts) {
                    _ if draining && !shutdown_sent => {
                        shutdown_sent = true;
                        connection.as_mut().graceful_shutdown();
                        timer.as_mut().reset(Instant::now());
                    }
                    TimeoutCheck::CheckAt(at) => timer.as_mut().reset(at),
                    TimeoutCheck::Idle if !shutdown_sent => {
                        shutdown_sent = true;
                        connection.as_mut().graceful_shutdown();
                        timer.as_mut().reset(Instant::now() + GRACEFUL_CLOSE_TIMEOUT);
                    }
                    TimeoutCheck::Idle | TimeoutCheck::Stalled => {
                        tracing::debug!(
                            "a connection was closed: it was idle or its client made no progress"
                        );
                        return;
                    }
                },
            }
        }
    }
}

/// Polls an idle connection once, which is enough to send its farewell.
async fn leave<C: Future>(connection: Pin<&mut C>) {
    let mut connection = Some(connection);
    poll_fn(|cx| {
        if let Some(connection) = connection.take() {
            // The connection is dropped next, whether it has ended or not.
            let _ = connection.poll(cx);
        }
        Poll::Ready(())
    })
    .await;
}

/// Returns the socket for requests, after the handshake if TLS is enabled. `None` if the handshake has
/// failed, as it does for clients that do not use TLS.
async fn open(stream: MonitoredStream, tls: Option<Arc<ServerConfig>>) -> Option<Socket> {
    let Some(tls) = tls else {
        return Some(Socket::new(Transport::Plain(stream)));
    };
    let handshake = TlsAcceptor::from(tls).accept(stream).into_fallible();
    match timeout(TLS_HANDSHAKE_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => {
            stream.get_ref().0.activity().expect_head();
            Some(Socket::new(Transport::Tls(Box::new(stream))))
        }
        Ok(Err((error, stream))) => {
            tracing::debug!(%error, "a TLS handshake failed");
            // The alert has been sent. It is lost if the client is still sending when the socket is closed.
            close(Socket::new(Transport::Plain(stream))).await;
            None
        }
        Err(_) => {
            tracing::debug!("a TLS handshake took too long");
            None
        }
    }
}

/// Returns the certificate of the client, if it has presented one in the handshake.
fn peer_certificate(socket: &Socket, tls: Option<Arc<Tls>>) -> Option<Arc<PeerCertificate>> {
    let chain = socket.transport().peer_certificates()?;
    Some(Arc::new(PeerCertificate::new(chain, tls?)))
}

/// Refuses a connection above the limit. With TLS this takes a handshake, which is limited in number and
/// time like the refusals themselves.
pub(crate) async fn refuse(stream: TcpStream, tls: Option<Arc<ServerConfig>>) {
    let stream = MonitoredStream::new(stream, Arc::new(ConnectionActivity::new()));
    let Some(mut socket) = open(stream, tls).await else {
        return;
    };
    // A new socket accepts a few hundred bytes at once. If it does not, it is closed without a response.
    let written = poll_fn(|cx| Pin::new(&mut socket).poll_write(cx, REFUSAL));
    if let Ok(Ok(_)) = timeout(GRACEFUL_CLOSE_TIMEOUT, written).await {
        close(socket).await;
    }
}

/// Shuts down the sending side, and lets the client read the response.
async fn close(mut socket: Socket) {
    let closed = poll_fn(|cx| Pin::new(&mut socket).poll_shutdown(cx));
    match timeout(GRACEFUL_CLOSE_TIMEOUT, closed).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "failed to close a rejected connection"),
        Err(_) => tracing::debug!("a rejected connection did not close in time"),
    }
}

fn multiplexing(request: &Request<Incoming>) -> Multiplexing {
    match request.version() {
        Version::HTTP_2 => Multiplexing::Concurrent,
        _ => Multiplexing::Sequential,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::certificate::Certificate;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    #[tokio::test(start_paused = true)]
    async fn a_handshake_has_five_seconds_however_far_it_gets() -> anyhow::Result<()> {
        let tls = Certificate::new()?.load()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        // No bytes at all, and an incomplete record.
        for beginning in [&b""[..], &[22, 3, 1, 1, 0, 1, 0, 0]] {
            let mut client = TcpStream::connect(listener.local_addr()?).await?;
            let (stream, _) = listener.accept().await?;
            client.write_all(beginning).await?;
            let start = Instant::now();
            let stream = MonitoredStream::new(stream, Arc::new(ConnectionActivity::new()));
            assert!(open(stream, Some(tls.config())).await.is_none());
            assert_eq!(start.elapsed().as_secs(), 5);
        }
        Ok(())
    }
}
