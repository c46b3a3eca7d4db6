//! The wasmtime engine of the process, its instance pool and its clock.
//!
//! Components, stores and modules of two engines must never be mixed, so the program creates one
//! [`Engine`] and passes it down. Guests that share no instances with others have a separate one. The ticker thread of an
//! engine advances the epoch that interrupts its guests; the thread ends when the engine is dropped, which guests keep.

use crate::linker::Linkers;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy};
use wisp_tensor::MemoryBudget;

/// The length of an epoch, and thus the maximum delay before a guest that must stop does so.
pub const TICK: Duration = Duration::from_millis(5);

/// The largest stack that a guest may use on the native stack of its caller.
const MAX_WASM_STACK: usize = 512 << 10;

/// The native stack of an asynchronous call: the guest's part and 1.5 MiB for host functions, whose
/// overflow would end the process.
const ASYNC_STACK: usize = MAX_WASM_STACK + (1536 << 10);

/// The maximum number of core instances of a handler. A component built from a single core module has one for the
/// module and two for small adapters.
pub const MAX_CORE_INSTANCES: u32 = 4;

/// The maximum number of core instances of a web component, which may be composed of several components. Between two
/// of them there are further adapters. The pool has this many per instance, so no instance can take another's.
pub const MAX_WEB_CORE_INSTANCES: u32 = 32;

/// The core instance by which the state of an initialized component is read.
const READING_CORE_INSTANCES: u32 = 1;

/// The maximum number of tables of one component: for each component that it is composed of its own, and that of an
/// adapter. The pool has this many per instance.
const MAX_TABLES: u32 = 8;

/// The maximum number of linear memories of one component: one for each that it is composed of.
const MAX_MEMORIES: u32 = 4;

/// The number of memories that the pool has at most if it has fewer instances, since each of them takes 4 GiB of
/// address space.
const MAX_POOLED_MEMORIES: u32 = 16 << 10;

/// The largest linear memory that 32-bit addresses reach. The pool reserves this much address space for
/// each instance in any case, so that accesses need no bounds checks; [`Limits`](crate::limits::Limits)
/// decide how much of it a handler can use.
pub const MAX_LINEAR_MEMORY_BYTES: usize = 4 << 30;

/// The capacities of the pool.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// The maximum number of instances alive at once. Admission must enforce a lower limit first.
    pub instances: u32,
    /// The maximum size of any linear memory, in bytes; at most [`MAX_LINEAR_MEMORY_BYTES`].
    pub max_memory_bytes: usize,
    /// The number of bytes at the start of each linear memory that are cleared with `memset` when an
    /// instance ends, instead of being returned to the kernel. Guests linked with their stack first touch
    /// little else, so a new instance takes no page fault. The example row handlers have 192 KiB, which
    /// take 4 us to clear; returning 16 pages and faulting them in again takes 48 us.
    pub memory_keep_resident_bytes: usize,
    /// Clears the native stacks of asynchronous calls before they are reused.
    pub stack_zeroing: bool,
    /// The budget in which the memory of all instances, and the memory that the host holds for them, is
    /// reserved.
    pub memory: Arc<MemoryBudget>,
}

impl Default for EngineOptions {
    fn default() -> EngineOptions {
        EngineOptions {
            instances: 256,
            max_memory_bytes: MAX_LINEAR_MEMORY_BYTES,
            memory_keep_resident_bytes: 256 << 10,
            stack_zeroing: false,
            // The number of instances and their individual limits bound the memory.
            memory: Arc::new(MemoryBudget::new(usize::MAX)),
        }
    }
}

/// wasmtime's engine with its linkers and its clock. Lifetime: the process.
#[derive(Debug)]
pub struct Engine {
    pub(crate) wasmtime: wasmtime::Engine,
    pub(crate) linkers: Linkers,
    pub(crate) memory: Arc<MemoryBudget>,
    max_instances: u32,
    /// The capacities of the pool; `None` without one.
    pooled: Option<EngineOptions>,
    _ticker: Ticker,
}

/// The error for an engine that cannot be created, because the machine does not support its options.
#[derive(Debug, thiserror::Error)]
#[error(
    "failed to set up the Wasm engine for {instances} instances of {max_memory_bytes} bytes each"
)]
pub struct EngineError {
    instances: u32,
    max_memory_bytes: usize,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Engine {
    /// Reserves the pool's address space and starts the ticker.
    pub fn start(options: &EngineOptions) -> Result<Engine, EngineError> {
        let wrap = |source: Box<dyn std::error::Error + Send + Sync>| EngineError {
            instances: options.instances,
            max_memory_bytes: options.max_memory_bytes,
            source,
        };
        let wasmtime =
            wasmtime::Engine::new(&pooled(options)).map_err(|error| wrap(error.into()))?;
        let memory = Arc::clone(&options.memory);
        let engine = Engine::of(wasmtime, memory, options.instances).map_err(wrap)?;
        Ok(Engine {
            pooled: Some(options.clone()),
            ..engine
        })
    }

    /// Starts an engine with the same capacities, whose pool and clock are its own. The memory of its instances is reserved
    /// in the same budget.
    pub fn separate(&self) -> Result<Engine, EngineError> {
        match &self.pooled {
            Some(options) => Engine::start(options),
            None => Engine::without_pool(),
        }
    }

    /// Starts an engine without a pool, whose instances have the memories, tables and instances that they ask for,
    /// as on other hosts. For commands that make few instances.
    pub fn without_pool() -> Result<Engine, EngineError> {
        let wrap = |source: Box<dyn std::error::Error + Send + Sync>| EngineError {
            instances: 1,
            max_memory_bytes: MAX_LINEAR_MEMORY_BYTES,
            source,
        };
        let wasmtime = wasmtime::Engine::new(&running()).map_err(|error| wrap(error.into()))?;
        let EngineOptions {
            memory, instances, ..
        } = EngineOptions::default();
        Engine::of(wasmtime, memory, instances).map_err(wrap)
    }

    /// Adds the linkers and the ticker.
    fn of(
        wasmtime: wasmtime::Engine,
        memory: Arc<MemoryBudget>,
        instances: u32,
    ) -> Result<Engine, Box<dyn std::error::Error + Send + Sync>> {
        let linkers = Linkers::new(&wasmtime)?;
        let ticker = Ticker::spawn(&wasmtime)?;
        Ok(Engine {
            wasmtime,
            linkers,
            memory,
            max_instances: instances,
            pooled: None,
            _ticker: ticker,
        })
    }

    /// Returns the maximum number of instances alive at once.
    pub fn max_instances(&self) -> u32 {
        self.max_instances
    }
}

/// Creates an engine that compiles but runs nothing, so it reserves no memory for instances.
pub(crate) fn compiling_engine() -> wasmtime::Result<wasmtime::Engine> {
    wasmtime::Engine::new(&compilation())
}

/// Returns the settings that the compiling engine and the running engine must share.
fn compilation() -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .epoch_interruption(true)
        .concurrency_support(false)
        // Features that no handler needs, and that most advisories are about.
        .wasm_gc(false)
        .wasm_function_references(false)
        .gc_support(false)
        .wasm_exceptions(false)
        .wasm_threads(false)
        .wasm_memory64(false)
        // The adapters that wasmtime generates between the parts of a composed component have two memories.
        .wasm_multi_memory(true)
        .relaxed_simd_deterministic(true);
    config
}

/// Returns the settings of an engine that runs guests, with instances allocated on demand.
fn running() -> Config {
    let mut config = compilation();
    config
        .max_wasm_stack(MAX_WASM_STACK)
        .async_stack_size(ASYNC_STACK)
        // Half of them belong to a panic. They are collected on traps only.
        .wasm_backtrace_max_frames(NonZeroUsize::new(32));
    config
}

/// Returns the settings of an engine whose instances are in a pool.
fn pooled(options: &EngineOptions) -> Config {
    let mut config = running();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(options)))
        .async_stack_zeroing(options.stack_zeroing);
    config
}

fn pool(options: &EngineOptions) -> PoolingAllocationConfig {
    let instances = options.instances;
    let core_instances = MAX_WEB_CORE_INSTANCES + READING_CORE_INSTANCES;
    let memories = instances.saturating_mul(MAX_MEMORIES);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_stacks(instances)
        .total_core_instances(instances.saturating_mul(core_instances))
        .total_memories(memories.min(MAX_POOLED_MEMORIES).max(instances))
        .total_tables(instances.saturating_mul(MAX_TABLES))
        .max_memory_size(options.max_memory_bytes)
        .max_memories_per_component(MAX_MEMORIES)
        .max_core_instances_per_component(core_instances)
        .max_tables_per_component(MAX_TABLES)
        .linear_memory_keep_resident(options.memory_keep_resident_bytes)
        // Disabled, whatever it would save: in wasmtime 48 the scan overlooks dirty pages that are
        // swapped out or being migrated, and so leaves them, tables included, to the next instance
        // (https://github.com/bytecodealliance/wasmtime/pull/14357).
        .pagemap_scan(Enabled::No)
        .table_keep_resident(16 << 10);
    pool
}

/// The thread that advances the epoch; it ends when the ticker is dropped.
#[derive(Debug)]
struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn spawn(engine: &wasmtime::Engine) -> std::io::Result<Ticker> {
        let (stop, stopped) = channel();
        let engine = engine.clone();
        let thread = std::thread::Builder::new()
            .name("wisp-epoch".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                    engine.increment_epoch();
                }
            })?;
        Ok(Ticker {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The thread does nothing that panics; a panic could not be reported from here.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pagemap_is_never_scanned_for_dirty_pages() {
        // The setting is visible only in the debug output.
        let pool = format!("{:?}", pool(&EngineOptions::default()));
        assert!(pool.contains("pagemap_scan: No"), "{pool}");
    }

    #[test]
    fn a_separate_engine_has_the_same_capacities_and_budget_and_another_pool() -> anyhow::Result<()>
    {
        let engine = Engine::start(&EngineOptions {
            instances: 2,
            memory: Arc::new(MemoryBudget::new(1000)),
            ..EngineOptions::default()
        })?;
        let separate = engine.separate()?;
        assert_eq!(separate.max_instances(), 2);
        assert!(Arc::ptr_eq(&separate.memory, &engine.memory));
        assert!(!wasmtime::Engine::same(
            &separate.wasmtime,
            &engine.wasmtime
        ));
        // One that is separate from a separate one, too.
        assert_eq!(separate.separate()?.max_instances(), 2);
        let unpooled = Engine::without_pool()?;
        assert_eq!(
            unpooled.separate()?.max_instances(),
            unpooled.max_instances()
        );
        Ok(())
    }
}
