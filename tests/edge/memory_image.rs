//! The memory with which a bundle begins. wasmtime shares it between instances, copy-on-write, if it is dense enough: an
//! image of more than 16 MiB has to be more than half data. Otherwise every request would copy the model.

use super::bundle;
use super::engines::modules_for_speed;
use crate::cli;
use crate::harness::Repository;
use crate::harness::onnx::{FLOAT, Graph, Value};
use anyhow::{Context, Result, bail, ensure};
use wasmparser::{DataKind, Operator, Parser, Payload};

/// The size up to which wasmtime makes an image of any density, in bytes.
const ALWAYS_SHARED: u64 = 16 << 20;

/// The active data of a core module.
#[derive(Debug, Default)]
struct Image {
    start: u64,
    end: u64,
    data: u64,
}

impl Image {
    fn bytes(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// Returns the images of the memories of all core modules with data.
fn images(component: &[u8]) -> Result<Vec<Image>> {
    let mut images = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        let Payload::DataSection(section) = payload? else {
            continue;
        };
        let mut image = Image {
            start: u64::MAX,
            ..Image::default()
        };
        for segment in section {
            let segment = segment?;
            let DataKind::Active { offset_expr, .. } = segment.kind else {
                continue;
            };
            let Operator::I32Const { value } = offset_expr.get_operators_reader().read()? else {
                bail!("the place of a segment is not constant");
            };
            let start = u64::from(value.cast_unsigned());
            let length = u64::try_from(segment.data.len())?;
            image.start = image.start.min(start);
            image.end = image.end.max(start + length);
            image.data += length;
        }
        images.push(image);
    }
    Ok(images)
}

#[test]
fn the_memory_of_a_bundle_with_a_large_model_can_be_shared() -> Result<()> {
    const ROWS: i64 = 6144;
    const COLUMNS: i64 = 1024;
    let count = usize::try_from(ROWS * COLUMNS)?;
    // None of them is 0, which would be no data.
    let weights: Vec<f32> = (0..count).map(|index| 0.5 + (index % 7) as f32).collect();
    let graph = Graph {
        name: "wide".to_owned(),
        input: vec![Value::of("x", FLOAT, &[None, Some(ROWS)])],
        output: vec![Value::of("y", FLOAT, &[None, Some(COLUMNS)])],
        ..Graph::default()
    };
    let graph = graph
        .floats("w", &[ROWS, COLUMNS], &weights)
        .node("MatMul", &["x", "w"], &["y"]);
    let repository = Repository::empty()?.with_file("m/1/model.onnx", graph.bytes())?;
    let output = repository.path().join("m.wasm");
    // A model of this size gets the module that is compiled for speed.
    let modules = modules_for_speed()?;
    let mut command = bundle(&repository.path().join("m"), &output);
    command.env("WISP_EDGE_MODULES", modules.path());
    cli::stdout(&cli::run(&mut command)?)?;
    let images = images(&std::fs::read(&output)?)?;
    let largest = images.iter().max_by_key(|image| image.bytes());
    let largest = largest.context("no data")?;
    ensure!(largest.bytes() > ALWAYS_SHARED, "{images:?}");
    for image in &images {
        let is_dense = image.bytes() < ALWAYS_SHARED || image.bytes() < image.data * 2;
        ensure!(is_dense, "{image:?}");
    }
    Ok(())
}
