//! Accepting itself: the next connection, whatever happens on the way.
//!
//! An error of `accept` never ends the server: what is the peer's is skipped, what is ours (no file
//! descriptors, no memory) is waited out without spinning.

use std::io;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// The first pause after a failed `accept`, doubled with each further failure: a descriptor usually
/// comes free within milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// The longest pause: half of the second within which a server should have recovered.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The socket that connections come from. Lifetime: the process.
#[derive(Debug)]
pub(crate) struct Acceptor {
    listener: TcpListener,
    pause: Pause,
}

/// When to accept again after failures. Lifetime: the process.
#[derive(Debug, Default)]
struct Pause {
    length: Duration,
    /// Kept here and not in the wait, which may be dropped half way.
    until: Option<Instant>,
}

// === impl Acceptor ===

impl Acceptor {
    pub(crate) fn new(listener: TcpListener) -> Acceptor {
        let pause = Pause::default();
        Acceptor { listener, pause }
    }

    /// The next connection. Nothing is lost when the future is dropped.
    pub(crate) async fn accept(&mut self) -> TcpStream {
        loop {
            self.pause.wait().await;
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    self.pause = Pause::default();
                    return stream;
                }
                Err(error) if is_of_one_connection(&error) => {
                    tracing::debug!(%error, "a connection ended before it was accepted");
                }
                Err(error) => {
                    self.pause.lengthen(Instant::now());
                    let pause = self.pause.length;
                    tracing::error!(%error, ?pause, "failed to accept a connection");
                }
            }
        }
    }

    /// Stop listening. What had connected by now is returned; merely closing the socket would
    /// reset the connections that wait in its backlog.
    pub(crate) fn close(self) -> Vec<TcpStream> {
        // The standard library asks the system; the runtime would go by the last event it saw.
        let listener = match self.listener.into_std() {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "failed to close the listening socket");
                return Vec::new();
            }
        };
        let waiting = std::iter::from_fn(|| listener.accept().ok());
        waiting
            .filter_map(|(stream, _)| {
                stream.set_nonblocking(true).ok()?;
                TcpStream::from_std(stream).ok()
            })
            .collect()
    }
}

/// Whether only the connection that was about to be accepted has failed.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
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
        let kept = Acceptor::new(listener).close();
        let peers: Vec<_> = kept
            .iter()
            .map(TcpStream::peer_addr)
            .collect::<Result<_, _>>()?;
        assert_eq!(peers, [first.local_addr()?, second.local_addr()?]);
        assert!(TcpStream::connect(address).await.is_err());
        Ok(())
    }
}
