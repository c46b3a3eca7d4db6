//! Takes connections in under a limit and owns the task of each.
//!
//! For a connection above the limit the one that has been idle longest is closed. If none is idle, the new
//! one is told so instead of waiting unaccepted, where its client could not tell a busy server from a dead
//! one.

use crate::acceptor::{Accepted, Acceptor, Exhausted};
use crate::assemble::{ServerOptions, Sockets};
use crate::authority::AllowedHosts;
use crate::connection::{self, Connection, Protocols};
use crate::drain::DrainWatch;
use crate::open_connections::OpenConnections;
use crate::pulse::{Pulse, Timeouts};
use crate::service::Service;
use crate::tls::Tls;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep};

/// Connections above the limit that are being told so; what comes on top is closed unanswered.
const MAX_REFUSALS: usize = 64;

/// Idle connections that are closed when there is no descriptor for another one: enough for the files that a
/// load opens, too.
const ROOM_FOR_DESCRIPTORS: usize = 8;

/// From the last handshake that begins to the closing of the socket: a round trip.
const LAST_HANDSHAKES: Duration = Duration::from_millis(250);

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
    open: OpenConnections,
    max: usize,
    max_refusals: usize,
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
            open: OpenConnections::default(),
            max: options.max_connections,
            max_refusals: MAX_REFUSALS.min(options.max_connections),
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
        let acceptor = |listener: TcpListener| {
            let hosts = AllowedHosts::of_listener(options.allowed_hosts.as_ref(), &listener);
            Acceptor::new(listener, hosts)
        };
        Listener {
            acceptors: std::iter::once(http).chain(grpc).map(acceptor).collect(),
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
                Some(ended) = self.connections.tasks.join_next_with_id() => {
                    self.connections.ended(ended);
                }
                accepted = accept_any(&mut self.acceptors) => match accepted {
                    Ok(accepted) => self.connections.take(accepted),
                    Err(Exhausted) => self.connections.make_room(ROOM_FOR_DESCRIPTORS),
                },
            }
        }
    }

    /// Stop accepting. The connections there are go on, those in the backlog included, and those whose
    /// handshake is under way; for these the end is `notice` away at most.
    pub(crate) async fn close(mut self, notice: Duration) -> JoinSet<()> {
        self.acceptors.iter().for_each(Acceptor::end_handshakes);
        self.accept_until(sleep(LAST_HANDSHAKES.min(notice))).await;
        let Listener {
            acceptors,
            mut connections,
        } = self;
        for accepted in acceptors.into_iter().flat_map(Acceptor::close) {
            connections.take(accepted);
        }
        connections.tasks
    }
}

/// The next connection of whichever socket has one. Nothing is lost when the future is dropped.
async fn accept_any(acceptors: &mut [Acceptor]) -> Result<Accepted, Exhausted> {
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
    fn take(&mut self, accepted: Accepted) {
        let Accepted { stream, hosts } = accepted;
        // Responses are written whole; holding back their last packet would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "failed to set TCP_NODELAY");
        }
        // As it is now: from here on the connection keeps to its certificate.
        let tls = self.tls.as_ref().map(|tls| tls.config());
        if self.open.len() < self.max || self.open.make_room(Instant::now()) {
            let pulse = Arc::new(Pulse::new());
            let connection = Connection {
                stream,
                tls,
                hosts,
                pulse: Arc::clone(&pulse),
                protocols: Arc::clone(&self.protocols),
                timeouts: self.timeouts,
                service: Arc::clone(&self.service),
                drain: self.drain.clone(),
            };
            let task = self.tasks.spawn(connection.run());
            self.open.insert(task.id(), pulse);
        } else if self.tasks.len() - self.open.tasks() < self.max_refusals {
            tracing::debug!(max_connections = self.max, "too many connections are open");
            self.tasks.spawn(connection::refuse(stream, tls));
        }
    }

    /// Close so many connections, or as many as are idle.
    fn make_room(&mut self, wanted: usize) {
        let now = Instant::now();
        let closed = (0..wanted).take_while(|_| self.open.make_room(now)).count();
        tracing::debug!(closed, "closed connections for their descriptors");
    }

    /// A connection's task does not panic: requests catch theirs. If one does, it ends alone.
    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "a connection's task failed");
                error.id()
            }
        };
        self.open.remove(id);
    }
}
