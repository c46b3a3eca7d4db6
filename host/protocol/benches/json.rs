//! A benchmark of decoding a tensor of a million floats from JSON and encoding it:
//! `cargo bench -p wisp-protocol`.
//!
//! Compares whole V2 requests, flat and nested, with serde_json and a SIMD parser, and with the same
//! numbers as rows of TF Serving. All contenders run in one process, in turns. The output is the median
//! and the best of `WISP_BENCH_ROUNDS` rounds (11 by default). Before that, the numbers of each contender
//! are compared with the nearest f32s, as parsed by the standard library: some of the parsers round twice.

#![allow(clippy::print_stdout, reason = "it reports to the terminal")]

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde::Deserialize;
use sonic_rs::{JsonContainerTrait, JsonValueTrait};
use std::hint::black_box;
use std::time::{Duration, Instant};
use wisp_protocol::call::{InferResponse, ModelDescription, ModelName, Version};
use wisp_protocol::codec::{RequestDecoder, ResponseEncoder};
use wisp_protocol::tfs::{TfsDecoder, Verb};
use wisp_protocol::v2::V2Decoder;
use wisp_tensor::{Dimension, ElementType, NamedTensor, Shape, Signature, Tensor, TensorSpec};

const SIDE: usize = 1000;
const COUNT: usize = SIDE * SIDE;

/// The duration of each round.
type Times = Vec<Duration>;

/// A decoder or an encoder to measure.
struct Contender<'a> {
    name: &'static str,
    /// The length of the text, in bytes.
    bytes: usize,
    run: Box<dyn FnMut() -> Result<Output> + 'a>,
}

/// The output of a contender.
enum Output {
    Tensor(Bytes),
    Numbers(Vec<f32>),
    Text,
}

fn main() -> Result<()> {
    let rounds = std::env::var("WISP_BENCH_ROUNDS").ok();
    let rounds: usize = rounds.map_or(Ok(11), |rounds| rounds.parse())?;
    let python: Vec<String> = numbers().map(|n| format!("{:?}", f64::from(n))).collect();
    let short: Vec<String> = numbers().map(|n| format!("{n:.3}")).collect();
    for (name, numbers) in [("as Python writes f32s", python), ("short", short)] {
        let nearest = numbers.iter().map(|text| text.parse::<f32>());
        let nearest: Vec<f32> = nearest.collect::<Result<_, _>>()?;
        for (shape, is_nested) in [("flat", false), ("nested", true)] {
            println!("\nreading, {name}, {shape}\n");
            read(&numbers, &nearest, is_nested, rounds)?;
        }
    }
    println!("\nwriting\n");
    write(rounds)
}

/// Returns `COUNT` f32s between -4 and 4, the same in each run.
fn numbers() -> impl Iterator<Item = f32> {
    let mut state = 1u64;
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let bits = u16::try_from(state >> 48).unwrap_or_default();
        let more = u8::try_from(state >> 40 & 0xff).unwrap_or_default();
        (f32::from(bits) * 256.0 + f32::from(more)) / f32::from(1u16 << 15) / 64.0 - 4.0
    })
    .take(COUNT)
}

fn model() -> Result<ModelDescription> {
    let spec = |name: &str| TensorSpec {
        name: name.to_owned(),
        element_type: ElementType::Fp32,
        shape: vec![Dimension::Variable; 2],
        optional: false,
    };
    Ok(ModelDescription {
        model: ModelName::new("m")?,
        version: Version::FIRST,
        platform: "tract_onnx".to_owned(),
        signature: Signature {
            inputs: vec![spec("x")],
            outputs: vec![spec("y")],
        },
        max_batch_size: 1 << 20,
        max_rows: None,
        class_labels: Default::default(),
        properties: Default::default(),
        configuration: Default::default(),
    })
}

fn tensor(tensors: Vec<NamedTensor>) -> Result<Output> {
    let tensor = tensors.into_iter().next().context("no tensor")?.tensor;
    Ok(Output::Tensor(tensor.into_content()))
}

// === Reading ===

#[derive(Deserialize)]
struct Request<D> {
    inputs: Vec<Input<D>>,
}

#[derive(Deserialize)]
struct Input<D> {
    data: D,
}

fn read(numbers: &[String], nearest: &[f32], is_nested: bool, rounds: usize) -> Result<()> {
    let rows = numbers
        .chunks(SIDE)
        .map(|row| format!("[{}]", row.join(", ")));
    let rows = format!("[{}]", rows.collect::<Vec<_>>().join(", "));
    let data = match is_nested {
        true => rows.clone(),
        false => format!("[{}]", numbers.join(", ")),
    };
    let v2_text = Bytes::from(format!(
        r#"{{"inputs": [{{"name": "x", "shape": [{SIDE}, {SIDE}], "datatype": "FP32", "data": {data}}}]}}"#
    ));
    let tfs_text = Bytes::from(format!(r#"{{"instances": {rows}}}"#));
    let model = model()?;
    let ours = || {
        let (request, _) = V2Decoder::default().decode(v2_text.clone(), &model)?;
        tensor(request.inputs)
    };
    let rows_of_ours = || {
        let decoder = TfsDecoder::new(Verb::Predict);
        let (request, _) = decoder.decode(tfs_text.clone(), &model)?;
        tensor(request.inputs)
    };
    let value = || {
        let value: serde_json::Value = serde_json::from_slice(&v2_text)?;
        let mut numbers = Vec::with_capacity(COUNT);
        flatten(&value["inputs"][0]["data"], &mut numbers)?;
        Ok(Output::Numbers(numbers))
    };
    let simd_value = || {
        let value: sonic_rs::Value = sonic_rs::from_slice(&v2_text)?;
        let mut numbers = Vec::with_capacity(COUNT);
        flatten_simd(&value["inputs"][0]["data"], &mut numbers)?;
        Ok(Output::Numbers(numbers))
    };
    let typed = || match is_nested {
        true => {
            let request: Request<Vec<Vec<f32>>> = serde_json::from_slice(&v2_text)?;
            let rows = request.inputs.into_iter().flat_map(|input| input.data);
            Ok(Output::Numbers(rows.collect::<Vec<_>>().concat()))
        }
        false => {
            let request: Request<Vec<f32>> = serde_json::from_slice(&v2_text)?;
            let mut inputs = request.inputs.into_iter();
            Ok(Output::Numbers(inputs.next().context("no input")?.data))
        }
    };
    let simd_typed = || match is_nested {
        true => {
            let request: Request<Vec<Vec<f32>>> = sonic_rs::from_slice(&v2_text)?;
            let rows = request.inputs.into_iter().flat_map(|input| input.data);
            Ok(Output::Numbers(rows.collect::<Vec<_>>().concat()))
        }
        false => {
            let request: Request<Vec<f32>> = sonic_rs::from_slice(&v2_text)?;
            let mut inputs = request.inputs.into_iter();
            Ok(Output::Numbers(inputs.next().context("no input")?.data))
        }
    };
    let bytes = v2_text.len();
    let mut contenders = [
        contender("wisp, V2", bytes, ours),
        contender("wisp, TF Serving's rows", tfs_text.len(), rows_of_ours),
        contender("serde_json::Value", bytes, value),
        contender("serde_json, typed", bytes, typed),
        contender("sonic_rs::Value", bytes, simd_value),
        contender("sonic_rs, typed", bytes, simd_typed),
    ];
    for contender in &mut contenders {
        let read = match (contender.run)()? {
            Output::Tensor(content) => {
                let elements = content.as_chunks().0.iter();
                elements.map(|&bytes| f32::from_le_bytes(bytes)).collect()
            }
            Output::Numbers(numbers) => numbers,
            Output::Text => Vec::new(),
        };
        ensure!(read.len() == COUNT, "{} numbers, not {COUNT}", read.len());
        let pairs = read.iter().zip(nearest);
        let wrong = pairs.filter(|(a, b)| a.to_bits() != b.to_bits()).count();
        if wrong > 0 {
            println!(
                "{} rounds {wrong} of {COUNT} numbers to an f32 beside the nearest",
                contender.name
            );
        }
    }
    measure(&mut contenders, rounds)
}

fn flatten(value: &serde_json::Value, numbers: &mut Vec<f32>) -> Result<()> {
    match value.as_array() {
        Some(list) => list.iter().try_for_each(|value| flatten(value, numbers)),
        None => {
            numbers.push(to_f32(value.as_f64().context("a number")?));
            Ok(())
        }
    }
}

fn flatten_simd(value: &sonic_rs::Value, numbers: &mut Vec<f32>) -> Result<()> {
    match value.as_array() {
        Some(list) => list
            .iter()
            .try_for_each(|value| flatten_simd(value, numbers)),
        None => {
            numbers.push(to_f32(value.as_f64().context("a number")?));
            Ok(())
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "as users of these parsers do it"
)]
fn to_f32(number: f64) -> f32 {
    number as f32
}

// === Writing ===

fn write(rounds: usize) -> Result<()> {
    let model = model()?;
    let numbers: Vec<f32> = numbers().collect();
    let content: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    let side = u32::try_from(SIDE)?;
    let shape = Shape::new(vec![side, side])?;
    let tensor = Tensor::new(ElementType::Fp32, shape, Bytes::from(content))?;
    let response = InferResponse {
        outputs: vec![NamedTensor {
            name: "y".to_owned(),
            tensor,
        }],
        parameters: Vec::new(),
    };
    let request = Bytes::from_static(br#"{"inputs":[]}"#);
    let (_, v2_encoder) = V2Decoder::default().decode(request, &model)?;
    let rows = vec!["[1]"; SIDE].join(",");
    let rows = Bytes::from(format!(r#"{{"instances":[{rows}]}}"#));
    let (_, tfs_encoder) = TfsDecoder::new(Verb::Predict).decode(rows, &model)?;
    let v2_bytes = v2_encoder
        .clone()
        .encode(response.clone(), &model)?
        .content_length();
    let tfs_bytes = tfs_encoder
        .clone()
        .encode(response.clone(), &model)?
        .content_length();
    let ours = || {
        black_box(v2_encoder.clone().encode(response.clone(), &model)?);
        Ok(Output::Text)
    };
    let rows_of_ours = || {
        black_box(tfs_encoder.clone().encode(response.clone(), &model)?);
        Ok(Output::Text)
    };
    let serde = || {
        black_box(serde_json::to_vec(&numbers)?);
        Ok(Output::Text)
    };
    let simd = || {
        black_box(sonic_rs::to_vec(&numbers)?);
        Ok(Output::Text)
    };
    let mut contenders = [
        contender("wisp, V2", v2_bytes, ours),
        contender("wisp, TF Serving's rows", tfs_bytes, rows_of_ours),
        contender(
            "serde_json, Vec<f32>",
            serde_json::to_vec(&numbers)?.len(),
            serde,
        ),
        contender(
            "sonic_rs, Vec<f32>",
            sonic_rs::to_vec(&numbers)?.len(),
            simd,
        ),
    ];
    measure(&mut contenders, rounds)
}

// === Measuring ===

fn contender<'a>(
    name: &'static str,
    bytes: usize,
    run: impl FnMut() -> Result<Output> + 'a,
) -> Contender<'a> {
    let run = Box::new(run);
    Contender { name, bytes, run }
}

fn measure(contenders: &mut [Contender], rounds: usize) -> Result<()> {
    let mut times: Vec<Times> = contenders.iter().map(|_| Times::new()).collect();
    for _ in 0..rounds {
        for (contender, times) in contenders.iter_mut().zip(&mut times) {
            let start = Instant::now();
            black_box((contender.run)()?);
            times.push(start.elapsed());
        }
    }
    let mut first = None;
    for (contender, times) in contenders.iter().zip(&mut times) {
        times.sort();
        let [median, best] = [times.len() / 2, 0].map(|rank| times[rank].as_secs_f64());
        let first = *first.get_or_insert(median);
        let speed = |seconds: f64| contender.bytes as f64 / seconds / 1e6;
        println!(
            "{:24} {:6.0} MB/s  {:5.2} of the first  {:6.0} MB/s at best, {:5.1} ns a number",
            contender.name,
            speed(median),
            first / median,
            speed(best),
            best * 1e9 / COUNT as f64
        );
    }
    Ok(())
}
