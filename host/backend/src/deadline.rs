//! Cancels computations at their deadline.
//!
//! A computation that runs on the thread of its caller cannot be cancelled by that thread. A single
//! thread for the whole process does that instead; it sleeps until the next deadline. Starting and ending
//! a watch takes a lock and no system call, as long as deadlines come in the order in which they are set.

use crate::cancellation::Cancellation;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

static WATCH: Watch = Watch {
    state: Mutex::new(State {
        next_id: 0,
        sleeps_until: None,
        watched: Vec::new(),
    }),
    wake: Condvar::new(),
};

/// Set once the thread has been started or has failed to start.
static STARTED: OnceLock<bool> = OnceLock::new();

/// The deadline of a computation. The computation is no longer cancelled once this value is dropped.
#[derive(Debug)]
#[must_use]
pub struct Watched {
    id: u64,
}

struct Watch {
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    next_id: u64,
    /// The time at which the thread wakes without a signal.
    sleeps_until: Option<Instant>,
    watched: Vec<(u64, Instant, Cancellation)>,
}

/// Cancels `cancellation` at `deadline`, unless the returned value is dropped before.
pub fn cancel_at(cancellation: &Cancellation, deadline: Instant) -> Watched {
    STARTED.get_or_init(|| {
        let thread = std::thread::Builder::new().name("wisp-deadlines".to_owned());
        // Without the thread, computations are not cancelled.
        thread.spawn(|| WATCH.run()).is_ok()
    });
    let mut state = WATCH.lock();
    let id = state.next_id;
    state.next_id += 1;
    state.watched.push((id, deadline, cancellation.clone()));
    let is_earlier = state.sleeps_until.is_none_or(|until| deadline < until);
    drop(state);
    if is_earlier {
        WATCH.wake.notify_one();
    }
    Watched { id }
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let due = |entry: &mut (u64, Instant, Cancellation)| entry.1 <= now;
            let late: Vec<_> = state.watched.extract_if(.., due).collect();
            if !late.is_empty() {
                // Outside the lock, since backends are called.
                drop(state);
                late.iter()
                    .for_each(|(_, _, cancellation)| cancellation.cancel());
                state = self.lock();
                continue;
            }
            let next = state.watched.iter().map(|(_, deadline, _)| *deadline).min();
            state.sleeps_until = next;
            state = match next {
                None => self
                    .wake
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(next) => {
                    let wait = next.saturating_duration_since(now);
                    let woken = self.wake.wait_timeout(state, wait);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut state = WATCH.lock();
        let found = state.watched.iter().position(|(id, _, _)| *id == self.id);
        let watched = found.map(|position| state.watched.swap_remove(position));
        drop(state);
        drop(watched);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn deadlines_are_met_in_whatever_order_they_are_set() -> anyhow::Result<()> {
        let now = Instant::now();
        let (late, soon, over) = (
            Cancellation::new(),
            Cancellation::new(),
            Cancellation::new(),
        );
        let _late = cancel_at(&late, now + LONG);
        let (send, cancelled) = channel();
        let name = |name: &'static str| {
            let send = send.clone();
            move || {
                let _ = send.send(name);
            }
        };
        let _soon_called = soon.on_cancel(name("soon"));
        let _soon = cancel_at(&soon, now + Duration::from_millis(20));
        assert_eq!(cancelled.recv_timeout(LONG)?, "soon");
        let _over_called = over.on_cancel(name("over"));
        let _over = cancel_at(&over, now);
        assert_eq!(cancelled.recv_timeout(LONG)?, "over");
        assert!(!late.is_cancelled());
        Ok(())
    }

    #[test]
    fn a_computation_that_has_ended_is_not_cancelled() -> anyhow::Result<()> {
        let (ended, running) = (Cancellation::new(), Cancellation::new());
        let soon = Instant::now() + Duration::from_millis(20);
        drop(cancel_at(&ended, soon));
        let (send, cancelled) = channel();
        let _called = running.on_cancel(move || {
            let _ = send.send(());
        });
        let _running = cancel_at(&running, soon);
        cancelled.recv_timeout(LONG)?;
        assert!(!ended.is_cancelled());
        Ok(())
    }
}
