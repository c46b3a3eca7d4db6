//! The hostile behaviors. The comment of each function names the mechanism that should stop it.

use std::hint::black_box;
use wisp_handler::component::bindings::wasi::nn::errors::{Error as NnError, ErrorCode};
use wisp_handler::component::bindings::wasi::nn::graph::{
    ExecutionTarget, GraphEncoding, load, load_by_name,
};
use wisp_handler::component::bindings::wasi::nn::tensor::{Tensor as NnTensor, TensorType};
use wisp_handler::logging::{Level, write};
use wisp_handler::{Error, Request, Result, dbg, eprintln, println};

const PAGE: usize = 65_536;
const SURVIVED: &str = "survived";

pub(crate) fn run(name: &str, request: &Request) -> Result<String> {
    match name {
        // `long_name` misbehaves in the name of its output.
        "honest" | "long_name" => Ok("honest".to_owned()),
        "loop" => loop_for_ever(),
        "fill" => fill_for_ever(),
        "grow" => grow(),
        "recurse" => Ok(recurse(0).to_string()),
        "panic" => panic_with(request),
        "index" => Ok(element(&[1, 2, 3], name.len()).to_string()),
        "typo" => Ok(request.input("behavior")?.name().to_owned()),
        "log" => Ok(log()),
        "log_flood" => Ok(log_flood()),
        "log_huge" => Ok(log_huge()),
        "log_for_ever" => log_for_ever(),
        "trap" => core::arch::wasm32::unreachable(),
        "flood" => Ok("x".repeat(100 << 20)),
        "misfit" => compute(NnTensor::new(&[1, 10], TensorType::Fp32, &[0; 39])),
        "overflow" => compute(NnTensor::new(&[u32::MAX; 3], TensorType::Fp32, &[])),
        "rank" => compute(NnTensor::new(&[1; 1000], TensorType::Fp32, &[0; 4])),
        "wrong_type" => compute(NnTensor::new(&[1, 10], TensorType::I32, &[0; 40])),
        "misfits" => misfits(),
        "wide_misfits" => Ok(wide_misfits()),
        "long_failure" => Err(Error::handler("a line\n".repeat(1 << 20))),
        "long_refusal" => Err(Error::client("a line\n".repeat(1 << 20))),
        "foreign_graph" => Ok(load_by_name("wine").map_or_else(|error| code(&error), survived)),
        "load_bytes" => Ok(
            load(&[vec![0; 16]], GraphEncoding::Onnx, ExecutionTarget::Cpu)
                .map_or_else(|error| code(&error), survived),
        ),
        "handles" => handles(),
        "hoard" => hoard(),
        "hold" => hold(),
        "plant" => plant(secret(request)?),
        "scan" => Ok(scan(secret(request)?)),
        "plant_and_scan" => {
            plant(secret(request)?)?;
            Ok(scan(secret(request)?))
        }
        "plant_and_compute" => {
            let planted = plant(secret(request)?)?;
            compute(features())?;
            Ok(planted)
        }
        other => Err(Error::client(format_args!("unknown behaviour `{other}`"))),
    }
}

fn survived<T>(_: T) -> String {
    SURVIVED.to_owned()
}

/// Ends the call. The message has what would begin a line of its own in a log, and control a terminal.
#[inline(never)]
fn panic_with(request: &Request) -> ! {
    panic!(
        "{} inputs\n2026-01-01 ERROR \x1b[2J",
        black_box(request).inputs().len()
    );
}

/// Ends the call with a message of the language.
#[inline(never)]
fn element(elements: &[u32], index: usize) -> u32 {
    elements[black_box(index)]
}

/// Not stopped: logs a few lines in each way.
fn log() -> String {
    println!("a line\nand\x1b[2J another");
    eprintln!("an error");
    let survived = dbg!(SURVIVED);
    write(Level::Warn, "topic", format_args!("a warning"));
    log::debug!("a record of `{}`", "log");
    log::trace!("not written");
    tracing::error!(rows = 3, "an event of `tracing`");
    survived.to_owned()
}

/// Not stopped: lines beyond the budget are dropped.
fn log_flood() -> String {
    for number in 0..5_000 {
        println!("line {number}");
    }
    SURVIVED.to_owned()
}

/// Not stopped: the line is cut.
fn log_huge() -> String {
    println!("{}", "x".repeat(40 << 20));
    SURVIVED.to_owned()
}

/// Stopped by the limit on guest time.
fn log_for_ever() -> ! {
    loop {
        println!("again");
    }
}

/// Stopped by the limit on guest time.
#[inline(never)]
fn loop_for_ever() -> ! {
    let mut turns = 0u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Stopped by the limit on guest time, between two `memory.fill` of a large part of memory.
fn fill_for_ever() -> ! {
    let mut block = vec![0u8; 64 << 20];
    let mut byte = 0u8;
    loop {
        byte = byte.wrapping_add(1);
        block.fill(black_box(byte));
        black_box(&block);
    }
}

/// Stopped by the memory limit.
fn grow() -> Result<String> {
    while core::arch::wasm32::memory_grow(0, 16) != usize::MAX {}
    Ok(SURVIVED.to_owned())
}

/// Stopped by the limit of the guest's stack.
#[expect(unconditional_recursion, reason = "that is the attack")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    recurse(black_box(depth + 1)) + frame[0]
}

/// Returns the wasi:nn error code that computing on this tensor results in.
fn compute(tensor: NnTensor) -> Result<String> {
    let failed = |error: NnError| Error::handler(code(&error));
    let graph = load_by_name("model").map_err(failed)?;
    let context = graph.init_execution_context().map_err(failed)?;
    let outcome = context.compute(vec![("features".to_owned(), tensor)]);
    Ok(outcome.map_or_else(|error| code(&error), survived))
}

/// Stopped after a few tensors whose data do not fit their shape.
fn misfits() -> Result<String> {
    for _ in 0..1000 {
        drop(NnTensor::new(&[7], TensorType::Fp32, &[]));
    }
    Ok(SURVIVED.to_owned())
}

/// Not stopped: creates tensors of a million axes each, of which the host stores no more than of valid
/// ones.
fn wide_misfits() -> String {
    let axes = vec![1; 1 << 20];
    let wide = || NnTensor::new(&axes, TensorType::Fp32, &[0; 4]);
    let held: Vec<_> = std::iter::repeat_with(wide).take(16).collect();
    let is_cut = |tensor: &NnTensor| tensor.dimensions().len() <= 16;
    let outcome = if held.iter().all(is_cut) {
        "cut"
    } else {
        SURVIVED
    };
    outcome.to_owned()
}

/// Stopped by the limit on handles.
fn handles() -> Result<String> {
    for _ in 0..5_000_000 {
        std::mem::forget(NnTensor::new(&[1], TensorType::U8, &[0]));
    }
    Ok(SURVIVED.to_owned())
}

/// Not stopped: tensors beyond the host's budget are empty, and computing on one returns an error.
fn hoard() -> Result<String> {
    let block = vec![0u8; 16 << 20];
    let shape = [16 << 20];
    let mut held = Vec::new();
    for _ in 0..16 {
        held.push(NnTensor::new(&shape, TensorType::U8, &block));
    }
    let one_too_many = NnTensor::new(&[1, 10], TensorType::Fp32, &[0; 40]);
    compute(one_too_many)
}

/// Not stopped: holds 16 MiB of its own and 48 MiB of the host's memory, within every limit, while its
/// graph computes.
fn hold() -> Result<String> {
    let block = vec![1u8; 16 << 20];
    let tensor = || NnTensor::new(&[16 << 20], TensorType::U8, &block);
    let held: Vec<_> = std::iter::repeat_with(tensor).take(3).collect();
    let outcome = compute(features());
    black_box(held);
    outcome
}

/// Returns valid inputs for the graph.
fn features() -> NnTensor {
    NnTensor::new(&[1, 10], TensorType::Fp32, &[0; 40])
}

/// Returns data that a tenant would not want its neighbors to read.
fn secret(request: &Request) -> Result<Vec<u8>> {
    // The secret is sent inverted, so that the request that searches for it does not contain it.
    let inverted = request.input("secret")?.byte_strings(&[-1])?;
    let inverted = inverted.first().ok_or_else(|| Error::client("no secret"))?;
    Ok(inverted.to_vec())
}

/// Fills memory with copies of the secret.
fn plant(inverted: Vec<u8>) -> Result<String> {
    let secret: Vec<u8> = inverted.iter().map(|byte| !byte).collect();
    let copies = (4 * PAGE) / secret.len().max(1);
    let planted = secret.repeat(copies);
    black_box(&planted);
    // Also planted in the host, as a tensor that is never dropped.
    let length = u32::try_from(planted.len()).map_err(Error::handler)?;
    std::mem::forget(NnTensor::new(&[length], TensorType::U8, &planted));
    std::mem::forget(planted);
    Ok(copies.to_string())
}

/// Returns the number of copies of the secret in all of memory, including fresh pages.
#[expect(
    unsafe_code,
    reason = "reads memory that was never handed out, which is the attack"
)]
fn scan(inverted: Vec<u8>) -> String {
    core::arch::wasm32::memory_grow(0, 8);
    let length = core::arch::wasm32::memory_size(0) * PAGE;
    // Starts at 1, since a slice must not start at address zero.
    let start = std::ptr::without_provenance::<u8>(1);
    // SAFETY: all of linear memory is readable, and nothing writes to it while this runs.
    let memory = unsafe { std::slice::from_raw_parts(start, length - 1) };
    let found = memory.windows(inverted.len()).filter(|window| {
        window
            .iter()
            .zip(&inverted)
            .all(|(byte, inverted)| *byte == !inverted)
    });
    found.count().to_string()
}

fn code(error: &NnError) -> String {
    let code = match error.code() {
        ErrorCode::InvalidArgument => "invalid-argument",
        ErrorCode::InvalidEncoding => "invalid-encoding",
        ErrorCode::Timeout => "timeout",
        ErrorCode::RuntimeError => "runtime-error",
        ErrorCode::UnsupportedOperation => "unsupported-operation",
        ErrorCode::TooLarge => "too-large",
        ErrorCode::NotFound => "not-found",
        ErrorCode::Security => "security",
        ErrorCode::Unknown => "unknown",
    };
    code.to_owned()
}
