//! Tests of the supervision of workers, with processes that are threads of the test. `frames` has the tests of the connection.

mod frames;

use super::*;
use anyhow::{Context, Result, ensure};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use std::convert::Infallible;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Mutex, PoisonError};
use std::thread;
use tokio::sync::{mpsc, oneshot};

/// The time after which a test has failed, however busy the machine is.
const LONG: Duration = Duration::from_secs(60);

/// A source of workers that answer nothing.
#[derive(Debug)]
struct FakeStarter {
    /// The number of starts.
    starts: AtomicUsize,
    /// The number of tenants at the last start.
    tenants: AtomicUsize,
    /// Set if every start fails.
    fails: bool,
    /// Ends the last worker when it is dropped.
    last: Mutex<Option<oneshot::Sender<()>>>,
    /// Receives a message when a process is ended, or dropped.
    ended: mpsc::UnboundedSender<()>,
}

#[derive(Debug)]
struct FakeProcess(mpsc::UnboundedSender<()>);

impl WorkerProcess for FakeProcess {
    fn end(self: Box<Self>) -> io::Result<ExitStatus> {
        Ok(ExitStatus::from_raw(11))
    }
}

impl Drop for FakeProcess {
    fn drop(&mut self) {
        // The test may be over.
        let _ = self.0.send(());
    }
}

impl FakeStarter {
    fn new(fails: bool) -> (Arc<FakeStarter>, mpsc::UnboundedReceiver<()>) {
        let (ended, ends) = mpsc::unbounded_channel();
        let starter = FakeStarter {
            starts: AtomicUsize::new(0),
            tenants: AtomicUsize::new(0),
            fails,
            last: Mutex::default(),
            ended,
        };
        (Arc::new(starter), ends)
    }

    fn starts(&self) -> usize {
        self.starts.load(SeqCst)
    }

    /// Ends the last worker, as a signal would.
    fn kill(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        drop(last.take());
    }
}

impl StartWorker for FakeStarter {
    fn start(&self, _: &Tenant, tenants: usize) -> io::Result<StartedWorker> {
        self.starts.fetch_add(1, SeqCst);
        self.tenants.store(tenants, SeqCst);
        if self.fails {
            return Err(io::ErrorKind::NotFound.into());
        }
        let (socket, theirs) = std::os::unix::net::UnixStream::pair()?;
        let (kill, killed) = oneshot::channel();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(kill);
        thread::spawn(move || serve(theirs, killed));
        Ok(StartedWorker {
            socket,
            process: Box::new(FakeProcess(self.ended.clone())),
        })
    }
}

/// Serves a connection until it is killed.
fn serve(mut socket: std::os::unix::net::UnixStream, killed: oneshot::Receiver<()>) -> Result<()> {
    socket.write_all(b"\n")?;
    socket.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stream = UnixStream::from_std(socket)?;
        let respond = service_fn(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(String::new()))
        });
        let protocol = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let connection = protocol.serve_connection(TokioIo::new(stream), respond);
        tokio::select! {
            ended = connection => ended?,
            _ = killed => {}
        }
        Ok(())
    })
}

/// Returns the slot of a worker that is started when it is used.
fn slot(starter: &Arc<FakeStarter>) -> WorkerSlot {
    let starter: Arc<FakeStarter> = Arc::clone(starter);
    WorkerSlot::new(Arc::new(Tenant::local()), starter, Arc::default())
}

#[tokio::test]
async fn a_worker_is_started_by_a_request_and_again_by_one_after_its_end() -> Result<()> {
    let (starter, mut ends) = FakeStarter::new(false);
    let slot = slot(&starter);
    let _use = slot.begin_use();
    ensure!(starter.starts() == 0, "nobody has asked for it");
    let first = slot.sender().await?;
    ensure!(!first.is_closed() && starter.starts() == 1);
    starter.kill();
    let ended = timeout(LONG, ends.recv()).await?;
    ended.context("the process was not ended")?;
    ensure!(
        starter.starts() == 1,
        "it is not started before it is needed"
    );
    let second = timeout(LONG, slot.sender()).await??;
    ensure!(!second.is_closed() && starter.starts() == 2);
    Ok(())
}

#[tokio::test]
async fn a_worker_is_started_as_one_of_those_of_all_tenants_at_that_time() -> Result<()> {
    let (starter, mut ends) = FakeStarter::new(false);
    let counts: Arc<WorkerCounts> = Arc::default();
    let source: Arc<FakeStarter> = Arc::clone(&starter);
    let slot = WorkerSlot::new(Arc::new(Tenant::local()), source, Arc::clone(&counts));
    let _use = slot.begin_use();
    for tenants in [3, 2] {
        counts.set_isolated(tenants);
        timeout(LONG, slot.sender()).await??;
        ensure!(starter.tenants.load(SeqCst) == tenants);
        starter.kill();
        let ended = timeout(LONG, ends.recv()).await?;
        ended.context("the process was not ended")?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_cannot_be_started_is_not_tried_without_end() -> Result<()> {
    let (starter, _ends) = FakeStarter::new(true);
    let slot = slot(&starter);
    let _use = slot.begin_use();
    // The pauses of a quarter, a half and a whole second are waited for, and the next one is not.
    let refused = slot.sender().await.err();
    let Some(WorkerError::Pausing { wait }) = refused else {
        anyhow::bail!("{refused:?}");
    };
    ensure!(wait > SHORT_PAUSE, "{wait:?}");
    ensure!(starter.starts() == 4, "{}", starter.starts());
    ensure!(slot.sender().await.is_err());
    ensure!(
        starter.starts() == 4,
        "a request during a pause starts nothing"
    );
    tokio::time::sleep(wait).await;
    ensure!(starter.starts() == 4, "nobody has asked for it");
    ensure!(slot.sender().await.is_err());
    ensure!(starter.starts() == 5, "{}", starter.starts());
    Ok(())
}

#[tokio::test]
async fn a_worker_ends_with_its_slot() -> Result<()> {
    let (starter, mut ends) = FakeStarter::new(false);
    let slot = slot(&starter);
    let _use = slot.begin_use();
    let _sender = slot.sender().await?;
    drop(slot);
    let ended = timeout(LONG, ends.recv()).await?;
    ended.context("the process was not ended")
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_used_between_all_looks_at_its_use_is_none_without_use() {
    let (starter, _ends) = FakeStarter::new(true);
    let uses = Uses::default();
    let supervision = Supervision {
        tenant: Arc::new(Tenant::local()),
        starter,
        view: watch::channel(View::Stopped).0,
        demand: Arc::default(),
        uses: uses.clone(),
        counts: Arc::default(),
    };
    let begun = Instant::now();
    let requests = async {
        while begun.elapsed() < IDLE * 2 {
            drop(uses.begin());
            tokio::time::sleep(LOOK / 3).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = supervision.unused() => {}
        () = requests => {}
    }
    assert!(begun.elapsed() > IDLE * 2 + IDLE / 2);
}

#[tokio::test]
async fn uses_are_counted_until_they_end() {
    let (starter, _ends) = FakeStarter::new(true);
    let slot = slot(&starter);
    assert!(slot.is_unused());
    let (first, second) = (slot.begin_use(), slot.begin_use());
    drop(first);
    assert!(!slot.is_unused());
    drop(second);
    assert!(slot.is_unused());
}
