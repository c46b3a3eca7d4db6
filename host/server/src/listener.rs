//! Accepting connections up to a limit; the listener owns the task of each.
//!
//! For a connection above the limit, the one that has been idle longest is closed. If none is idle, the new
//! one is refused with a response. If it were left unaccepted, its client could not distinguish a busy
//! server from a dead one.

use crate::acceptor::{Accepted, Acceptor, Exhausted};
use crate::authority::AllowedHosts;
use crate::connection::{self, Connection, Protocols};
use crate::connection_activity::{ConnectionActivity, Timeouts};
use crate::connection_counts::ConnectionCounts;
use crate::drain::DrainWatch;
use crate::idle_timer::IdleTimer;
use crate::listening_socket::ListeningSocket;
use crate::open_connections::OpenConnections;
use crate::responder::Responder;
use crate::tls::Tls;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep};

/// The number of connections above the limit that are refused with a response at a time. Any more are
/// closed without one.
const MAX_REFUSALS: usize = 64;

/// The number of idle connections that are closed when there is no file descriptor for another one. It
/// leaves descriptors for the files that a load opens, too.
const ROOM_FOR_DESCRIPTORS: usize = 8;

/// The time from the last new handshake to closing the socket: one round trip.
const LAST_HANDSHAKES: Duration = Duration::from_millis(250);

/// The listening sockets and the connections accepted from them. Lifetime: the process.
#[derive(Debug)]
pub(crate) struct Listener {
    acceptors: Vec<Acceptor>,
    connections: Connections,
}

/// The limits of a listener and of its connections.
#[derive(Debug)]
pub(crate) struct ListenerSettings {
    pub(crate) max_connections: usize,
    pub(crate) timeouts: Timeouts,
    /// The hosts that requests may name on sockets that listen on loopback; `None` for any host.
    pub(crate) allowed_hosts: Option<AllowedHosts>,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) protocols: Protocols,
    pub(crate) counts: Arc<ConnectionCounts>,
}

/// The open connections, which are closed when this is dropped. Lifetime: the process.
#[derive(Debug)]
struct Connections {
    tasks: JoinSet<()>,
    open: OpenConnections,
    max: usize,
    max_refusals: usize,
    tls: Option<Arc<Tls>>,
    protocols: Arc<Protocols>,
    timeouts: Timeouts,
    responder: Responder,
    drain: DrainWatch,
    counts: Arc<ConnectionCounts>,
}

// === impl Listener ===

impl Listener {
    pub(crate) fn new(
        sockets: Vec<ListeningSocket>,
        responder: Responder,
        drain: DrainWatch,
        settings: ListenerSettings,
    ) -> Listener {
        let ListenerSettings {
            max_connections,
            timeouts,
            allowed_hosts,
            tls,
            protocols,
            counts,
        } = settings;
        let connections = Connections {
            tasks: JoinSet::new(),
            open: OpenConnections::new(),
            max: max_connections,
            max_refusals: MAX_REFUSALS.min(max_connections),
            tls,
            protocols: Arc::new(protocols),
            timeouts,
            responder,
            drain,
            counts,
        };
        let acceptor = |socket: ListeningSocket| {
            let hosts = AllowedHosts::of_listener(allowed_hosts.as_ref(), &socket);
            Acceptor::new(socket, hosts)
        };
        Listener {
            acceptors: sockets.into_iter().map(acceptor).collect(),
            connections,
        }
    }

    /// Accepts connections until `end` completes.
    pub(crate) async fn accept_until(&mut self, end: impl Future<Output = ()>) {
        self.accept(end, IdleTimer::new(None)).await;
    }

    /// Accepts connections until `end` completes, or until there has been neither a request in progress nor a
    /// new connection for as long as `idle_exit`.
    pub(crate) async fn accept_until_idle(
        &mut self,
        end: impl Future<Output = ()>,
        idle_exit: Option<Duration>,
    ) {
        self.accept(end, IdleTimer::new(idle_exit)).await;
    }

    async fn accept(&mut self, end: impl Future<Output = ()>, mut idle: IdleTimer) {
        let mut end = pin!(end);
        loop {
            tokio::select! {
                biased;
                () = end.as_mut() => return,
                // Immediately, because an ended task keeps its memory until it is joined.
                Some(ended) = self.connections.tasks.join_next_with_id() => {
                    self.connections.ended(ended);
                }
                accepted = accept_any(&mut self.acceptors) => match accepted {
                    Ok(accepted) => self.connections.take(accepted),
                    Err(Exhausted) => self.connections.make_room(ROOM_FOR_DESCRIPTORS),
                },
                // Last, because a connection that is waiting ends the idle time.
                () = idle.check_due() => {
                    if idle.is_over(self.connections.open.idle_since()) {
                        tracing::info!("idle for the time that --idle-exit-secs sets");
                        return;
                    }
                }
            }
        }
    }

    /// Stops accepting from the sockets that another process holds too. The connections that wait there are left
    /// to the process that is started next.
    pub(crate) fn leave_shared_sockets(&mut self) {
        self.acceptors.retain(|acceptor| !acceptor.is_shared());
    }

    /// Returns whether there is a socket from which connections are accepted.
    pub(crate) fn is_listening(&self) -> bool {
        !self.acceptors.is_empty()
    }

    /// Stops accepting. Open connections continue, as do those in the backlog and those whose handshake is
    /// in progress; the listener waits for the latter for at most `delay`.
    pub(crate) async fn close(mut self, delay: Duration) -> JoinSet<()> {
        self.leave_shared_sockets();
        if self.is_listening() {
            self.acceptors.iter().for_each(Acceptor::end_handshakes);
            self.accept_until(sleep(LAST_HANDSHAKES.min(delay))).await;
        }
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

/// Returns the next connection of any socket. No connection is lost if the future is dropped.
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
        // Responses are written as a whole; holding back their last packet would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "failed to set TCP_NODELAY");
        }
        if self.open.len() < self.max || self.open.make_room(Instant::now()) {
            let activity = Arc::new(ConnectionActivity::new());
            let connection = Connection {
                stream,
                tls: self.tls.clone(),
                hosts,
                activity: Arc::clone(&activity),
                protocols: Arc::clone(&self.protocols),
                timeouts: self.timeouts,
                responder: self.responder.clone(),
                drain: self.drain.clone(),
            };
            let task = self.tasks.spawn(connection.run());
            self.open.insert(task.id(), activity);
            self.counts.add_accepted();
            self.counts.set_open(self.open.tasks());
            return;
        }
        self.counts.add_refused();
        if self.tasks.len() - self.open.tasks() < self.max_refusals {
            tracing::debug!(max_connections = self.max, "too many connections are open");
            let tls = self.tls.as_ref().map(|tls| tls.config());
            self.tasks.spawn(connection::refuse(stream, tls));
        }
    }

    /// Closes up to `wanted` idle connections.
    fn make_room(&mut self, wanted: usize) {
        let now = Instant::now();
        let closed = (0..wanted).take_while(|_| self.open.make_room(now)).count();
        tracing::debug!(closed, "closed connections to free file descriptors");
    }

    /// Removes a connection whose task has ended. The task does not panic, since panics in requests are
    /// caught; if it does, no other connection is affected.
    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "a connection's task failed");
                error.id()
            }
        };
        self.open.remove(id);
        self.counts.set_open(self.open.tasks());
    }
}
