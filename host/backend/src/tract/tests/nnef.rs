//! Tests with NNEF archives, both as tract writes them and malformed.

use super::onnx_file::{Axis, perceptron};
use super::{SIZES, expected, fp32, rows, shapes, values};
use crate::tract::Tract;
use crate::tract::model::SymbolicModel;
use crate::{Backend, BackendError, Format, LoadOptions, ModelSource};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::path::PathBuf;
use tract_nnef::nnef;
use tract_onnx::tract_core::internal::TractResult;

/// Returns the archive of the perceptron.
fn archive() -> TractResult<Vec<u8>> {
    let file = perceptron(Axis::Named("batch"), &SIZES);
    let model = SymbolicModel::load(&file.model(), None).expect("it is loaded elsewhere");
    nnef().with_tract_resource().write_to_tar(
        model.typed_with_symbols().expect("symbols suffice"),
        Vec::new(),
    )
}

fn compressed(content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content)?;
    encoder.finish()
}

fn written(name: &str, content: &[u8]) -> anyhow::Result<(tempfile::TempDir, PathBuf)> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join(name);
    std::fs::write(&path, content)?;
    Ok((directory, path))
}

#[test]
fn an_archive_computes_the_same_as_its_onnx_file() -> anyhow::Result<()> {
    let archive = archive()?;
    let packed = compressed(&archive)?;
    for (name, content) in [("m.nnef.tar", &archive), ("m.nnef.tgz", &packed)] {
        let (_directory, path) = written(name, content)?;
        let graph = Tract::new().load(ModelSource::Path(&path), &LoadOptions::default())?;
        assert_eq!(shapes(&graph.signature().inputs), ["x FP32 [-1, 13]"]);
        assert_eq!(shapes(&graph.signature().outputs), ["y FP32 [-1, 3]"]);
        for count in [1u32, 3] {
            let rows = rows(count as usize);
            let outputs = graph.compute(&[fp32("x", &[count, 13], &rows)])?;
            assert_eq!(values(&outputs[0].tensor), expected(&rows));
        }
    }
    Ok(())
}

#[test]
fn an_archive_in_memory_is_loaded_like_its_file() -> anyhow::Result<()> {
    let archive = archive()?;
    for content in [&archive, &compressed(&archive)?] {
        let source = ModelSource::Bytes {
            format: Format::Nnef,
            content,
        };
        let graph = Tract::new().load(source, &LoadOptions::default())?;
        let rows = rows(2);
        let outputs = graph.compute(&[fp32("x", &[2, 13], &rows)])?;
        assert_eq!(values(&outputs[0].tensor), expected(&rows));
    }
    Ok(())
}

/// Returns one file of an archive.
fn entry(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..107].copy_from_slice(b"0000644");
    let size = format!("{:011o}", content.len());
    header[124..135].copy_from_slice(size.as_bytes());
    header[148..156].copy_from_slice(b"        ");
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let padding = content.len().next_multiple_of(512) - content.len();
    [&header[..], content, &vec![0; padding]].concat()
}

#[test]
fn archives_that_would_exhaust_the_machine_are_refused() -> anyhow::Result<()> {
    let nested = format!(
        "version 1.0; graph g(x) -> (y) {{ y = {}x; }}",
        "(".repeat(100_000)
    );
    let mut huge = vec![0u8; 128];
    huge[..4].copy_from_slice(&[0x4e, 0xef, 1, 0]);
    huge[8] = 4;
    huge[12..28].fill(0xff);
    let archive = archive()?;
    for (content, reason) in [
        (entry("graph.nnef", nested.as_bytes()), "nested too deeply"),
        (entry("w.dat", &huge), "shorter than its header states"),
        (entry("w.dat", b"\x4e\xef"), "no header"),
        (archive[..700].to_vec(), ""),
        (b"no archive".to_vec(), ""),
        (Vec::new(), ""),
    ] {
        for (name, content) in [
            ("m.nnef.tar", content.clone()),
            ("m.nnef.tgz", compressed(&content)?),
        ] {
            let (_directory, path) = written(name, &content)?;
            match Tract::new().load(ModelSource::Path(&path), &LoadOptions::default()) {
                Err(BackendError::Load { reason: found, .. }) => {
                    assert!(found.contains(reason), "{name}: {found}");
                }
                other => anyhow::bail!("{reason}: {other:?}"),
            }
        }
    }
    Ok(())
}
