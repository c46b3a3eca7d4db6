//! Tests of limits that only handwritten modules reach: endless code outside of a handler's own functions, the last page
//! and the last element that are allowed, further memories and tables, instances without end, and host calls and the
//! allocator at the end of the stack.
//!
//! Each runs in a sandbox with a single instance. Afterwards a healthy handler gets that instance, and no memory stays
//! reserved.

use crate::harness::sandbox::{Sandbox, call_inline, call_with_log};
use crate::harness::wat_handler::{
    RESPONSE, SIGNATURE, WatHandler, bare_beside, from_module, static_memory,
};
use anyhow::{Context, Result, bail, ensure};
use std::time::Duration;
use wasm_encoder::{Component, RawSection};
use wisp_sandbox::guest_run::TrapCause;
use wisp_sandbox::handler::{HandlerError, HandlerLoadError, HandlerOutcome};
use wisp_sandbox::limits::Limits;
use wisp_tensor::{ElementType, NamedTensor, Shape, Tensor};

/// The size of a page of memory in bytes.
const PAGE: usize = 65_536;

/// A loop without an end, in a function with or without a result.
const ENDLESS: &str = "(loop $again (br $again)) (unreachable)";

fn limits() -> Limits {
    Limits {
        guest_time: Duration::from_millis(100),
        ..Limits::default()
    }
}

/// Returns the same limits with time for what ends at another one, on a busy machine too.
fn ample() -> Limits {
    Limits {
        guest_time: Duration::from_secs(30),
        ..limits()
    }
}

fn number() -> Result<NamedTensor> {
    let content = 5_u32.to_le_bytes().to_vec();
    Ok(NamedTensor {
        name: "x".to_owned(),
        tensor: Tensor::new(ElementType::Uint32, Shape::new(vec![1])?, content.into())?,
    })
}

/// Returns a module whose allocator and signature have these instructions.
fn module(allocator: &str, signature: &str) -> Result<Vec<u8>> {
    let data: String = (static_memory().iter())
        .map(|byte| format!("\\{byte:02x}"))
        .collect();
    let text = format!(
        r#"(module
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {allocator})
            (func (export "wisp:handler/model@0.1.0#signature") (result i32) {signature})
            (func (export "wisp:handler/model@0.1.0#infer")
                (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const {RESPONSE}))
            (data (i32.const {SIGNATURE}) "{data}"))"#
    );
    from_module(&wat::parse_str(text)?)
}

/// Returns the outcome of the first call of a handler with these fields, whose `infer` has these instructions.
fn outcome(sandbox: &Sandbox, fields: &str, infer: &str) -> Result<HandlerOutcome> {
    let handler = WatHandler {
        fields,
        infer,
        ..WatHandler::BARE
    };
    let handler = sandbox.load(&handler.component()?, ample())??;
    Ok(call_with_log(&handler, &[number()?]))
}

/// Returns the error of loading a handler, or of its first call. The bytes of a component that is refused without
/// running it are an error too.
fn failure(sandbox: &Sandbox, wasm: &[u8]) -> Result<HandlerError> {
    let handler = match sandbox.load(wasm, limits())? {
        Ok(handler) => handler,
        Err(HandlerLoadError::Signature(error)) => return Ok(error),
        Err(error @ HandlerLoadError::Contract { .. }) => return Err(error.into()),
    };
    match call_inline(&handler, &[number()?]) {
        Ok(answer) => bail!("it is not stopped: {answer:?}"),
        Err(error) => Ok(error),
    }
}

/// Checks that the only instance is free and clean.
fn neighbor_is_well(sandbox: &Sandbox) -> Result<()> {
    let healthy = sandbox.load(&WatHandler::BARE.component()?, limits())??;
    let answer = call_inline(&healthy, &[number()?])?;
    ensure!(answer.outputs.len() == 1, "{answer:?}");
    drop(answer);
    let reserved = sandbox.reserved_bytes();
    ensure!(reserved == 0, "{reserved} bytes are reserved");
    Ok(())
}

#[test]
fn endless_code_ends_at_its_time_limit_wherever_it_is() -> Result<()> {
    let sandbox = Sandbox::with_one_instance()?;
    let start = format!("(func $start {ENDLESS}) (start $start)");
    let after = format!(
        r#"(func (export "cabi_post_wisp:handler/model@0.1.0#infer") (param i32) {ENDLESS})"#
    );
    let fields = |fields| {
        WatHandler {
            fields,
            ..WatHandler::BARE
        }
        .component()
    };
    for (place, wasm) in [
        ("the start function", fields(&start)?),
        ("the function after a response", fields(&after)?),
        ("the allocator", module(ENDLESS, "(i32.const 1024)")?),
        ("the signature", module("(i32.const 8192)", ENDLESS)?),
    ] {
        let error = failure(&sandbox, &wasm).context(place)?;
        ensure!(
            matches!(error, HandlerError::GuestTime { .. }),
            "{place}: {error:?}"
        );
        neighbor_is_well(&sandbox).context(place)?;
    }
    Ok(())
}

#[test]
fn memories_and_tables_end_at_their_limits() -> Result<()> {
    let sandbox = Sandbox::with_one_instance()?;
    // Each loop ends only if growing is refused without a trap.
    let steps = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))";
    let tenths = "(loop $more (br_if $more (i32.ne
        (memory.grow (i32.add (i32.div_u (memory.size) (i32.const 10)) (i32.const 1)))
        (i32.const -1))))";
    let whole = "(drop (memory.grow (i32.const 65535)))";
    let table = "(table $table 1 funcref)";
    let grown = |elements: u32| {
        format!("(drop (table.grow $table (ref.null func) (i32.const {elements})))")
    };
    let (memory, elements) = ("limits.memory_bytes", "limits.table_elements");
    let most = limits().table_elements;
    let one_too_many = grown(u32::try_from(most)?);
    let (half, all) = (grown(u32::MAX / 2), grown(u32::MAX));
    // With the number of pages that the instance has in the end: as many as fit, or none but the first.
    for (what, fields, infer, key, pages) in [
        ("steps", "", steps, memory, 1 + 127 * 16..=1 + 127 * 16),
        ("steps of a tenth", "", tenths, memory, 1024..=2048),
        ("4 GiB at once", "", whole, memory, 1..=1),
        (
            "an element too many",
            table,
            one_too_many.as_str(),
            elements,
            1..=1,
        ),
        (
            "half of all elements",
            table,
            half.as_str(),
            elements,
            1..=1,
        ),
        ("all elements", table, all.as_str(), elements, 1..=1),
    ] {
        let ended = outcome(&sandbox, fields, infer).context(what)?;
        let error = ended.result.err().context(what)?;
        ensure!(error.to_string().contains(key), "{what}: {error}");
        let used = ended.run.usage.peak_memory_bytes / PAGE;
        ensure!(pages.contains(&used), "{what}: {used} pages");
        neighbor_is_well(&sandbox).context(what)?;
    }
    // The last page and the last element that are allowed.
    let allowed = format!(
        "(drop (memory.grow (i32.const {}))) {}",
        limits().memory_bytes / PAGE - 1,
        grown(u32::try_from(most - 1)?)
    );
    let ended = outcome(&sandbox, table, &allowed)?;
    ended.result.context("less than the limits is refused")?;
    ensure!(ended.run.usage.peak_memory_bytes == limits().memory_bytes);
    neighbor_is_well(&sandbox)
}

/// Returns the error of loading a handler with its causes, or `None` if it is loaded.
fn refusal(sandbox: &Sandbox, wasm: &[u8]) -> Option<String> {
    match sandbox.load(wasm, ample()) {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(format!("{:#}", anyhow::Error::new(error))),
        Err(error) => Some(format!("{error:#}")),
    }
}

#[test]
fn modules_with_more_than_the_pool_has_are_refused_before_they_run() -> Result<()> {
    const UNREACHABLE: &str = "unreachable";
    let sandbox = Sandbox::with_one_instance()?;
    // A function that traps as soon as its module runs.
    let start = "(func $start unreachable) (start $start)";
    let ran = refusal(&sandbox, &bare_beside(start)?).context("it does not run")?;
    ensure!(ran.contains(UNREACHABLE), "{ran}");
    let little = refusal(
        &sandbox,
        &bare_beside("(table 1 funcref) (memory 1) (func)")?,
    );
    ensure!(little.is_none(), "{little:?}");
    let (tables, memories) = ("(table 1 funcref)", "(memory 1)");
    for (what, fields) in [
        ("20 tables", tables.repeat(20)),
        ("a hundred thousand tables", tables.repeat(100_000)),
        ("two memories", memories.repeat(2)),
        ("a hundred memories", memories.repeat(100)),
        ("a memory of 64 bits", "(memory i64 1)".to_owned()),
        ("a table of 64 bits", "(table i64 1 funcref)".to_owned()),
        ("a shared memory", "(memory 1 1 shared)".to_owned()),
        (
            "a table of all elements",
            "(table 0xffffffff funcref)".to_owned(),
        ),
    ] {
        let wasm = bare_beside(&format!("{fields} {start}"))?;
        let refused = refusal(&sandbox, &wasm).with_context(|| format!("{what} are accepted"))?;
        ensure!(!refused.contains(UNREACHABLE), "{what} run: {refused}");
        neighbor_is_well(&sandbox).context(what)?;
    }
    // All memories of a handler count towards one limit, also those that it has from the beginning.
    let wasm = bare_beside(&format!("(memory 2048) {start}"))?;
    let refused = refusal(&sandbox, &wasm).context("2048 pages")?;
    ensure!(refused.contains("limits.memory_bytes"), "{refused}");
    neighbor_is_well(&sandbox)
}

#[test]
fn ten_thousand_instances_of_a_module_are_refused() -> Result<()> {
    const COUNT: u16 = 10_000;
    const CORE_INSTANCE: u8 = 2;
    let sandbox = Sandbox::with_one_instance()?;
    // The number in two bytes of LEB128, then instances of the first module, without arguments.
    let [low, high] = [(COUNT & 0x7f) | 0x80, COUNT >> 7].map(|part| part.to_le_bytes()[0]);
    let instances = [0_u8, 0, 0].repeat(usize::from(COUNT));
    let data = [&[low, high][..], &instances].concat();
    let mut sections = Component::new();
    sections.section(&RawSection {
        id: CORE_INSTANCE,
        data: &data,
    });
    let sections = sections.finish();
    let wasm = [
        WatHandler::BARE.component()?.as_slice(),
        sections.get(8..).context("a header")?,
    ]
    .concat();
    let refusal = sandbox
        .load(&wasm, limits())
        .err()
        .context("it is loaded")?;
    let text = format!("{refusal:#}");
    ensure!(text.contains("core instances, the limit is 4"), "{text}");
    neighbor_is_well(&sandbox)
}

#[test]
fn host_calls_at_the_end_of_the_stack_are_traps_and_no_crash() -> Result<()> {
    let sandbox = Sandbox::with_one_instance()?;
    let calls = [
        // A message of the log, and a tensor of 4 KiB.
        "(call $log (i32.const 2) (i32.const 1200) (i32.const 1) (i32.const 1200) (i32.const 2))",
        "(call $drop (call $tensor
            (i32.const 1208) (i32.const 1) (i32.const 5) (i32.const 4096) (i32.const 1)))",
    ];
    for call in calls {
        let fields = format!(
            "(func $deeper (param i64) (local i64 i64 i64 i64)
                {call}
                (call $deeper (i64.add (local.get 0) (i64.const 1))))"
        );
        let handler = WatHandler {
            imports: r#"
                (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[constructor]tensor"
                    (func $tensor (param i32 i32 i32 i32 i32) (result i32)))
                (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[resource-drop]tensor"
                    (func $drop (param i32)))
                (import "wasi:logging/logging@0.1.0-draft" "log"
                    (func $log (param i32 i32 i32 i32 i32)))"#,
            fields: &fields,
            infer: "(call $deeper (i64.const 0))",
            ..WatHandler::BARE
        };
        let error = failure(&sandbox, &handler.component()?)?;
        // On a busy machine, the guest's time may be over first.
        ensure!(
            matches!(
                error,
                HandlerError::Failed { .. } | HandlerError::GuestTime { .. }
            ),
            "{error:?}"
        );
        neighbor_is_well(&sandbox)?;
    }
    Ok(())
}

#[test]
fn an_allocator_that_calls_itself_for_ever_ends_the_call() -> Result<()> {
    let sandbox = Sandbox::with_one_instance()?;
    // The first function of the module is the allocator, which the host calls while it passes the request on.
    let again = "(call 0 (local.get 0) (local.get 1) (local.get 2) (local.get 3))";
    let wasm = module(again, "(i32.const 1024)")?;
    let handler = sandbox.load(&wasm, ample())??;
    let ended = call_with_log(&handler, &[number()?]);
    ensure!(
        matches!(ended.result, Err(HandlerError::Failed { .. })),
        "{ended:?}"
    );
    ensure!(
        ended.run.trap == Some(TrapCause::StackOverflow),
        "{ended:?}"
    );
    neighbor_is_well(&sandbox)
}
