//! Tests of limits that only handwritten modules reach: endless code outside of a handler's own functions, further
//! memories and tables, instances without end, and host calls at the end of the stack.
//!
//! Each runs in a sandbox with a single instance. Afterwards a healthy handler gets that instance, and no memory stays
//! reserved.

use crate::harness::sandbox::{Sandbox, call_inline};
use crate::harness::wat_handler::{RESPONSE, SIGNATURE, WatHandler, from_module, static_memory};
use anyhow::{Context, Result, bail, ensure};
use std::time::Duration;
use wasm_encoder::{Component, RawSection};
use wisp_sandbox::handler::{HandlerError, HandlerLoadError};
use wisp_sandbox::limits::Limits;
use wisp_tensor::{ElementType, NamedTensor, Shape, Tensor};

/// A loop without an end, in a function with or without a result.
const ENDLESS: &str = "(loop $again (br $again)) (unreachable)";

fn limits() -> Limits {
    Limits {
        guest_time: Duration::from_millis(100),
        ..Limits::default()
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
    let table = "(drop (table.grow $table (ref.null func) (i32.const 0x7fffffff)))";
    let whole = "(drop (memory.grow (i32.const 65535)))";
    for (what, fields, infer, key) in [
        ("steps", "", steps, "limits.memory_bytes"),
        ("4 GiB at once", "", whole, "limits.memory_bytes"),
        (
            "a table",
            "(table $table 1 funcref)",
            table,
            "limits.table_elements",
        ),
    ] {
        let handler = WatHandler {
            fields,
            infer,
            ..WatHandler::BARE
        };
        let error = failure(&sandbox, &handler.component()?).context(what)?;
        ensure!(error.to_string().contains(key), "{what}: {error}");
        neighbor_is_well(&sandbox).context(what)?;
    }
    Ok(())
}

#[test]
fn modules_with_more_than_the_pool_has_are_refused_before_they_run() -> Result<()> {
    let sandbox = Sandbox::with_one_instance()?;
    let tables = "(table 1 funcref)".repeat(1000);
    let memories = "(memory 1)".repeat(100);
    for (what, fields) in [
        ("tables", tables.as_str()),
        ("memories", memories.as_str()),
        ("a second memory", "(memory 1)"),
        ("a memory of 64 bits", "(memory i64 1)"),
        ("a table of 64 bits", "(table i64 1 funcref)"),
        ("a shared memory", "(memory 1 1 shared)"),
    ] {
        // Some of them are no modules for the tools that make components, which is a refusal too.
        let Ok(wasm) = (WatHandler {
            fields,
            ..WatHandler::BARE
        })
        .component() else {
            continue;
        };
        let refused = !matches!(sandbox.load(&wasm, limits()), Ok(Ok(_)));
        ensure!(refused, "{what} are accepted");
        neighbor_is_well(&sandbox).context(what)?;
    }
    Ok(())
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
