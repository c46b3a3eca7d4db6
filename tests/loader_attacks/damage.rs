//! Tests of real models with bytes missing or bits flipped.

use super::{check_all, load_with, survived};
use crate::harness::{root, scale};
use crate::python;
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
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

/// The damage to a file.
#[derive(Debug, Clone, Copy)]
enum Damage {
    /// Keeps only this many bytes.
    Cut(usize),
    /// Flips bits, which the number selects.
    Flip(u64),
}

#[test]
fn cut_and_flipped_models_harm_nobody() -> Result<()> {
    damage_all("tract", STEP, FLIPS)
}

/// ONNX Runtime is C++, so a crash would end the server.
#[test]
fn cut_and_flipped_models_do_not_end_the_process_of_onnxruntime() -> Result<()> {
    damage_all("onnxruntime", 8 * STEP, FLIPS / 8)
}

/// Loads every seed, cut to lengths `step` bytes apart, and with bits flipped in `flips` ways.
fn damage_all(backend: &str, step: usize, flips: u64) -> Result<()> {
    let mut seeds = Vec::new();
    for path in seed_paths()? {
        let content = std::fs::read(&path).with_context(|| path.display().to_string())?;
        ensure!(!content.is_empty(), "{}", path.display());
        seeds.push((path, content));
    }
    let flips = flips * u64::try_from(scale())?;
    let damages = seeds.iter().flat_map(|(path, content)| {
        let cuts = (0..content.len()).step_by(step).map(Damage::Cut);
        let flips = (0..flips).map(Damage::Flip);
        cuts.chain(flips).map(move |damage| (path, content, damage))
    });
    check_all(damages, |child, (path, content, damage)| {
        let file = NamedTempFile::new()?;
        std::fs::write(file.path(), damage.to(content))?;
        let answer = load_with(backend, child, file.path())?;
        let fault = !survived(&answer);
        Ok(fault.then(|| format!("{}, {damage:?}: {answer}", path.display())))
    })
}

fn seed_paths() -> Result<Vec<PathBuf>> {
    let cases = python::onnx_node_tests()?;
    let cases = CASES.map(|case| cases.join(format!("{case}.onnx")));
    let examples = EXAMPLES.map(|name| root().join("examples").join(name).join("1/model.onnx"));
    Ok(cases.into_iter().chain(examples).collect())
}

impl Damage {
    fn to(self, content: &[u8]) -> Vec<u8> {
        let seed = match self {
            Damage::Cut(length) => return content[..length].to_vec(),
            Damage::Flip(seed) => seed,
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
