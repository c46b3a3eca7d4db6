//! The watch over the memory of the process: reads it periodically and carries out what the stage of
//! [`memory_pressure`](crate::memory_pressure) requires.
//!
//! The use is the resident memory that Linux reports, of this process and of those below it. Where it reports none, there
//! is no back-pressure.

use crate::descendants;
use crate::memory_pressure::{PressureStage, StageChange};
use crate::namespaces::give_up_models;
use crate::serving::Serving;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// The time between two readings. A reading takes some microseconds, and little can be allocated in between.
pub const WATCH_PERIOD: Duration = Duration::from_millis(100);

/// The number of readings between two searches for child processes, which read a file for each thread.
const READINGS_PER_SEARCH: u32 = 10;

/// Watches the memory of the process for as long as it is polled.
pub async fn watch_memory(serving: Arc<Serving>) -> Infallible {
    if serving.memory_pressure().limit().is_none() || resident_bytes().is_none() {
        return std::future::pending().await;
    }
    let mut ticks = tokio::time::interval(WATCH_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Waits for a thread, which may take long on a busy server. The use is read meanwhile.
    let mut relief: Option<BoxFuture<'static, ()>> = None;
    let mut children: Vec<u32> = Vec::new();
    let mut readings: u32 = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                if readings.is_multiple_of(READINGS_PER_SEARCH) {
                    // A search that has failed finds them the next time.
                    let searched = tokio::task::spawn_blocking(descendants::find).await;
                    children = searched.unwrap_or_default();
                }
                readings = readings.wrapping_add(1);
                if let Some(used) = resident_bytes() {
                    apply(&serving, (used, children_bytes(&children)));
                }
                if relief.is_none() && serving.memory_pressure().stage() >= PressureStage::Shrink {
                    relief = Some(relieve(Arc::clone(&serving)).boxed());
                }
            }
            () = end_of(&mut relief) => relief = None,
        }
    }
}

/// Waits for the end of a relief, and for ever if there is none.
async fn end_of(relief: &mut Option<BoxFuture<'static, ()>>) {
    match relief {
        Some(relief) => relief.await,
        None => std::future::pending().await,
    }
}

/// Carries out what follows at once from a use of these numbers of bytes, by this process and by those below it.
fn apply(serving: &Serving, (used, children): (u64, u64)) {
    let pressure = serving.memory_pressure();
    let limit = pressure.limit().unwrap_or_default();
    if let Some(StageChange { from, to }) = pressure.observe_all(used, children) {
        let (from, to) = (from.name(), to.name());
        match pressure.stage() {
            PressureStage::Normal | PressureStage::Shrink => {
                tracing::info!(
                    from,
                    to,
                    used,
                    children,
                    limit,
                    "the stage of memory pressure changed"
                );
            }
            PressureStage::RefuseLarge | PressureStage::RefuseAll => {
                tracing::warn!(
                    from,
                    to,
                    used,
                    children,
                    limit,
                    "the stage of memory pressure changed"
                );
            }
        }
        serving.restrict_memory(pressure.stage());
    }
}

/// Returns memory to the operating system, which takes time.
async fn relieve(serving: Arc<Serving>) {
    let relieved = Arc::clone(&serving);
    let relieving = serving.blocking().run_soon(move || {
        let mut has_idle = relieved.relieve_memory();
        // In the process of a tenant, the public models are another service.
        if let Some(public) = &relieved.public {
            has_idle |= public.relieve_memory();
            if !has_idle {
                let excess = relieved.memory_pressure().excess();
                give_up_models(&[Arc::clone(&relieved)], excess);
            }
        }
    });
    if let Err(error) = relieving.await {
        tracing::debug!(%error, "no memory was returned");
    }
}

/// Returns the resident memory of the process, if the operating system reports it.
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    parse_resident(&statm, page)
}

/// Returns the memory of these processes.
fn children_bytes(children: &[u32]) -> u64 {
    match u64::try_from(rustix::param::page_size()) {
        Ok(page) => descendants::own_bytes(children, page),
        Err(_) => 0,
    }
}

/// Returns the resident memory in the second number of `statm`, which counts pages.
fn parse_resident(statm: &str, page: u64) -> Option<u64> {
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ServingOptions;
    use crate::registry::Registry;
    use futures_util::future::join_all;
    use std::sync::mpsc::{Receiver, Sender, channel};

    fn serving(limit: u64) -> Arc<Serving> {
        let options = ServingOptions {
            memory_limit_bytes: Some(limit),
            ..ServingOptions::default()
        };
        Arc::new(Serving::new(Registry::default(), None, options))
    }

    #[test]
    fn the_resident_pages_are_the_second_number() {
        assert_eq!(
            parse_resident("9000 250 30 4 0 600 0\n", 4096),
            Some(1_024_000)
        );
        for text in ["", "9000", "9000 x", "1 18446744073709551615"] {
            assert_eq!(parse_resident(text, 4096), None, "{text:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_some_memory() {
        assert!(resident_bytes() > Some(1 << 20));
    }

    #[test]
    fn a_stage_restricts_reservations_until_it_ends() {
        let serving = serving(100 << 20);
        let large = crate::memory_pressure::LARGE_BYTES + 1;
        let can_reserve = |bytes: usize| serving.memory().reservation().grow(bytes);
        apply(&serving, (85 << 20, 0));
        assert!(can_reserve(large));
        apply(&serving, (91 << 20, 0));
        assert!(!can_reserve(large));
        assert!(can_reserve(large - 1));
        apply(&serving, (96 << 20, 0));
        assert!(serving.memory_pressure().check_inference().is_err());
        assert!(can_reserve(large - 1), "for requests in progress");
        apply(&serving, (10 << 20, 0));
        assert!(can_reserve(large));
        assert!(serving.memory_pressure().check_inference().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_use_is_read_while_the_return_of_memory_waits_for_a_thread() {
        let serving = serving(1);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (ends, waits): (Vec<Sender<()>>, Vec<Receiver<()>>) =
            (0..threads).map(|_| channel()).unzip();
        let waits = waits.into_iter().map(|wait| {
            serving.blocking().run_soon(move || {
                let _ = wait.recv();
            })
        });
        let busy = join_all(waits);
        let watching = watch_memory(Arc::clone(&serving));
        let observed = async {
            tokio::time::sleep(WATCH_PERIOD * 3).await;
            let stage = serving.memory_pressure().stage();
            // Forgotten here, and found again by the next reading.
            serving.memory_pressure().observe(0);
            tokio::time::sleep(WATCH_PERIOD * 3).await;
            drop(ends);
            (stage, serving.memory_pressure().stage())
        };
        let stages = tokio::select! {
            biased;
            stages = observed => stages,
            _ = busy => (PressureStage::Normal, PressureStage::Normal),
            never = watching => match never {},
        };
        assert_eq!(stages, (PressureStage::RefuseAll, PressureStage::RefuseAll));
    }
}
