//! Shutting down a server without failing a request.
//!
//! Connections finish their current requests and close; those still open after the time limit are closed. A
//! request whose body has not arrived within [`BODY_TIME`] is refused, so that it does not hold up the end.
//! Readiness, and then accepting, have ended before: see [`crate::serve`].

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The time for connections that are being closed to end. A connection whose thread is blocked does not end,
/// and is abandoned.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The time that a body may still take to arrive once draining has begun. Clients that send at all are done by
/// then, and one that has stopped in the middle must not hold up the end.
const BODY_TIME: Duration = Duration::from_secs(2);

/// An error that ended a server other than by a completed drain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServeError {
    #[error(
        "{connections} connections were closed: they were busy {drain_timeout:?} after draining \
         began"
    )]
    DrainTimeout {
        connections: usize,
        drain_timeout: Duration,
    },
}

/// The sender of the drain signal. Lifetime: the process.
#[derive(Debug)]
pub(crate) struct Drain {
    signal: watch::Sender<()>,
}

/// A receiver of the drain signal. Lifetime: a connection.
#[derive(Debug, Clone)]
pub(crate) struct DrainWatch {
    /// Shared by all requests, nearly all of which never wait for the signal.
    signal: Arc<watch::Receiver<()>>,
}

impl Drain {
    pub(crate) fn new() -> Drain {
        let (signal, _) = watch::channel(());
        Drain { signal }
    }

    pub(crate) fn watch(&self) -> DrainWatch {
        let signal = Arc::new(self.signal.subscribe());
        DrainWatch { signal }
    }

    /// Signals all connections to finish, and waits for them.
    pub(crate) async fn finish(
        self,
        mut connections: JoinSet<()>,
        drain_timeout: Duration,
    ) -> Result<(), ServeError> {
        tracing::info!(connections = connections.len(), "draining");
        self.signal.send_replace(());
        let all_ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(drain_timeout, all_ended).await.is_ok() {
            return Ok(());
        }
        let closed = connections.len();
        connections.abort_all();
        let all_ended = async { while connections.join_next().await.is_some() {} };
        // The error is the same whether or not they end in time.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, all_ended).await;
        Err(ServeError::DrainTimeout {
            connections: closed,
            drain_timeout,
        })
    }
}

impl DrainWatch {
    /// Completes when draining has begun.
    pub(crate) async fn begun(self) {
        // The original has seen no signal, so that each of its clones completes.
        let mut signal = watch::Receiver::clone(&self.signal);
        // If the sender is gone, the server is ending as well.
        let _ = signal.changed().await;
    }

    /// Completes when bodies that have not arrived yet must be given up because the server drains.
    pub(crate) async fn bodies_given_up(self) {
        self.begun().await;
        tokio::time::sleep(BODY_TIME).await;
    }
}
