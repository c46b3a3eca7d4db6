//! Tests of the fairness and the lifetime of the pool.

use super::*;
use anyhow::Context;
use std::sync::mpsc::{Receiver, Sender, channel};

const ONE: NonZeroUsize = NonZeroUsize::MIN;

/// Returns a pool with `long_threads` threads for long jobs, one for short jobs, and one for each flow.
fn pool(long_threads: usize) -> anyhow::Result<Arc<FairPool>> {
    let options = PoolOptions {
        long_threads: NonZeroUsize::new(long_threads).context("no threads")?,
        threads_per_flow: ONE,
        queue_per_flow: 8,
    };
    Ok(FairPool::spawn("test", options)?)
}

/// Occupies a thread of the pool until the returned sender is dropped. Returns once the thread is occupied.
fn occupy(flow: &Flow) -> anyhow::Result<Sender<()>> {
    let (open, gate) = channel::<()>();
    let (started, running) = channel();
    flow.submit(Owner::LOCAL, move || {
        let _ = started.send(());
        let _ = gate.recv();
    })?;
    running.recv()?;
    Ok(open)
}

fn name(flow: &Flow, name: &'static str, names: &Sender<&'static str>) -> anyhow::Result<()> {
    let names = names.clone();
    Ok(flow.submit(Owner::LOCAL, move || {
        let _ = names.send(name);
    })?)
}

fn next(names: &Receiver<&'static str>) -> anyhow::Result<&'static str> {
    Ok(names.recv_timeout(Duration::from_secs(20))?)
}

/// Sets the measured time of a flow, which a test cannot produce with a clock.
fn set_used(flow: &Flow, milliseconds: u64) {
    let used = Duration::from_millis(milliseconds);
    flow.0.pool.queue.lock().set_used(flow.0.index, used);
}

/// Turns a flow without jobs into one whose jobs have been long.
fn set_long(flow: &Flow) {
    flow.0.pool.queue.lock().set_long(flow.0.index);
}

#[test]
fn a_flow_that_has_used_less_goes_first_whatever_another_one_has_queued() -> anyhow::Result<()> {
    let pool = pool(1)?;
    let (busy, light) = (pool.flow(), pool.flow());
    let gate = occupy(&busy)?;
    let (names, order) = channel();
    for _ in 0..3 {
        name(&busy, "busy", &names)?;
    }
    set_used(&busy, 60_000);
    name(&light, "light", &names)?;
    drop(gate);
    assert_eq!(next(&order)?, "light");
    for _ in 0..3 {
        assert_eq!(next(&order)?, "busy");
    }
    Ok(())
}

#[test]
fn a_flow_that_was_idle_gets_no_credit_for_it() -> anyhow::Result<()> {
    let pool = pool(1)?;
    let (busy, idle) = (pool.flow(), pool.flow());
    set_used(&busy, 60_000);
    // Running a job of the flow moves the clock to its used time.
    drop(occupy(&busy)?);
    let gate = occupy(&busy)?;
    let (names, order) = channel();
    name(&idle, "idle", &names)?;
    let used = pool.queue.lock().used(idle.0.index);
    assert!(used >= Some(Duration::from_secs(60)), "{used:?}");
    drop(gate);
    assert_eq!(next(&order)?, "idle");
    Ok(())
}

#[test]
fn a_flow_of_long_jobs_that_keeps_all_its_threads_leaves_one_to_others() -> anyhow::Result<()> {
    let pool = pool(2)?;
    let (greedy, other) = (pool.flow(), pool.flow());
    set_long(&greedy);
    set_long(&other);
    let gate = occupy(&greedy)?;
    let (names, order) = channel();
    name(&greedy, "greedy", &names)?;
    name(&other, "other", &names)?;
    assert_eq!(next(&order)?, "other", "while the greedy one still runs");
    drop(gate);
    assert_eq!(next(&order)?, "greedy");
    Ok(())
}

#[test]
fn a_full_queue_refuses_its_own_flow_only() -> anyhow::Result<()> {
    let pool = pool(1)?;
    let (full, other) = (pool.flow(), pool.flow());
    let _gate = occupy(&full)?;
    for _ in 0..8 {
        full.submit(Owner::LOCAL, || ())?;
    }
    assert_eq!(full.submit(Owner::LOCAL, || ()), Err(QueueFull));
    assert_eq!(other.submit(Owner::LOCAL, || ()), Ok(()));
    Ok(())
}

#[test]
fn a_flow_that_is_dropped_drops_what_it_has_queued_and_its_place_is_used_again()
-> anyhow::Result<()> {
    let pool = pool(1)?;
    let (first, second) = (pool.flow(), pool.flow());
    let gate = occupy(&first)?;
    let (held, dropped) = channel::<()>();
    second.submit(Owner::LOCAL, move || drop(held))?;
    let index = second.0.index;
    drop(second);
    assert!(dropped.recv().is_err(), "the job is gone");
    assert_eq!(pool.flow().0.index, index);
    // A flow whose job is still running is kept until the job ends.
    let index = first.0.index;
    drop(first);
    assert_ne!(pool.flow().0.index, index);
    drop(gate);
    Ok(())
}

#[test]
fn the_pool_lives_as_long_as_its_flows_and_then_waits_for_no_job_that_runs() -> anyhow::Result<()> {
    let pool = pool(1)?;
    let flow = pool.flow();
    drop(pool);
    let gate = occupy(&flow)?;
    drop(flow);
    drop(gate);
    Ok(())
}

#[tokio::test]
async fn a_call_runs_on_a_thread_of_the_pool() -> anyhow::Result<()> {
    let pool = pool(1)?;
    let named = async {
        tokio::task::yield_now().await;
        std::thread::current().name().map(str::to_owned)
    };
    assert_eq!(
        pool.flow().run(Owner::LOCAL, named).await?.as_deref(),
        Some("test")
    );
    Ok(())
}

#[tokio::test]
async fn dropping_the_future_ends_the_call() -> anyhow::Result<()> {
    let pool = pool(1)?;
    let flow = pool.flow();
    let (started, running) = tokio::sync::oneshot::channel();
    let (held, dropped) = tokio::sync::oneshot::channel::<()>();
    let call = flow.run(Owner::LOCAL, async move {
        let _held = held;
        let _ = started.send(());
        std::future::pending::<()>().await;
    });
    tokio::select! {
        _ = call => anyhow::bail!("it never ends by itself"),
        started = running => started?,
    }
    assert!(dropped.await.is_err(), "what the call held is gone");
    Ok(())
}

#[tokio::test]
async fn a_panic_is_lost_with_its_call_only() -> anyhow::Result<()> {
    let pool = pool(1)?;
    let flow = pool.flow();
    let panicking = flow.run(Owner::LOCAL, async { panic!("a guest's panic") });
    assert_eq!(panicking.await, Err::<(), _>(Lost));
    assert_eq!(flow.run(Owner::LOCAL, async { 7 }).await?, 7);
    let (held, dropped) = channel::<()>();
    flow.submit(Owner::LOCAL, move || {
        let _held = held;
        panic!("a job's panic");
    })?;
    assert!(dropped.recv().is_err());
    assert_eq!(flow.run(Owner::LOCAL, async { 7 }).await?, 7);
    Ok(())
}

#[test]
fn the_options_leave_threads_to_other_flows() {
    let options = PoolOptions::with_threads_per_flow(ONE);
    assert!(options.long_threads > options.threads_per_flow);
}

#[test]
fn long_jobs_leave_the_threads_of_short_ones_alone() -> anyhow::Result<()> {
    let pool = pool(1)?;
    let (long, short) = (pool.flow(), pool.flow());
    set_long(&long);
    let gate = occupy(&long)?;
    let (names, order) = channel();
    name(&long, "long", &names)?;
    name(&short, "short", &names)?;
    assert_eq!(next(&order)?, "short", "while the long one still runs");
    drop(gate);
    assert_eq!(next(&order)?, "long");
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn long_jobs_run_at_a_lower_priority() -> anyhow::Result<()> {
    let pool = pool(1)?;
    let flow = pool.flow();
    let niceness = || -> anyhow::Result<i32> {
        let (reply, answer) = channel();
        flow.submit(Owner::LOCAL, move || {
            let _ = reply.send(rustix::process::getpriority_process(None));
        })?;
        Ok(answer.recv_timeout(Duration::from_secs(20))??)
    };
    let of_short = niceness()?;
    set_long(&flow);
    assert_eq!(niceness()?, (of_short + LONG_NICENESS).min(MAX_NICENESS));
    Ok(())
}

#[test]
fn a_job_of_a_flow_that_moved_while_it_ran_wakes_the_threads_of_the_new_class() -> anyhow::Result<()>
{
    let pool = pool(1)?;
    let flow = pool.flow();
    let gate = occupy(&flow)?;
    set_long(&flow);
    let (names, order) = channel();
    name(&flow, "waiting", &names)?;
    drop(gate);
    assert_eq!(next(&order)?, "waiting");
    Ok(())
}

#[test]
fn an_owner_that_fills_its_queue_in_a_flow_leaves_room_to_others() -> anyhow::Result<()> {
    let pool = pool(1)?;
    let flow = pool.flow();
    let _gate = occupy(&flow)?;
    let noisy = Owner { id: 1, weight: 1 };
    while flow.submit(noisy, || ()).is_ok() {}
    let quiet = Owner { id: 2, weight: 1 };
    assert_eq!(flow.submit(quiet, || ()), Ok(()));
    assert_eq!(flow.submit(noisy, || ()), Err(QueueFull));
    Ok(())
}
