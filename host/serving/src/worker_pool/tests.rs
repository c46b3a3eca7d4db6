//! Tests of the threads of a pool: their jobs and their number.

use super::*;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::ThreadId;

const ONE: NonZeroUsize = NonZeroUsize::MIN;

/// Returns a pool that keeps one thread, and whose other threads end as soon as they have no work.
fn pool(most: usize) -> anyhow::Result<Arc<WorkerPool>> {
    let threads = PoolThreads {
        kept: ONE,
        most: NonZeroUsize::try_from(most)?,
        linger: Duration::ZERO,
    };
    Ok(WorkerPool::spawn("test", threads)?)
}

/// Returns a queue that runs one job at a time and has room for `queue` others.
fn queue_in(pool: &Arc<WorkerPool>, queue: usize) -> WorkerQueue {
    pool.queue(WorkerOptions {
        threads: ONE,
        queue,
    })
}

fn one_thread(queue: usize) -> anyhow::Result<WorkerQueue> {
    Ok(queue_in(&pool(1)?, queue))
}

/// Returns the number of threads that count.
fn threads(pool: &WorkerPool) -> usize {
    pool.shared.lock().threads
}

/// A running job, which ends when this is dropped.
struct Gate {
    thread: ThreadId,
    ticket: Ticket,
    _open: Sender<()>,
}

/// Occupies a thread.
fn occupy(queue: &WorkerQueue) -> anyhow::Result<Gate> {
    let (open, gate) = channel::<()>();
    let (started, running) = channel();
    let ticket = queue.submit(move || {
        let _ = started.send(std::thread::current().id());
        let _ = gate.recv();
    })?;
    Ok(Gate {
        thread: running.recv()?,
        ticket,
        _open: open,
    })
}

/// Submits a job and returns the channel on which it sends the thread that runs it.
fn submit(queue: &WorkerQueue) -> Result<Receiver<ThreadId>, QueueFull> {
    let (reply, answer) = channel();
    queue.submit(move || {
        let _ = reply.send(std::thread::current().id());
    })?;
    Ok(answer)
}

#[test]
fn a_full_queue_refuses_and_has_room_again_afterwards() -> anyhow::Result<()> {
    let queue = one_thread(1)?;
    let gate = occupy(&queue)?;
    let waiting = submit(&queue)?;
    assert_eq!(submit(&queue).err(), Some(QueueFull));
    drop(gate);
    waiting.recv()?;
    submit(&queue)?.recv()?;
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn a_worker_does_not_preempt_the_thread_that_wakes_it() -> anyhow::Result<()> {
    use thread_priority::{NormalThreadSchedulePolicy, ThreadSchedulePolicy};
    let queue = one_thread(1)?;
    let (reply, answer) = channel();
    queue.submit(move || {
        let _ = reply.send(thread_priority::thread_schedule_policy().ok());
    })?;
    let batch = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
    assert_eq!(answer.recv()?, Some(batch));
    Ok(())
}

#[test]
fn a_panic_ends_its_job_and_not_its_thread() -> anyhow::Result<()> {
    let queue = one_thread(2)?;
    let thread = submit(&queue)?.recv()?;
    let (reply, answer) = channel::<()>();
    queue.submit(move || {
        let _reply = reply;
        panic!("a job's panic");
    })?;
    assert!(answer.recv().is_err(), "the reply is dropped");
    assert_eq!(submit(&queue)?.recv()?, thread);
    Ok(())
}

#[test]
fn dropping_a_queue_drops_its_waiting_jobs_and_waits_for_none() -> anyhow::Result<()> {
    let queue = one_thread(2)?;
    let gate = occupy(&queue)?;
    let waiting = submit(&queue)?;
    drop(queue);
    assert!(waiting.recv().is_err(), "the waiting job was dropped");
    drop(gate);
    Ok(())
}

#[test]
fn a_dropped_queue_leaves_its_thread_to_others_although_its_job_does_not_end() -> anyhow::Result<()>
{
    let pool = pool(1)?;
    let queue = queue_in(&pool, 1);
    let stuck = occupy(&queue)?;
    drop(queue);
    let other = queue_in(&pool, 1);
    assert_ne!(submit(&other)?.recv()?, stuck.thread);
    // There is nothing left to abandon.
    stuck.ticket.abandon();
    assert_eq!(threads(&pool), 1);
    Ok(())
}

#[test]
fn a_thread_whose_job_is_abandoned_is_replaced_once_and_ends_with_the_job() -> anyhow::Result<()> {
    let pool = pool(1)?;
    let queue = queue_in(&pool, 2);
    let stuck = occupy(&queue)?;
    stuck.ticket.abandon();
    assert_eq!(threads(&pool), 0, "no other thread is needed yet");
    let replacement = submit(&queue)?.recv()?;
    assert_ne!(replacement, stuck.thread);
    // As many jobs are already abandoned as may run, so the queue waits for this one.
    let second = occupy(&queue)?;
    second.ticket.abandon();
    let waiting = submit(&queue)?;
    assert_eq!(threads(&pool), 0, "the queue may run nothing");
    drop(second);
    assert_eq!(waiting.recv()?, replacement);
    drop(stuck);
    for _ in 0..8 {
        assert_eq!(submit(&queue)?.recv()?, replacement, "the other has ended");
    }
    Ok(())
}

#[test]
fn queues_whose_jobs_do_not_end_leave_all_threads_to_the_others() -> anyhow::Result<()> {
    let pool = pool(2)?;
    let mut stuck = Vec::new();
    let mut stuck_queues = Vec::new();
    // More than there are threads.
    for _ in 0..5 {
        let queue = queue_in(&pool, 1);
        // The second job has taken the place of the first.
        for _ in 0..2 {
            let job = occupy(&queue)?;
            job.ticket.abandon();
            stuck.push(job);
        }
        stuck_queues.push(queue);
    }
    assert_eq!(threads(&pool), 0);
    let other = queue_in(&pool, 1);
    submit(&other)?.recv()?;
    let busy = occupy(&other)?;
    let another = queue_in(&pool, 1);
    submit(&another)?.recv()?;
    // A queue that is dropped frees no thread twice.
    drop(stuck_queues);
    drop(busy);
    submit(&other)?.recv()?;
    assert!((1..=2).contains(&threads(&pool)));
    drop(stuck);
    submit(&another)?.recv()?;
    Ok(())
}

#[test]
fn a_job_that_does_not_run_is_not_abandoned() -> anyhow::Result<()> {
    let pool = pool(1)?;
    let queue = queue_in(&pool, 2);
    let gate = occupy(&queue)?;
    let waiting = queue.submit(|| ())?;
    waiting.abandon();
    assert_eq!(threads(&pool), 1);
    drop(gate);
    submit(&queue)?.recv()?;
    waiting.abandon();
    assert_eq!(threads(&pool), 1);
    Ok(())
}

#[test]
fn a_job_may_hold_the_last_reference_to_its_pool() -> anyhow::Result<()> {
    let queue = Arc::new(one_thread(1)?);
    let (done, finished) = channel();
    let last = Arc::clone(&queue);
    let (release, released) = channel::<()>();
    queue.submit(move || {
        let _ = released.recv();
        drop(last);
        let _ = done.send(());
    })?;
    drop(queue);
    release.send(())?;
    finished.recv()?;
    Ok(())
}

#[test]
fn queues_without_jobs_have_no_threads_and_busy_ones_share_the_pool() -> anyhow::Result<()> {
    let pool = pool(3)?;
    let queues: Vec<WorkerQueue> = (0..100).map(|_| queue_in(&pool, 1)).collect();
    assert_eq!(threads(&pool), 1);
    let busy: Vec<Gate> = queues[..3].iter().map(occupy).collect::<Result<_, _>>()?;
    assert_eq!(threads(&pool), 3);
    let waiting: Vec<_> = queues[3..].iter().map(submit).collect::<Result<_, _>>()?;
    assert_eq!(threads(&pool), 3, "there are no more, whatever waits");
    drop(busy);
    for answer in waiting {
        answer.recv()?;
    }
    while threads(&pool) > 1 {
        std::thread::yield_now();
    }
    Ok(())
}

#[test]
fn a_queue_may_run_more_jobs_than_there_are_threads_otherwise() -> anyhow::Result<()> {
    let pool = pool(1)?;
    let wide = pool.queue(WorkerOptions {
        threads: NonZeroUsize::try_from(4)?,
        queue: 4,
    });
    let busy: Vec<Gate> = (0..4).map(|_| occupy(&wide)).collect::<Result<_, _>>()?;
    assert_eq!(threads(&pool), 4);
    drop(busy);
    Ok(())
}
