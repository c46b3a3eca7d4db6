//! The end of the process: what signals ask for, whatever the other threads are doing.
//!
//! Signals are received on a thread of their own, with a runtime of its own, from before anything is loaded:
//! a server whose threads are all blocked ends like any other. The end itself waits for nobody. Computations,
//! compilers and loads are left where they are, and what they leave behind (temporary files of the store of
//! compiled code) is removed at the next start.

use anyhow::Context;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// What the last line of the log may take; whoever reads it may have stopped reading.
const LAST_LINE: Duration = Duration::from_secs(1);

/// The thread that receives signals. Lifetime: the process.
#[derive(Debug)]
pub(super) struct Signals {
    is_serving: Arc<AtomicBool>,
    /// Completes with the signal to drain.
    drain: oneshot::Receiver<()>,
}

/// SIGTERM and SIGINT.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Receive signals from now on. Until [`Signals::serving`] a signal ends the process at once. From then
    /// on the first one asks to drain, and the process ends with the second, or when it is still there after
    /// `drain_limit`.
    pub(super) fn receive(drain_limit: Duration) -> anyhow::Result<Signals> {
        let is_serving = Arc::new(AtomicBool::new(false));
        let (begin, drain) = oneshot::channel();
        let (ready, installed) = mpsc::channel();
        let serving = Arc::clone(&is_serving);
        let thread = std::thread::Builder::new().name("wisp-signals".to_owned());
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(error))),
            };
            runtime.block_on(async {
                let mut stop = match Stop::install() {
                    Ok(stop) => stop,
                    Err(error) => return drop(ready.send(Err(error))),
                };
                // The other side waits for it.
                let _ = ready.send(Ok(()));
                stop.received().await;
                if !serving.load(Ordering::Acquire) {
                    end(0, || tracing::info!("stopped before anything was served"));
                }
                // The server may have ended by itself.
                let _ = begin.send(());
                let reason = match tokio::time::timeout(drain_limit, stop.received()).await {
                    Ok(()) => "a second signal came",
                    Err(_) => "draining did not end",
                };
                end_early(reason);
            });
        };
        thread
            .spawn(run)
            .and_then(|_| installed.recv().map_err(std::io::Error::other)?)
            .context("failed to receive signals")?;
        Ok(Signals { is_serving, drain })
    }

    /// Drain on the next signal instead of ending at once.
    pub(super) fn serving(&self) {
        self.is_serving.store(true, Ordering::Release);
    }

    /// Completes when the server has to drain.
    pub(super) async fn drain(self) {
        // The sender is dropped only with the process.
        let _ = self.drain.await;
        tracing::info!("draining; a second signal ends it at once");
    }
}

impl Stop {
    fn install() -> std::io::Result<Stop> {
        Ok(Stop {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// End the process with requests unanswered.
pub(super) fn end_early(reason: impl Into<String>) -> ! {
    let reason = reason.into();
    end(1, move || {
        tracing::error!(reason, "ended before all requests were answered");
    })
}

/// End the process after a last line in the log.
///
/// No destructor runs, and no exit handler of a library: a computation that does not end would be waited for,
/// or would find its library taken apart.
pub(super) fn end(code: i32, log: impl FnOnce() + Send + 'static) -> ! {
    let (written, line) = mpsc::channel::<()>();
    let logging = std::thread::Builder::new().spawn(move || {
        log();
        drop(written);
    });
    if logging.is_ok() {
        // However it ends, so does the process.
        let _ = line.recv_timeout(LAST_LINE);
    }
    signal_hook::low_level::exit(code)
}
