//! Takes connections in under a limit and owns the task of each.
//!
//! A connection above the limit is told so instead of waiting unaccepted, where its client could
//! not tell a busy server from a dead one.

use crate::acceptor::Acceptor;
use crate::assemble::{ServerOptions, Sockets};
use crate::connection::{self, Connection, Protocols};
use crate::drain::DrainWatch;
use crate::pulse::Timeouts;
use crate::service::Service;
use crate::tls::Tls;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::net::TcpStream;
use tokio::task::{JoinError, JoinSet};

/// Connections above the limit that are being told so; what comes on top is closed unanswered.
const MAX_REFUSALS: usize = 64;

/// The sockets and the connections that came from them. Lifetime: the process.
#[derive(Debug)]
pub(crate) struct Listener {
    acceptors: Vec<Acceptor>,
    connections: Connections,
}

/// The open connections, cut when this is dropped. Lifetime: the process.
#[derive(Debug)]
struct Connections {
    tasks: JoinSet<()>,
    max: usize,
    tls: Option<Arc<Tls>>,
    protocols: Arc<Protocols>,
    timeouts: Timeouts,
    service: Arc<Service>,
    drain: DrainWatch,
}

// === impl Listener ===

impl Listener {
    pub(crate) fn new(
        sockets: Sockets,
        service: Arc<Service>,
        drain: DrainWatch,
        options: &ServerOptions,
    ) -> Listener {
        let Sockets { http, grpc, tls } = sockets;
        let connections = Connections {
            tasks: JoinSet::new(),
            max: options.max_connections,
            tls,
            protocols: Arc::new(connection::protocols()),
            timeouts: Timeouts {
                header: options.header_timeout,
                write: options.write_timeout,
                idle: options.idle_timeout,
            },
            service,
            drain,
        };
        Listener {
            acceptors: std::iter::once(http)
                .chain(grpc)
                .map(Acceptor::new)
                .collect(),
            connections,
        }
    }

    pub(crate) async fn accept_until(&mut self, end: impl Future<Output = ()>) {
        let mut end = pin!(end);
        loop {
            tokio::select! {
                biased;
                () = end.as_mut() => return,
                // At once, since an ended task keeps its memory until it is joined.
                Some(ended) = self.connections.tasks.join_next() => report(ended),
                stream = accept_any(&mut self.acceptors) => self.connections.take(stream),
            }
        }
    }

    /// Stop accepting. The connections there are go on, those in the backlog included.
    pub(crate) fn close(self) -> JoinSet<()> {
        let Listener {
            acceptors,
            mut connections,
        } = self;
        for stream in acceptors.into_iter().flat_map(Acceptor::close) {
            connections.take(stream);
        }
        connections.tasks
    }
}

/// The next connection of whichever socket has one. Nothing is lost when the future is dropped.
async fn accept_any(acceptors: &mut [Acceptor]) -> TcpStream {
    let mut accepts: Vec<_> = acceptors
        .iter_mut()
        .map(|acceptor| Box::pin(acceptor.accept()))
        .collect();
    poll_fn(|cx| {
        let polls = accepts.iter_mut().map(|accept| accept.as_mut().poll(cx));
        let mut ready = polls.filter(Poll::is_ready);
        ready.next().unwrap_or(Poll::Pending)
    })
    .await
}

// === impl Connections ===

impl Connections {
    fn take(&mut self, stream: TcpStream) {
        // Responses are written whole; holding back their last packet would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "failed to set TCP_NODELAY");
        }
        // As it is now: from here on the connection keeps to its certificate.
        let tls = self.tls.as_ref().map(|tls| tls.config());
        let open = self.tasks.len();
        if open < self.max {
            let connection = Connection {
                stream,
                tls,
                protocols: Arc::clone(&self.protocols),
                timeouts: self.timeouts,
                service: Arc::clone(&self.service),
                drain: self.drain.clone(),
            };
            self.tasks.spawn(connection.run());
        } else if open - self.max < MAX_REFUSALS {
            tracing::debug!(max_connections = self.max, "too many connections are open");
            self.tasks.spawn(connection::refuse(stream, tls));
        }
    }
}

/// A connection's task does not panic: requests catch theirs. If one does, it ends alone.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}
