//! Canary tests: data that an instance leaves in memory, globals and tables is never visible to another
//! instance.
//!
//! Instances of one model plant canaries, and the next instances of the same and of another model search
//! for them, in calls with and without a fiber, with the machine idle and with the kernel moving pages.

use crate::harness::wat_handler::{ANSWER, WatHandler};
use crate::harness::{Gate, Repository, TestOptions, TestServer, component, output, scale};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

mod pressure;

/// The number that is sent to a handler, which selects its action.
const SCAN: u32 = 0;
const PLANT: u32 = 1;
const PLANT_AND_SCAN: u32 = 2;
/// Like [`PLANT`], followed by a computation, during which the instance waits with all its canaries in
/// place.
const PLANT_AND_COMPUTE: u32 = 3;

/// Instances that plant canaries at the same time, per model.
const PLANTERS: usize = 4;

/// The maximum number of scans at the same time, per model. It exceeds the number of planters.
const SCANNERS: usize = 6;

/// Returns a handler that fills or scans a table of 4,096 functions, eight globals, and all of its
/// memory beyond the first 64 KiB, including eight pages that it adds. It returns the number of
/// elements, globals and words that differ from those of a new instance.
fn canary() -> Result<Vec<u8>> {
    let names: Vec<String> = (0..8).map(|number| format!("$canary{number}")).collect();
    let each =
        |line: &dyn Fn(&str) -> String| -> String { names.iter().map(|name| line(name)).collect() };
    let globals = each(&|name| format!("(global {name} (mut i64) (i64.const 0))"));
    let plant_globals = each(&|name| format!("(global.set {name} (i64.const 0x5ec4e75ec4e7))"));
    let count_globals = each(&|name| {
        format!(
            "(local.set $count (i32.add (local.get $count)
                (i32.eqz (i64.eqz (global.get {name})))))"
        )
    });
    let fields = format!(
        r#"{globals}
        (table $table 4096 funcref)
        (elem declare func $nothing)
        (func $nothing)
        (data (i32.const 3072) "model")
        (data (i32.const 3080) "features")
        (data (i32.const 3088) "\01\00\00\00\0a\00\00\00")
        (data (i32.const 3104) "\08\0c\00\00\08\00\00\00")
        (func $compute
            (call $load_by_name (i32.const 3072) (i32.const 5) (i32.const 3200))
            (call $init (i32.load (i32.const 3204)) (i32.const 3200))
            (i32.store (i32.const 3112) (call $tensor
                (i32.const 3088) (i32.const 2) (i32.const 1) (i32.const 3300) (i32.const 40)))
            (call $infer
                (i32.load (i32.const 3204)) (i32.const 3104) (i32.const 1) (i32.const 3216)))"#
    );
    let infer = format!(
        r#"(drop (memory.grow (i32.const 8)))
        (if (local.get $x) (then
            (loop $elements
                (table.set $table (local.get $i) (ref.func $nothing))
                (br_if $elements (i32.lt_u
                    (local.tee $i (i32.add (local.get $i) (i32.const 1)))
                    (i32.const 4096))))
            {plant_globals}
            (memory.fill (i32.const 65536) (i32.const 0xa5)
                (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 65536)))))
        (if (i32.eq (local.get $x) (i32.const {PLANT_AND_COMPUTE})) (then (call $compute)))
        (if (i32.or
                (i32.eq (local.get $x) (i32.const {SCAN}))
                (i32.eq (local.get $x) (i32.const {PLANT_AND_SCAN})))
            (then
                (local.set $i (i32.const 0))
                (loop $elements
                    (local.set $count (i32.add (local.get $count)
                        (i32.eqz (ref.is_null (table.get $table (local.get $i))))))
                    (br_if $elements (i32.lt_u
                        (local.tee $i (i32.add (local.get $i) (i32.const 1)))
                        (i32.const 4096))))
                (i32.store (i32.const {ANSWER}) (local.get $count))
                (local.set $count (i32.const 0))
                {count_globals}
                (i32.store offset=4 (i32.const {ANSWER}) (local.get $count))
                (local.set $count (i32.const 0))
                (local.set $i (i32.const 65536))
                (loop $words
                    (local.set $count (i32.add (local.get $count)
                        (i32.eqz (i64.eqz (i64.load (local.get $i))))))
                    (br_if $words (i32.lt_u
                        (local.tee $i (i32.add (local.get $i) (i32.const 8)))
                        (i32.shl (memory.size) (i32.const 16)))))
                (i32.store offset=8 (i32.const {ANSWER}) (local.get $count))))"#
    );
    WatHandler {
        pages: 16,
        imports: r#"
            (import "wasi:nn/graph@0.2.0-rc-2024-10-28" "load-by-name"
                (func $load_by_name (param i32 i32 i32)))
            (import "wasi:nn/graph@0.2.0-rc-2024-10-28" "[method]graph.init-execution-context"
                (func $init (param i32 i32)))
            (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[constructor]tensor"
                (func $tensor (param i32 i32 i32 i32 i32) (result i32)))
            (import "wasi:nn/inference@0.2.0-rc-2024-10-28" "[method]graph-execution-context.compute"
                (func $infer (param i32 i32 i32 i32)))"#,
        fields: &fields,
        infer: &infer,
    }
    .component()
}

/// Creates two models with tables and globals, and two with the hostile handler, which also plants in
/// the host.
fn repository() -> Result<Repository> {
    let hostile = Some(component("hostile_guest")?);
    let canary = canary()?;
    Repository::empty()?
        .with_model("hostile", "progression", hostile)?
        .with_model("other_hostile", "progression", hostile)?
        .with_model("canary", "progression", None)?
        .with_file("canary/1/handler.wasm", &canary)?
        .with_model("other_canary", "progression", None)?
        .with_file("other_canary/1/handler.wasm", &canary)
}

/// Returns the canary handler's counts of elements, globals and words.
fn ask(server: &TestServer, model: &str, what: u32) -> Result<[u64; 3]> {
    let request = json!({ "inputs": [
        { "name": "x", "datatype": "UINT32", "shape": [1], "data": [what] },
    ] });
    let response = server.infer(model, &request)?.ok()?;
    let found = output(&response, "y")?["data"].as_array();
    let found = found.context("no data")?.iter().map(Value::as_u64);
    let found: Option<Vec<u64>> = found.collect();
    found
        .and_then(|found| found.try_into().ok())
        .with_context(|| response.to_string())
}

/// Returns the hostile handler's count of copies of the secret, planted or found.
fn behave(server: &TestServer, model: &str, behaviour: &str) -> Result<u64> {
    // The secret is sent inverted, so that the request that searches for it does not contain it.
    let request = json!({ "inputs": [
        { "name": "behaviour", "datatype": "BYTES", "shape": [1], "data": [behaviour] },
        { "name": "secret", "datatype": "BYTES", "shape": [1], "data": ["nobody may read this"] },
    ] });
    let response = server.infer(model, &request)?.ok()?;
    let outcome = output(&response, "outcome")?["data"][0].as_str();
    Ok(outcome.context("the outcome is no string")?.parse()?)
}

/// Checks that an instance finds its own canaries. Otherwise a scan without results would prove nothing.
fn scans_find(server: &TestServer) -> Result<()> {
    let words = (16 + 8 - 1) * 65_536 / 8;
    ensure!(ask(server, "canary", PLANT_AND_SCAN)? == [4096, 8, words]);
    ensure!(behave(server, "hostile", "plant_and_scan")? > 0);
    Ok(())
}

/// Checks that instances of the planting model and of another model find nothing.
fn nothing_is_found(server: &TestServer, round: usize) -> Result<()> {
    for model in ["canary", "other_canary"] {
        let found = ask(server, model, SCAN)?;
        ensure!(found == [0, 0, 0], "round {round}, `{model}`: {found:?}");
    }
    for model in ["hostile", "other_hostile"] {
        let found = behave(server, model, "scan")?;
        ensure!(found == 0, "round {round}, `{model}`: {found}");
    }
    Ok(())
}

fn plant_and_look(server: &TestServer, rounds: usize) -> Result<()> {
    scans_find(server)?;
    for round in 0..rounds {
        ask(server, "canary", PLANT)?;
        ensure!(behave(server, "hostile", "plant")? > 0);
        nothing_is_found(server, round)?;
    }
    Ok(())
}

#[test]
fn data_of_one_instance_is_never_visible_to_the_next() -> Result<()> {
    // Most calls are direct, on few threads, so that instances follow each other closely.
    let options = TestOptions {
        direct_calls: true,
        ..TestOptions::default()
    };
    plant_and_look(
        &TestServer::with_options(repository()?, options)?,
        50 * scale(),
    )
}

#[test]
#[expect(
    clippy::print_stdout,
    reason = "a log must tell what the kernel could be made to do"
)]
fn data_of_instances_whose_pages_the_kernel_moves_is_never_visible_again() -> Result<()> {
    for _ in 0..scale().div_ceil(100) {
        let gate = Gate::default();
        let options = TestOptions {
            gate: Some(gate.clone()),
            ..TestOptions::default()
        };
        let server = TestServer::with_options(repository()?, options)?;
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let plant = |_| {
                let canary = || ask(&server, "canary", PLANT_AND_COMPUTE).map(|_| ());
                let hostile = || behave(&server, "hostile", "plant_and_compute").map(|_| ());
                [scope.spawn(canary), scope.spawn(hostile)]
            };
            let planters: Vec<_> = (0..PLANTERS).flat_map(plant).collect();
            // Planters whose computations have begun have planted; the others may be about to.
            gate.wait_for(4)?;
            let compaction = scope.spawn(|| pressure::compact(&stop));
            let paged_out = pressure::page_out();
            gate.open();
            for planter in planters {
                planter.join().expect("it does not panic")?;
            }
            let scan = |round| {
                let server = &server;
                scope.spawn(move || nothing_is_found(server, round))
            };
            let scanners: Vec<_> = (0..SCANNERS).map(scan).collect();
            let scanned = scanners
                .into_iter()
                .try_for_each(|scanner| scanner.join().expect("it does not panic"));
            let planted = plant_and_look(&server, 10);
            stop.store(true, Relaxed);
            let compactions = compaction.join().expect("it does not panic");
            println!("pages out: {paged_out}; memory compactions: {compactions}");
            scanned.and(planted)
        })?;
    }
    Ok(())
}
