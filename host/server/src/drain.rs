//! The end of a server without a failed request.
//!
//! Connections are told to finish what they are at and to close; what is still open after the time
//! limit is cut. Accepting has ended before, and readiness before that: see [`crate::serve`].

use crate::assemble::ServeError;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What connections that have been cut get to end. One whose thread is blocked does not, and is left behind.
const CUT: Duration = Duration::from_secs(1);

/// The signal from the server to its connections. Lifetime: the process.
#[derive(Debug)]
pub(crate) struct Drain {
    signal: watch::Sender<()>,
}

/// A connection's end of the signal. Lifetime: a connection.
#[derive(Debug, Clone)]
pub(crate) struct DrainWatch {
    signal: watch::Receiver<()>,
}

impl Drain {
    pub(crate) fn new() -> Drain {
        let (signal, _) = watch::channel(());
        Drain { signal }
    }

    pub(crate) fn watch(&self) -> DrainWatch {
        let signal = self.signal.subscribe();
        DrainWatch { signal }
    }

    /// Tell all connections to finish, and wait for them.
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
        let cut = connections.len();
        connections.abort_all();
        let all_ended = async { while connections.join_next().await.is_some() {} };
        // The error is the same whether they end or not.
        let _ = tokio::time::timeout(CUT, all_ended).await;
        Err(ServeError::DrainTimeout {
            connections: cut,
            drain_timeout,
        })
    }
}

impl DrainWatch {
    /// Completes when draining has begun.
    pub(crate) async fn begun(mut self) {
        // A server that is gone drains too.
        let _ = self.signal.changed().await;
    }
}
