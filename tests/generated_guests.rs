//! Generated handlers: random functions behind the contract, random modules beside a healthy handler, and mutants of
//! real handlers. Each is deployed and called, and so is a neighbor after it.
//!
//! No case may panic, hang, keep memory or an instance, or change what the neighbor computes. A scale of 1 covers
//! about a thousand cases, of which about 750 are loaded and called. `WISP_TEST_SCALE=150 cargo test --test integration
//! generated_guests` loads and calls more than 100,000. A test fails if far fewer of its cases are loaded or respond than
//! usual. The random numbers are derived from the number of the case, which every failure reports.

mod driven_module;
mod mutation;
mod neighborhood;

use self::driven_module::driven;
use self::mutation::Original;
use self::neighborhood::{Counts, Neighborhood, Shares, limits};
use crate::harness::numbers::Numbers;
use crate::harness::wat_handler::{
    WatHandler, beside, dummy_module, from_module, generated_module,
};
use crate::harness::{TIMEOUT, component, scale};
use anyhow::{Context, Result, bail, ensure};
use std::sync::mpsc::{RecvTimeoutError, channel};
use wisp_sandbox::limits::Limits;
use wisp_serving::fair_pool::STACK_BYTES;

/// The number of generated modules of each kind, at scale 1.
const MODULES: usize = 350;

/// The number of mutants of each real handler at scale 1. Compiling one takes a hundred times as long as a module.
const MUTANTS: usize = 4;

/// The shares of random functions behind the contract. Usually, three of four are loaded and one of ten responds: most
/// of the code traps.
const CONTRACT: Shares = Shares {
    loaded: 3,
    answered: 20,
};

/// The shares of random modules beside a handler. Usually, half of them are loaded, and the handlers of these respond.
const BESIDE: Shares = Shares {
    loaded: 4,
    answered: 4,
};

/// The shares of mutants of a handler that computes. Usually, nine of ten are loaded and one of four responds.
const MUTATED: Shares = Shares {
    loaded: 2,
    answered: 10,
};

/// The shares of mutants of real handlers, nearly all of which are loaded. A real handler may refuse a request of zeros, so
/// that no number of responses is required.
const MUTATED_REAL: Shares = Shares {
    loaded: 2,
    answered: usize::MAX,
};

/// Runs the cases on a thread of its own, in order, and fails if one does not end.
fn each_ends(
    cases: usize,
    mut run: impl FnMut(usize) -> Result<()> + Send + 'static,
) -> Result<()> {
    let (begun, cases_begun) = channel();
    // The stack of a thread that calls handlers directly.
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    let worker = thread.spawn(move || -> Result<()> {
        for case in 0..cases {
            begun.send(case).context("nobody waits")?;
            run(case).with_context(|| format!("case {case}"))?;
        }
        Ok(())
    })?;
    let mut last = 0;
    loop {
        match cases_begun.recv_timeout(TIMEOUT) {
            Ok(case) => last = case,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => bail!("case {last} does not end"),
        }
    }
    match worker.join() {
        Ok(outcome) => outcome,
        Err(_) => bail!("case {last} panics"),
    }
}

#[test]
fn random_functions_behind_the_contract_are_called_and_spare_their_neighbor() -> Result<()> {
    let neighborhood = Neighborhood::new()?;
    let shape = dummy_module()?;
    let mut counts = Counts::default();
    let cases = MODULES * scale();
    each_ends(cases, move |case| {
        let mut numbers = Numbers::of(case);
        let config = wasm_smith::Config {
            module_shape: Some(shape.clone()),
            min_funcs: 8,
            max_memory32_bytes: 2 << 20,
            max_table_elements: 1000,
            memory64_enabled: false,
            threads_enabled: false,
            exceptions_enabled: false,
            reference_types_enabled: false,
            gc_enabled: false,
            // Code without traps runs longer, and calls more.
            disallow_traps: numbers.of_these(&[true, false]),
            ..wasm_smith::Config::default()
        };
        if let Some(module) = generated_module(config, &numbers.bytes(4096))? {
            let module = driven(&module, &mut numbers)?;
            neighborhood.visit(case, &from_module(&module)?, &mut counts)?;
        }
        match case + 1 == cases {
            true => neighborhood.finish(cases, &counts, CONTRACT),
            false => Ok(()),
        }
    })
}

#[test]
fn random_modules_beside_a_handler_are_refused_or_spare_their_neighbor() -> Result<()> {
    let neighborhood = Neighborhood::new()?;
    let healthy = WatHandler::BARE.component()?;
    let mut counts = Counts::default();
    let cases = MODULES * scale();
    each_ends(cases, move |case| {
        let mut numbers = Numbers::of(case);
        // In half of the cases everything that the generator knows, with sizes up to those of the standard.
        let is_modest = numbers.of_these(&[true, false]);
        let config = wasm_smith::Config {
            max_imports: 0,
            max_memories: numbers.of_these(&[1, 1, 8]),
            max_tables: numbers.of_these(&[1, 1, 20]),
            max_memory32_bytes: if is_modest { 2 << 20 } else { 4 << 30 },
            max_table_elements: if is_modest { 1000 } else { 10_000_000 },
            memory64_enabled: !is_modest,
            threads_enabled: !is_modest,
            exceptions_enabled: !is_modest,
            reference_types_enabled: !is_modest,
            gc_enabled: !is_modest,
            ..wasm_smith::Config::default()
        };
        if let Some(module) = generated_module(config, &numbers.bytes(4096))? {
            ensure!(
                neighborhood.sandbox.load(&module, limits()).is_err(),
                "a core module is no handler"
            );
            neighborhood.visit(case, &beside(&healthy, &module)?, &mut counts)?;
        }
        match case + 1 == cases {
            true => neighborhood.finish(cases, &counts, BESIDE),
            false => Ok(()),
        }
    })
}

/// Returns a handler that computes with its graph, in few instructions.
fn computing_handler() -> Result<Vec<u8>> {
    WatHandler {
        pages: 1,
        imports: r#"
            (import "wasi:nn/graph@0.2.0-rc-2024-10-28" "load-by-name"
                (func $load_by_name (param i32 i32 i32)))
            (import "wasi:nn/graph@0.2.0-rc-2024-10-28" "[method]graph.init-execution-context"
                (func $init (param i32 i32)))
            (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[constructor]tensor"
                (func $tensor (param i32 i32 i32 i32 i32) (result i32)))
            (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[method]tensor.data"
                (func $data (param i32 i32)))
            (import "wasi:nn/inference@0.2.0-rc-2024-10-28" "[method]graph-execution-context.compute"
                (func $infer (param i32 i32 i32 i32)))
            (import "wasi:logging/logging@0.1.0-draft" "log"
                (func $log (param i32 i32 i32 i32 i32)))"#,
        fields: r#"
            (data (i32.const 3072) "model")
            (data (i32.const 3080) "features")
            (data (i32.const 3088) "\01\00\00\00\0a\00\00\00")
            (data (i32.const 3104) "\08\0c\00\00\08\00\00\00")"#,
        infer: "
            (call $log (i32.const 2) (i32.const 3072) (i32.const 5) (i32.const 3080) (i32.const 8))
            (call $load_by_name (i32.const 3072) (i32.const 5) (i32.const 3200))
            (call $init (i32.load (i32.const 3204)) (i32.const 3200))
            (i32.store (i32.const 3112) (call $tensor
                (i32.const 3088) (i32.const 2) (i32.const 1) (i32.const 3300) (i32.const 40)))
            (call $data (i32.load (i32.const 3112)) (i32.const 3400))
            (call $infer
                (i32.load (i32.const 3204)) (i32.const 3104) (i32.const 1) (i32.const 3216))",
    }
    .component()
}

/// Calls this many mutants of a handler, of which these shares must be loaded and respond.
fn mutants_are_harmless(wasm: Vec<u8>, cases: usize, shares: Shares) -> Result<()> {
    let neighborhood = Neighborhood::new()?;
    let original = Original::new(wasm.clone())?;
    let mut counts = Counts::default();
    let loaded = neighborhood.sandbox.load(&wasm, Limits::default())?;
    loaded.context("the original is no handler")?;
    each_ends(cases, move |case| {
        let mutant = original.mutated(&mut Numbers::of(case));
        let mutant = mutant.context("no mutation is valid")?;
        neighborhood.visit(case, &mutant, &mut counts)?;
        match case + 1 == cases {
            true => neighborhood.finish(cases, &counts, shares),
            false => Ok(()),
        }
    })
}

#[test]
fn mutants_of_a_handler_that_computes_spare_their_neighbor() -> Result<()> {
    mutants_are_harmless(computing_handler()?, MODULES * scale(), MUTATED)
}

#[test]
fn mutants_of_real_handlers_spare_their_neighbor() -> Result<()> {
    for handler in ["progression", "wine"] {
        let wasm = std::fs::read(component(handler)?)?;
        mutants_are_harmless(wasm, MUTANTS * scale(), MUTATED_REAL).context(handler)?;
    }
    Ok(())
}
