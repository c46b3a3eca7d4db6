//! The worker of one tenant: started by the first request, started again after a pause if it ends, and ended when it has
//! not been used for some time.
//!
//! A task supervises the process and the connection to it, and is the only one that starts and ends them. Requests see its
//! `View`: they wait while the worker starts, and are refused during a long pause. The process is killed when the slot is
//! dropped.
//!
//! Invariant: a request counts as a use before it looks at the view, and an unused worker is given up before its uses are
//! counted, so that no request gets the connection of a worker that is being ended.

use super::request_body::ForwardedRequestBody;
use super::restarts::Restarts;
use crate::worker_counts::WorkerCounts;
use crate::worker_error::WorkerError;
use crate::worker_process::{StartWorker, StartedWorker, WorkerProcess};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, timeout, timeout_at};
use wisp_serving::tenants::tenant_set::Tenant;

/// The time limit from the start of a process to its readiness, in which it compiles nothing and loads no model.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The time that a request waits for the start of a worker.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest pause that a request waits for instead of being refused.
const SHORT_PAUSE: Duration = Duration::from_secs(1);

/// The time after which a worker without requests is ended.
const IDLE: Duration = Duration::from_secs(600);

/// The time between two looks at the use of a worker.
const LOOK: Duration = Duration::from_secs(10);

/// The time between two pings, which show that the process still serves its connection.
const PING: Duration = Duration::from_secs(10);

/// The time for the answer to a ping. A worker that does not answer is killed.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// The bytes of one body that may be in transit. More would not be faster over a Unix socket.
const STREAM_WINDOW: u32 = 256 << 10;

/// The bytes of all bodies that may be in transit, enough for 512 clients that do not read. h2 bounds the number of
/// small frames by a half of it, and no reservation covers their overhead.
const CONNECTION_WINDOW: u32 = 128 << 20;

/// The bytes of one request body that the worker has not taken yet.
const MAX_SENT_BYTES: usize = 256 << 10;

/// The largest head of a response.
const MAX_HEAD_BYTES: u32 = 64 << 10;

/// The number of cancelled requests whose frames may still arrive.
const MAX_CANCELLED: usize = 4096;

/// The worker of a tenant. Lifetime: until the tenant or its settings change.
#[derive(Debug)]
pub(super) struct WorkerSlot {
    tenant: Arc<Tenant>,
    view: watch::Receiver<View>,
    demand: Arc<Notify>,
    uses: Uses,
    /// Ended, and the process with it, when this is dropped.
    _supervision: JoinSet<()>,
}

/// The uses of a worker by requests. Clones share the numbers. Lifetime: a slot.
#[derive(Debug, Clone, Default)]
struct Uses(Arc<UseCounts>);

#[derive(Debug, Default)]
struct UseCounts {
    /// The requests that use the worker now.
    current: AtomicUsize,
    /// All uses that have begun. The number may wrap around.
    begun: AtomicUsize,
}

/// The use of a worker by one request, from before it looks for the connection until its response has been sent.
#[derive(Debug)]
pub(crate) struct Use(Uses);

/// The sender of requests to a worker.
pub(super) type Sender = SendRequest<ForwardedRequestBody>;

/// The state of a worker, as requests see it.
#[derive(Debug, Clone)]
enum View {
    /// It does not run. A request asks for it.
    Stopped,
    Starting,
    Running(Sender),
    /// It has ended, and is not started before this time.
    Pausing {
        until: Instant,
    },
}

/// The supervision of a worker. Lifetime: a slot.
struct Supervision {
    tenant: Arc<Tenant>,
    starter: Arc<dyn StartWorker>,
    view: watch::Sender<View>,
    demand: Arc<Notify>,
    uses: Uses,
    counts: Arc<WorkerCounts>,
}

/// The end of a worker.
enum End {
    Unused,
    /// It had served for this long, not counting its start.
    Failed {
        served: Duration,
    },
}

impl End {
    /// The end of a worker that has not been ready.
    const NOT_READY: End = End::Failed {
        served: Duration::ZERO,
    };
}

// === impl Uses ===

impl Uses {
    fn begin(&self) -> Use {
        self.0.begun.fetch_add(1, SeqCst);
        self.0.current.fetch_add(1, SeqCst);
        Use(self.clone())
    }

    fn are_none(&self) -> bool {
        self.0.current.load(SeqCst) == 0
    }

    /// Returns the number of uses so far, which differs from an earlier one if there was a use since.
    fn begun(&self) -> usize {
        self.0.begun.load(SeqCst)
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let Use(Uses(counts)) = self;
        counts.current.fetch_sub(1, SeqCst);
    }
}

// === impl WorkerSlot ===

impl WorkerSlot {
    /// Returns the slot of a worker that does not run yet. Must be called within a runtime.
    pub(super) fn new(
        tenant: Arc<Tenant>,
        starter: Arc<dyn StartWorker>,
        counts: Arc<WorkerCounts>,
    ) -> WorkerSlot {
        let (sender, view) = watch::channel(View::Stopped);
        let (demand, uses) = (Arc::new(Notify::new()), Uses::default());
        let supervision = Supervision {
            tenant: Arc::clone(&tenant),
            starter,
            view: sender,
            demand: Arc::clone(&demand),
            uses: uses.clone(),
            counts,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(supervision.run());
        WorkerSlot {
            tenant,
            view,
            demand,
            uses,
            _supervision: tasks,
        }
    }

    /// Returns the tenant with the settings for which the worker is started.
    pub(super) fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Returns whether no request uses the worker.
    pub(super) fn is_unused(&self) -> bool {
        self.uses.are_none()
    }

    /// Begins the use of the worker by a request.
    pub(super) fn begin_use(&self) -> Use {
        self.uses.begin()
    }

    /// Returns the sender of requests to the worker, once it runs.
    pub(super) async fn sender(&self) -> Result<Sender, WorkerError> {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        let mut view = self.view.clone();
        loop {
            let seen = view.borrow_and_update().clone();
            match seen {
                View::Running(sender) if !sender.is_closed() => return Ok(sender),
                // The supervision is about to notice its end.
                View::Running(_) | View::Starting => {}
                View::Stopped => self.demand.notify_one(),
                View::Pausing { until } => {
                    let wait = until.saturating_duration_since(Instant::now());
                    if wait > SHORT_PAUSE {
                        return Err(WorkerError::Pausing { wait });
                    }
                }
            }
            match timeout_at(deadline, view.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(WorkerError::NotStarted),
            }
        }
    }
}

// === impl Supervision ===

impl Supervision {
    async fn run(self) {
        let mut restarts = Restarts::default();
        loop {
            self.view.send_replace(View::Stopped);
            self.demand.notified().await;
            if self.uses.are_none() {
                // Asked for by a request that has ended since, or by one that an earlier worker has answered.
                continue;
            }
            self.view.send_replace(View::Starting);
            let counted = self.counts.start(&self.tenant.id);
            let End::Failed { served } = self.run_once().await else {
                continue;
            };
            counted.failed();
            drop(counted);
            let pause = restarts.ended(served);
            let until = Instant::now() + pause;
            self.view.send_replace(View::Pausing { until });
            tokio::time::sleep_until(until).await;
        }
    }

    /// Starts a process and stays until it has ended.
    async fn run_once(&self) -> End {
        let tenant = &self.tenant.id;
        let started = match self.start().await {
            Ok(started) => started,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(%tenant, error, "the worker process of the tenant could not be started");
                return End::NOT_READY;
            }
        };
        let StartedWorker { socket, process } = started;
        let end = match timeout(START_TIMEOUT, connect(socket)).await {
            Ok(Ok((sender, connection))) => {
                tracing::info!(%tenant, "the worker process of the tenant is ready");
                self.serve(sender, connection).await
            }
            Ok(Err(error)) => {
                tracing::error!(%tenant, %error, "the worker process of the tenant ended before it was ready");
                End::NOT_READY
            }
            Err(_) => {
                let limit = START_TIMEOUT.as_secs();
                tracing::error!(%tenant, limit, "the worker process of the tenant was not ready in time");
                End::NOT_READY
            }
        };
        self.report_end(process, &end).await;
        end
    }

    async fn start(&self) -> io::Result<StartedWorker> {
        let (starter, tenant) = (Arc::clone(&self.starter), Arc::clone(&self.tenant));
        let tenants = self.counts.isolated();
        let starting = tokio::task::spawn_blocking(move || starter.start(&tenant, tenants));
        starting.await.map_err(io::Error::other)?
    }

    /// Lets requests use the connection until it ends, or until the worker has not been used for some time.
    async fn serve(
        &self,
        sender: Sender,
        connection: impl Future<Output = Result<(), hyper::Error>>,
    ) -> End {
        let mut connection = std::pin::pin!(connection);
        let begun = Instant::now();
        loop {
            self.view.send_replace(View::Running(sender.clone()));
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "the connection to a worker has ended");
                    }
                    return End::Failed {
                        served: begun.elapsed(),
                    };
                }
                () = self.unused() => {}
            }
            self.view.send_replace(View::Stopped);
            if self.uses.are_none() {
                return End::Unused;
            }
        }
    }

    /// Completes when no request has used the worker for some time.
    async fn unused(&self) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut used, mut begun) = (Instant::now(), self.uses.begun());
        loop {
            let now = looks.tick().await;
            // Most requests begin and end between two looks.
            let seen = self.uses.begun();
            if seen != begun || !self.uses.are_none() {
                (used, begun) = (now, seen);
            }
            if now.saturating_duration_since(used) >= IDLE {
                return;
            }
        }
    }

    /// Waits for the end of the process, and logs it.
    async fn report_end(&self, process: Box<dyn WorkerProcess>, end: &End) {
        let tenant = &self.tenant.id;
        let ending = tokio::task::spawn_blocking(move || process.end());
        let status = match ending.await {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        match end {
            End::Unused => {
                tracing::info!(%tenant, "the unused worker process of the tenant was ended")
            }
            End::Failed { .. } => tracing::error!(
                %tenant,
                status,
                "the worker process of the tenant has ended, and its requests in flight have failed"
            ),
        }
    }
}

/// Waits until the worker is ready, and begins HTTP/2. The returned future drives the connection.
async fn connect(
    socket: std::os::unix::net::UnixStream,
) -> io::Result<(Sender, impl Future<Output = Result<(), hyper::Error>>)> {
    socket.set_nonblocking(true)?;
    let stream = UnixStream::from_std(socket)?;
    await_readiness(&stream).await?;
    let mut client = http2::Builder::new(TokioExecutor::new());
    client
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        // This limit holds for any window that the worker announces.
        .max_send_buf_size(MAX_SENT_BYTES)
        .max_header_list_size(MAX_HEAD_BYTES)
        .max_concurrent_reset_streams(MAX_CANCELLED)
        // The count never decreases, and a worker may live for any number of cancelled requests.
        .max_local_error_reset_streams(None::<usize>)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true);
    let connected = client.handshake(TokioIo::new(stream)).await;
    connected.map_err(io::Error::other)
}

/// Reads the one byte that a worker writes when it is ready.
async fn await_readiness(stream: &UnixStream) -> io::Result<()> {
    let mut byte = [0_u8; 1];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut byte) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
