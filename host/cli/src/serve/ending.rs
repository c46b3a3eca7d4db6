//! The end of the process on a signal, independent of the state of other threads.
//!
//! Signals are received on a separate thread with its own runtime, which starts before anything is
//! loaded, so that a server whose other threads are all blocked still ends. The end itself waits for no
//! thread. Computations, compilations and loads are abandoned, and their leftovers (temporary files of
//! the store of compiled code) are removed at the next start.

use anyhow::Context;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// The time limit for writing the last line of the log. The reader of the log may have stopped reading.
const LAST_LINE: Duration = Duration::from_secs(1);

/// The thread that receives signals. Lifetime: the process.
#[derive(Debug)]
pub(super) struct Signals {
    is_serving: Arc<AtomicBool>,
    /// Completes when a signal requests a drain.
    drain: oneshot::Receiver<()>,
}

/// The streams of SIGTERM and SIGINT.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Starts to receive signals. Until [`Signals::serving`] is called, a signal ends the process at
    /// once. After that, the first signal requests a drain. The process ends on the second signal, or if
    /// it is still running after `drain_limit`.
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
                // The caller waits for this message.
                let _ = ready.send(Ok(()));
                stop.received().await;
                if !serving.load(Ordering::Acquire) {
                    end(0, || {
                        tracing::info!("stopped before the start was complete")
                    });
                }
                // The receiver is gone if the server has ended by itself.
                let _ = begin.send(());
                let reason = match tokio::time::timeout(drain_limit, stop.received()).await {
                    Ok(()) => "a second signal was received",
                    Err(_) => "draining exceeded its time limit",
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

    /// Makes the next signal request a drain instead of ending the process at once.
    pub(super) fn serving(&self) {
        self.is_serving.store(true, Ordering::Release);
    }

    /// Completes when the server must drain.
    pub(super) async fn drain(self) {
        // The sender is dropped only when the process ends.
        let _ = self.drain.await;
        tracing::info!("draining; a second signal ends the process at once");
    }
}

impl Stop {
    fn install() -> std::io::Result<Stop> {
        // From here on, SIGHUP does not end the process. `hangup` receives it once the settings have been used.
        drop(signal(SignalKind::hangup())?);
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

/// Ends the process with unfinished requests.
pub(super) fn end_early(reason: impl Into<String>) -> ! {
    let reason = reason.into();
    end(1, move || {
        tracing::error!(reason, "stopped before all requests had responses");
    })
}

/// Ends the process after it has logged a last line.
///
/// Runs no destructors and no exit handlers of libraries: those would wait for a computation that does
/// not end, or would unload a library that the computation still uses.
pub(super) fn end(code: i32, log: impl FnOnce() + Send + 'static) -> ! {
    let (written, line) = mpsc::channel::<()>();
    let logging = std::thread::Builder::new().spawn(move || {
        log();
        drop(written);
    });
    if logging.is_ok() {
        // The process ends whether or not the line was written.
        let _ = line.recv_timeout(LAST_LINE);
    }
    signal_hook::low_level::exit(code)
}
