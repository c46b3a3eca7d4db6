//! Models that multiply a row with a matrix of 1 MiB: their files, and the numbers that they answer.
//!
//! Each model has a number, from which its weights derive. No two models have equal files, so none are shared in memory.

use crate::onnx::Graph;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;

/// The number of rows and columns of a matrix of `f32`.
pub(crate) const SIDE: u16 = 512;

/// The highest number of a model. Up to it, `f32` has all sums exactly, so their order does not matter.
pub(crate) const HIGHEST: u16 = 32_000;

/// Returns the name of a model.
pub(crate) fn name(number: u16) -> String {
    format!("m{number}")
}

/// Adds a model to a repository.
pub(crate) fn add(models: &Path, number: u16) -> Result<()> {
    let version = models.join(name(number)).join("1");
    fs::create_dir_all(&version)?;
    fs::write(version.join("model.onnx"), file(number))?;
    Ok(())
}

/// Checks the body of a response to a row of ones.
pub(crate) fn check(body: &str, number: u16) -> Result<()> {
    let data = body.split("\"data\":[").nth(1);
    let data = data.and_then(|rest| rest.split(']').next());
    // Half of the weights of each column are greater by 1.
    let expected = f64::from(SIDE) * (f64::from(number) + 0.5);
    let mut columns = 0;
    for value in data.context("no data")?.split(',') {
        let value: f64 = value.trim().parse()?;
        ensure!(
            value == expected,
            "{} has {value} in place of {expected}",
            name(number)
        );
        columns += 1;
    }
    ensure!(columns == SIDE, "{} has {columns} columns", name(number));
    Ok(())
}

fn file(number: u16) -> Vec<u8> {
    let side = i64::from(SIDE);
    let mut weights: Vec<f32> = Vec::new();
    for row in 0..SIDE {
        weights.extend((0..SIDE).map(|column| f32::from(number + (row + column) % 2)));
    }
    Graph::from_x_to_y(&[None, Some(side)])
        .floats("w", &[side, side], &weights)
        .node("MatMul", &["x", "w"], &["y"])
        .bytes()
}
