//! Tests of ONNX Runtime on the first NVIDIA GPU, with the libraries that `wisp backend install cuda`
//! has installed in the user's cache directory:
//! `cargo test -p wisp --features gpu-tests --test integration gpu`.

use crate::harness::{Repository, root};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::process::Command;

/// The tolerance between the results of a GPU and a CPU: sums on a GPU have another order, and products
/// fewer bits.
const TOLERANCE: f64 = 1e-2;

fn wisp(arguments: &[&str]) -> Result<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_wisp"))
        .args(arguments)
        .output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{error}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Returns the comparison of a model on a device, as one entry per backend and batch size.
fn bench(model: &str, device: &str) -> Result<Vec<Value>> {
    let mut arguments = vec![
        "bench",
        model,
        "--json",
        "--seconds",
        "2",
        "--device",
        device,
    ];
    for batch in ["1", "8", "64"] {
        arguments.extend(["--batch", batch]);
    }
    let reports: Value = serde_json::from_str(&wisp(&arguments)?)?;
    let batches = reports[0]["batches"].as_array().context("no batches")?;
    let of_library = batches
        .iter()
        .filter(|batch| batch["backend"] == "onnxruntime");
    Ok(of_library.cloned().collect())
}

#[test]
fn batches_of_1_8_and_64_rows_are_computed_on_both_devices() -> Result<()> {
    let model = root().join("examples/digits/1/model.onnx");
    let model = model.to_str().context("not UTF-8")?;
    for device in ["cpu", "cuda:0"] {
        let batches = bench(model, device)?;
        let sizes: Vec<_> = batches.iter().map(|batch| &batch["batch"]).collect();
        ensure!(sizes == [1, 8, 64], "{device}: {batches:?}");
        for batch in batches {
            let rate = batch["rows_per_second"].as_f64();
            ensure!(rate.is_some_and(|rate| rate > 0.0), "{device}: {batch}");
            println!("{device}: {batch}");
        }
    }
    Ok(())
}

#[test]
fn a_gpu_and_the_processor_compute_the_same() -> Result<()> {
    let ask = |model_file: &str| -> Result<Vec<f64>> {
        let repository = Repository::of(&["wine"])?.with_file("wine/model.toml", model_file)?;
        let model = repository.path().join("wine");
        let features =
            "features=[[13.5, 1.8, 2.6, 20, 96, 2.5, 2.6, 0.3, 1.7, 3.5, 1.1, 3.8, 845]]";
        let model = model.to_str().context("not UTF-8")?;
        let answer: Value =
            serde_json::from_str(&wisp(&["infer", model, "--json", "--input", features])?)?;
        let outputs = answer["outputs"].as_array().context("no outputs")?;
        let probabilities = outputs
            .iter()
            .find(|output| output["name"] == "probabilities");
        let numbers = probabilities.context("no probabilities")?["data"].as_array();
        let numbers = numbers.context("no numbers")?.iter();
        numbers
            .map(|number| number.as_f64().context("no number"))
            .collect()
    };
    let processor = ask("backend = 'onnxruntime'")?;
    let gpu = ask("backend = 'onnxruntime'\ndevice = 'cuda:0'")?;
    let pairs = processor.iter().zip(&gpu);
    ensure!(
        processor.len() == gpu.len() && pairs.clone().all(|(a, b)| (a - b).abs() < TOLERANCE),
        "{processor:?} {gpu:?}"
    );
    Ok(())
}
