//! Accepts connections from a listening socket, and continues after errors.
//!
//! An error of `accept` never ends the server. Errors of one connection are skipped. Errors of the server
//! (no file descriptors, no memory) are reported to the caller, which can then make room, and are retried
//! after a pause.

use crate::authority::AllowedHosts;
use crate::listening_socket::ListeningSocket;
use crate::log::Sampler;
use socket2::{SockFilter, SockRef};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// The first pause after a failed `accept`, doubled after each further failure. A file descriptor usually
/// becomes free within milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// The longest pause: half of the one second in which a server should have recovered.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A filter for a listening socket that drops the first packet of a handshake (SYN without ACK) and passes
/// everything else. It is a classic BPF program: load the flags byte, mask SYN and ACK, and drop the packet
/// if only SYN is set.
const NO_HANDSHAKES: [SockFilter; 5] = [
    SockFilter::new(0x30, 0, 0, 13),
    SockFilter::new(0x54, 0, 0, 0x12),
    SockFilter::new(0x15, 0, 1, 0x02),
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, u32::MAX),
];

/// A listening socket. Lifetime: the process.
#[derive(Debug)]
pub(crate) struct Acceptor {
    socket: ListeningSocket,
    /// The hosts that requests may name, if they are checked.
    hosts: Option<Arc<AllowedHosts>>,
    pause: Pause,
    failures: Sampler,
}

/// An accepted connection, with the hosts that its requests may name.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) hosts: Option<Arc<AllowedHosts>>,
}

/// The error that there is no file descriptor or no memory for another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exhausted;

/// The pause after failures. Lifetime: the process.
#[derive(Debug, Default)]
struct Pause {
    length: Duration,
    /// The end of the pause. It is stored here because the future that waits for it may be dropped before.
    until: Option<Instant>,
}

// === impl Acceptor ===

impl Acceptor {
    pub(crate) fn new(socket: ListeningSocket, hosts: Option<Arc<AllowedHosts>>) -> Acceptor {
        Acceptor {
            socket,
            hosts,
            pause: Pause::default(),
            failures: Sampler::new(),
        }
    }

    /// Returns the next connection. After an error, the next call waits before it accepts. No connection is
    /// lost if the future is dropped.
    pub(crate) async fn accept(&mut self) -> Result<Accepted, Exhausted> {
        loop {
            self.pause.wait().await;
            match self.socket.listener().accept().await {
                Ok((stream, _)) => {
                    self.pause = Pause::default();
                    return Ok(self.accepted(stream));
                }
                Err(error) if is_of_one_connection(&error) => {
                    tracing::debug!(%error, "a connection ended before it was accepted");
                }
                Err(error) => {
                    self.pause.lengthen(Instant::now());
                    if let Some(suppressed) = self.failures.admit() {
                        tracing::error!(%error, suppressed, "failed to accept a connection");
                    }
                    return Err(Exhausted);
                }
            }
        }
    }

    /// Returns whether another process holds the socket too.
    pub(crate) fn is_shared(&self) -> bool {
        self.socket.is_shared()
    }

    /// Drops new handshakes, while those in progress complete. A client that connects now retries after a
    /// second, as it does after a lost packet, and finds the socket closed. It has not sent any data yet,
    /// so none is lost. Not for a shared socket, on which the filter would stay.
    pub(crate) fn end_handshakes(&self) {
        if let Err(error) = SockRef::from(self.socket.listener()).attach_filter(&NO_HANDSHAKES) {
            // A connection made while the socket is being closed is then reset.
            tracing::debug!(%error, "failed to filter the listening socket");
        }
    }

    /// Stops listening and returns the connections in the backlog. Closing the socket without accepting
    /// them would reset them.
    pub(crate) fn close(self) -> Vec<Accepted> {
        let mut waiting = Vec::new();
        // The socket is registered with the runtime, which would rely on the last event that it received.
        // `accept` is therefore called directly.
        let socket = SockRef::from(self.socket.listener());
        loop {
            match socket.accept() {
                Ok((stream, _)) => {
                    let stream = std::net::TcpStream::from(stream);
                    let stream = stream.set_nonblocking(true).map(|()| stream);
                    match stream.and_then(TcpStream::from_std) {
                        Ok(stream) => waiting.push(self.accepted(stream)),
                        Err(error) => tracing::warn!(%error, "a connection was lost"),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return waiting,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "the connections that waited to be accepted are reset");
                    return waiting;
                }
            }
        }
    }

    fn accepted(&self, stream: TcpStream) -> Accepted {
        let hosts = self.hosts.clone();
        Accepted { stream, hosts }
    }
}

/// Returns whether only the connection that was being accepted has failed.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

// === impl Pause ===

impl Pause {
    async fn wait(&self) {
        if let Some(until) = self.until {
            tokio::time::sleep_until(until).await;
        }
    }

    fn lengthen(&mut self, now: Instant) {
        self.length = (self.length * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.until = Some(now + self.length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_are_waited_out_longer_and_longer() {
        let mut pause = Pause::default();
        let mut waited = Vec::new();
        for _ in 0..9 {
            let start = Instant::now();
            pause.lengthen(start);
            pause.wait().await;
            waited.push(start.elapsed().as_millis());
        }
        assert_eq!(waited, [5, 10, 20, 40, 80, 160, 320, 500, 500]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_wait_goes_on_where_it_was() {
        let mut pause = Pause::default();
        let start = Instant::now();
        pause.lengthen(start);
        let short = Duration::from_millis(3);
        assert!(tokio::time::timeout(short, pause.wait()).await.is_err());
        pause.wait().await;
        assert_eq!(start.elapsed(), FIRST_PAUSE);
    }

    #[tokio::test]
    async fn connections_that_wait_when_the_socket_closes_are_kept() -> anyhow::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let first = TcpStream::connect(address).await?;
        let second = TcpStream::connect(address).await?;
        let kept = Acceptor::new(listener.into(), None).close();
        let peers: Vec<_> = kept
            .iter()
            .map(|accepted| accepted.stream.peer_addr())
            .collect::<Result<_, _>>()?;
        assert_eq!(peers, [first.local_addr()?, second.local_addr()?]);
        assert!(TcpStream::connect(address).await.is_err());
        Ok(())
    }

    #[tokio::test]
    async fn no_handshake_begins_once_they_are_ended_and_those_before_are_kept()
    -> anyhow::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let before = TcpStream::connect(address).await?;
        let acceptor = Acceptor::new(listener.into(), None);
        acceptor.end_handshakes();
        let mut after = std::pin::pin!(TcpStream::connect(address));
        // Over loopback, the handshake is complete when the call that begins it returns.
        let begun = std::future::poll_fn(|cx| std::task::Poll::Ready(after.as_mut().poll(cx)));
        assert!(begun.await.is_pending());
        let kept = acceptor.close();
        let peers: Vec<_> = kept
            .iter()
            .map(|accepted| accepted.stream.peer_addr())
            .collect::<Result<_, _>>()?;
        assert_eq!(peers, [before.local_addr()?]);
        assert!(after.await.is_err(), "refused, not reset");
        Ok(())
    }
}
