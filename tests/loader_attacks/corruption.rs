//! Tests of real models with bytes missing or bits flipped.

use super::{CHILDREN, LOADED, REFUSED, check_all, load_with, survived};
use crate::harness::child::Outcome;
use crate::harness::{root, scale};
use crate::python;
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tempfile::NamedTempFile;

/// Cases of the onnx package, chosen for the variety of their contents: attributes of every type, nested
/// graphs, weights, shapes, strings, sequences of operators.
const CASES: [&str; 8] = [
    "light/test_squeezenet",
    "node/test_attention_4d_expanded",
    "constant/test_constant_pad",
    "node/test_if",
    "node/test_lstm_with_peepholes",
    "node/test_qlinearconv",
    "constant/test_resize_upsample_scales_linear",
    "node/test_scan9_sum",
];

const EXAMPLES: [&str; 3] = ["digits", "progression", "wine"];

/// The distance in bytes between the lengths to which a file is cut.
const STEP: usize = 64;

/// The number of flipped files per model.
const FLIPS: u64 = 200;

/// The corruption of a file.
#[derive(Debug, Clone, Copy)]
enum Corruption {
    /// Keeps only this many bytes.
    Truncate(usize),
    /// Flips bits, which the number selects.
    Flip(u64),
}

#[test]
fn truncated_and_flipped_models_are_loaded_or_refused() -> Result<()> {
    load_all_corrupted("tract", STEP, FLIPS)
}

#[test]
fn truncated_and_flipped_models_are_loaded_or_refused_by_rten() -> Result<()> {
    load_all_corrupted("rten", 4 * STEP, FLIPS / 4)
}

/// ONNX Runtime is C++, so a crash would end the server.
#[test]
fn truncated_and_flipped_models_do_not_end_a_process_with_onnxruntime() -> Result<()> {
    load_all_corrupted("onnxruntime", 8 * STEP, FLIPS / 8)
}

/// Loads every seed, cut to lengths `step` bytes apart, and with bits flipped in `flips` ways. Some of the whole seeds must
/// be loaded, and most of those that are cut refused.
fn load_all_corrupted(backend: &str, step: usize, flips: u64) -> Result<()> {
    let mut seeds = Vec::new();
    for path in seed_paths()? {
        let content = std::fs::read(&path).with_context(|| path.display().to_string())?;
        ensure!(!content.is_empty(), "{}", path.display());
        seeds.push((path, content));
    }
    let (mut child, mut loaded) = (CHILDREN.child(), 0);
    for (path, _) in &seeds {
        let outcome = load_with(backend, &mut child, path)?;
        loaded += usize::from(outcome == Outcome::Response(LOADED.to_owned()));
    }
    ensure!(loaded > 0, "{backend} loads none of the whole models");
    let (cut, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let flips = flips * u64::try_from(scale())?;
    let corruptions = seeds.iter().flat_map(|(path, content)| {
        let cuts = (0..content.len()).step_by(step).map(Corruption::Truncate);
        let flips = (0..flips).map(Corruption::Flip);
        cuts.chain(flips)
            .map(move |corruption| (path, content, corruption))
    });
    check_all(corruptions, |child, (path, content, corruption)| {
        let file = NamedTempFile::new()?;
        std::fs::write(file.path(), corruption.apply(content))?;
        let outcome = load_with(backend, child, file.path())?;
        if let Corruption::Truncate(_) = corruption {
            let is_refused =
                matches!(&outcome, Outcome::Response(text) if text.starts_with(REFUSED));
            cut.fetch_add(1, Relaxed);
            refused.fetch_add(usize::from(is_refused), Relaxed);
        }
        let fault = !survived(&outcome);
        Ok(fault.then(|| format!("{}, {corruption:?}: {outcome}", path.display())))
    })?;
    let (cut, refused) = (cut.into_inner(), refused.into_inner());
    ensure!(
        refused * 2 > cut,
        "{backend} refuses {refused} of {cut} models that end early"
    );
    Ok(())
}

fn seed_paths() -> Result<Vec<PathBuf>> {
    let cases = python::onnx_node_tests()?;
    let cases = CASES.map(|case| cases.join(format!("{case}.onnx")));
    let examples = EXAMPLES.map(|name| root().join("examples").join(name).join("1/model.onnx"));
    Ok(cases.into_iter().chain(examples).collect())
}

impl Corruption {
    fn apply(self, content: &[u8]) -> Vec<u8> {
        let seed = match self {
            Corruption::Truncate(length) => return content[..length].to_vec(),
            Corruption::Flip(seed) => seed,
        };
        let mut content = content.to_vec();
        let mut random = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // Up to four flips, so that one can mask another that would be rejected.
        for _ in 0..1 + seed % 4 {
            // xorshift64, which gives the same flips in every run.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let position = usize::try_from(random >> 16).unwrap_or(0) % content.len();
            content[position] ^= 1 << (random & 7);
        }
        content
    }
}
