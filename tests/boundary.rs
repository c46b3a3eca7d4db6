//! Fuzz tests of the boundary between guests and the host, with guests that violate the contract: random
//! modules, responses of random bytes, and calls of wasi:nn and wasi:logging with random arguments.
//!
//! Every case must end in a response that keeps the contract or in a failure of the guest, never in a
//! failure of the host, and the host must retain nothing. The random numbers are derived from the number
//! of the case, which every failure reports.

use crate::harness::numbers::Numbers;
use crate::harness::sandbox::{Sandbox, call_inline, keeps_the_contract};
use crate::harness::scale;
use crate::harness::wat_handler::{
    WatHandler, dummy_module, from_module, from_module_with, generated_module,
};
use anyhow::{Context, Result, ensure};
use std::time::Duration;
use wisp_sandbox::handler::HandlerError;
use wisp_sandbox::limits::Limits;
use wisp_tensor::{ElementType, NamedTensor, Shape, Tensor};
use wit_component::StringEncoding;

/// Returns limits under which a guest without an end does not take long.
fn short() -> Limits {
    Limits {
        guest_time: Duration::from_millis(500),
        ..Limits::default()
    }
}

/// Checks that a case has left no reservation behind.
fn retains_nothing(sandbox: &Sandbox, case: usize) -> Result<()> {
    let reserved = sandbox.reserved_bytes();
    ensure!(reserved == 0, "case {case} leaves {reserved} bytes behind");
    Ok(())
}

/// Returns the input that carries the instructions for a guest.
fn carrying(bytes: Vec<u8>) -> Result<NamedTensor> {
    let length = u32::try_from(bytes.len())?;
    let shape = Shape::new(vec![length])?;
    Ok(NamedTensor {
        name: "x".to_owned(),
        tensor: Tensor::new(ElementType::Uint8, shape, bytes.into())?,
    })
}

#[test]
fn random_bytes_as_a_response_are_accepted_or_refused() -> Result<()> {
    let sandbox = Sandbox::start()?;
    // The guest copies the input over its response, the records and the memory that they point to.
    let wasm = WatHandler {
        pages: 1100,
        imports: "",
        fields: "",
        infer: "(memory.copy (i32.const 2048)
            (i32.load offset=20 (local.get $inputs)) (i32.load offset=24 (local.get $inputs)))",
    };
    let handler = sandbox.load(&wasm.component()?, short())??;
    let (cases, mut answers) = (300 * scale(), 0);
    for case in 0..cases {
        let mut numbers = Numbers::of(case);
        let words = numbers.of_these(&[5, 15, 40, 200, 500]);
        let mut bytes: Vec<u8> = (0..words)
            .flat_map(|_| numbers.word().to_le_bytes())
            .collect();
        // With equal probability: a response with few outputs, one with too many, a failure with a
        // message, or random bytes.
        let head: &[u32] = match numbers.next() % 4 {
            0 => &[0, 2080, 1, 0, 0, 0, 0, 0],
            1 => &[0, 2080, 1025, 0, 0, 0, 0, 0],
            2 => &[1, 0, 2112, 64 << 20, 0, 0, 0, 0],
            _ => &[],
        };
        let head: Vec<u8> = head.iter().flat_map(|word| word.to_le_bytes()).collect();
        let length = head.len().min(bytes.len());
        bytes[..length].copy_from_slice(&head[..length]);
        let outcome = call_inline(&handler, &[carrying(bytes)?]);
        keeps_the_contract(&outcome).with_context(|| format!("case {case}"))?;
        answers += usize::from(outcome.is_ok());
        drop(outcome);
        retains_nothing(&sandbox, case)?;
    }
    // Usually, one of twenty.
    ensure!(answers >= cases / 40, "{answers} answers of {cases}");
    Ok(())
}

#[test]
fn calls_of_the_host_with_random_arguments_return_or_end_the_guest() -> Result<()> {
    const IMPORTS: &str = r#"
        (import "wasi:nn/graph@0.2.0-rc-2024-10-28" "load-by-name"
            (func $load_by_name (param i32 i32 i32)))
        (import "wasi:nn/graph@0.2.0-rc-2024-10-28" "load"
            (func $load (param i32 i32 i32 i32 i32)))
        (import "wasi:nn/graph@0.2.0-rc-2024-10-28" "[method]graph.init-execution-context"
            (func $init (param i32 i32)))
        (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[constructor]tensor"
            (func $tensor (param i32 i32 i32 i32 i32) (result i32)))
        (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[method]tensor.data"
            (func $data (param i32 i32)))
        (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[method]tensor.dimensions"
            (func $dimensions (param i32 i32)))
        (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[resource-drop]tensor"
            (func $drop_tensor (param i32)))
        (import "wasi:nn/inference@0.2.0-rc-2024-10-28" "[method]graph-execution-context.compute"
            (func $compute (param i32 i32 i32 i32)))
        (import "wasi:nn/errors@0.2.0-rc-2024-10-28" "[method]error.data"
            (func $error_data (param i32 i32)))
        (import "wasi:logging/logging@0.1.0-draft" "log"
            (func $log (param i32 i32 i32 i32 i32)))"#;
    let sandbox = Sandbox::start()?;
    // The guest calls one function after the other. The input selects the functions and their five
    // arguments.
    let calls = [
        "(call $load_by_name (local.get $a) (local.get $b) (local.get $c))",
        "(call $load (local.get $a) (local.get $b) (local.get $c) (local.get $d) (local.get $e))",
        "(call $init (local.get $a) (local.get $b))",
        "(drop (call $tensor
            (local.get $a) (local.get $b) (local.get $c) (local.get $d) (local.get $e)))",
        "(call $data (local.get $a) (local.get $b))",
        "(call $dimensions (local.get $a) (local.get $b))",
        "(call $drop_tensor (local.get $a))",
        "(call $compute (local.get $a) (local.get $b) (local.get $c) (local.get $d))",
        "(call $error_data (local.get $a) (local.get $b))",
        "(call $log (local.get $a) (local.get $b) (local.get $c) (local.get $d) (local.get $e))",
    ];
    let calls: String = (calls.iter().enumerate())
        .map(|(number, call)| {
            format!("(if (i32.eq (local.get $x) (i32.const {number})) (then {call}))")
        })
        .collect();
    let arguments: String = (["a", "b", "c", "d", "e"].iter().enumerate())
        .map(|(at, name)| {
            let offset = 4 * (at + 1);
            format!("(local.set ${name} (i32.load offset={offset} (local.get $at)))")
        })
        .collect();
    let fields = format!(
        "(func $calls (param $at i32) (param $end i32)
            (local $x i32) (local $a i32) (local $b i32) (local $c i32) (local $d i32) (local $e i32)
            (loop $next
                (if (i32.le_u (i32.add (local.get $at) (i32.const 24)) (local.get $end)) (then
                    (local.set $x (i32.load (local.get $at)))
                    {arguments}
                    {calls}
                    (local.set $at (i32.add (local.get $at) (i32.const 24)))
                    (br $next)))))"
    );
    let wasm = WatHandler {
        pages: 1100,
        imports: IMPORTS,
        fields: &fields,
        infer: "(call $calls (i32.load offset=20 (local.get $inputs)) (i32.add
            (i32.load offset=20 (local.get $inputs)) (i32.load offset=24 (local.get $inputs))))",
    };
    let handler = sandbox.load(&wasm.component()?, short())??;
    let (cases, mut survived) = (300 * scale(), 0);
    for case in 0..cases {
        let mut numbers = Numbers::of(case);
        let mut bytes = Vec::new();
        for _ in 0..=numbers.next() % 6 {
            let which = numbers.of_these(&[0u32, 1, 2, 3, 3, 3, 4, 5, 6, 7, 8, 9, 9]);
            bytes.extend(which.to_le_bytes());
            // Handles, addresses and sizes that are often valid.
            for _ in 0..5 {
                let word = numbers.word();
                let argument = numbers.of_these(&[1, 2, 3, 4096, 0, 40, word, word]);
                bytes.extend(argument.to_le_bytes());
            }
        }
        let outcome = call_inline(&handler, &[carrying(bytes)?]);
        keeps_the_contract(&outcome).with_context(|| format!("case {case}"))?;
        survived += usize::from(outcome.is_ok());
        drop(outcome);
        retains_nothing(&sandbox, case)?;
    }
    // Usually, one of 25: most of the others pass an address that is none.
    ensure!(survived >= cases / 50, "{survived} of {cases} lived on");
    Ok(())
}

#[test]
fn corrupted_components_are_loaded_or_refused() -> Result<()> {
    let sandbox = Sandbox::start()?;
    let genuine = WatHandler::BARE.component()?;
    let (cases, mut called) = (100 * scale(), 0);
    for case in 0..cases {
        let mut numbers = Numbers::of(case);
        let mut wasm = genuine.clone();
        for _ in 0..=numbers.next() % 3 {
            let at = usize::try_from(numbers.next() % wasm.len() as u64)?;
            wasm[at] = numbers.next().to_le_bytes()[0];
        }
        if numbers.next().is_multiple_of(4) {
            wasm.truncate(usize::try_from(numbers.next() % wasm.len() as u64)?);
        }
        let Ok(loaded) = sandbox.load(&wasm, short()) else {
            continue;
        };
        if let Ok(handler) = loaded {
            let outcome = call_inline(&handler, &[carrying(vec![0; 4])?]);
            keeps_the_contract(&outcome).with_context(|| format!("case {case}"))?;
            called += 1;
        }
        retains_nothing(&sandbox, case)?;
    }
    // Usually, one of seven is still a handler.
    ensure!(called >= cases / 20, "{called} of {cases} were called");
    Ok(())
}

/// Returns a random module with the imports and exports of a handler, or `None` if `numbers` do not
/// produce one.
fn random_module(shape: &[u8], numbers: &mut Numbers) -> Result<Option<Vec<u8>>> {
    let bytes: Vec<u8> = (0..2048)
        .flat_map(|_| numbers.next().to_le_bytes())
        .collect();
    let config = wasm_smith::Config {
        module_shape: Some(shape.to_vec()),
        // Sizes that instances may have. Larger ones are covered by other tests.
        max_memory32_bytes: 2 << 20,
        max_table_elements: 1000,
        memory_max_size_required: true,
        memory64_enabled: false,
        threads_enabled: false,
        exceptions_enabled: false,
        // `externref` counts as garbage collection, which handlers do not have.
        reference_types_enabled: false,
        gc_enabled: false,
        ..wasm_smith::Config::default()
    };
    generated_module(config, &bytes)
}

#[test]
fn random_modules_with_a_handlers_exports_are_loaded_or_refused() -> Result<()> {
    let sandbox = Sandbox::start()?;
    let shape = dummy_module()?;
    let (cases, mut compiled) = (100 * scale(), 0);
    for case in 0..cases {
        let Some(module) = random_module(&shape, &mut Numbers::of(case))? else {
            continue;
        };
        let wasm = from_module(&module).with_context(|| format!("case {case}"))?;
        let Ok(loaded) = sandbox.load(&wasm, short()) else {
            continue;
        };
        compiled += 1;
        if let Ok(handler) = loaded {
            let outcome = call_inline(&handler, &[carrying(vec![0; 4])?]);
            keeps_the_contract(&outcome).with_context(|| format!("case {case}"))?;
        }
        retains_nothing(&sandbox, case)?;
    }
    ensure!(
        compiled >= cases / 2,
        "{compiled} of {cases} were components"
    );
    Ok(())
}

/// Returns a handler without inputs and outputs whose calls fail with a message: these bytes of its memory.
fn failing_handler(text: &[u8], length: u32, encoding: StringEncoding) -> Result<Vec<u8>> {
    const TEXT: u32 = 4096;
    // An error of the client, with the address and the length of its message.
    let failure = [1, 0, TEXT, length].map(u32::to_le_bytes).concat();
    let escaped =
        |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("\\{byte:02x}")).collect() };
    let module = format!(
        r#"(module
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 32768))
            (func (export "wisp:handler/model@0.1.0#signature") (result i32) (i32.const 1024))
            (func (export "wisp:handler/model@0.1.0#infer")
                (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 2048))
            (data (i32.const 2048) "{}")
            (data (i32.const {TEXT}) "{}"))"#,
        escaped(&failure),
        escaped(text)
    );
    from_module_with(&wat::parse_str(module)?, encoding)
}

#[test]
fn broken_texts_in_every_encoding_are_cleaned_or_end_the_guest() -> Result<()> {
    let sandbox = Sandbox::start()?;
    let (cases, mut texts) = (60 * scale(), 0);
    for case in 0..cases {
        let mut numbers = Numbers::of(case);
        let encoding = numbers.of_these(&[
            StringEncoding::UTF8,
            StringEncoding::UTF16,
            StringEncoding::CompactUTF16,
        ]);
        // Letters, halves of surrogate pairs, sequences of UTF-8 that are too long, or anything.
        let text = match numbers.next() % 4 {
            0 => b"a\nb\0".repeat(500),
            1 => [b'a', 0, 0x00, 0xd8].repeat(500),
            2 => [0xc0, 0x80, 0xf5, b'a'].repeat(500),
            _ => numbers.bytes(2000),
        };
        // The highest bit of a length selects UTF-16 in the compact encoding.
        let compact = 1 << 31;
        let length = numbers.of_these(&[
            0,
            1,
            2,
            3,
            500,
            1000,
            60_000,
            compact,
            compact + 1,
            compact + 500,
            u32::MAX,
        ]);
        let wasm = failing_handler(&text, length, encoding)?;
        let handler = sandbox.load(&wasm, short())??;
        let outcome = call_inline(&handler, &[]);
        ensure!(outcome.is_err(), "case {case} is a response");
        keeps_the_contract(&outcome).with_context(|| format!("case {case}"))?;
        texts += usize::from(matches!(outcome, Err(HandlerError::Client(_))));
        drop(outcome);
        retains_nothing(&sandbox, case)?;
    }
    // Usually, half of them.
    ensure!(texts >= cases / 4, "{texts} of {cases} were texts");
    Ok(())
}
