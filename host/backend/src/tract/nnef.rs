//! Reads NNEF archives, tract's own format, as `tract dump --nnef` writes them.
//!
//! tract's reader trusts the content of an archive. The archive is therefore unpacked within a limit, and
//! its two kinds of files are checked before tract reads them: the text of the graph must not nest so
//! deeply that parsing exhausts the stack, and a tensor must not claim more elements than it has bytes
//! for. Archives inside the archive are not read.

use super::corrections::before_rewrites;
use super::guard::{GuardError, guarded};
use crate::bounded_file::open_regular;
use crate::model_source::ModelSource;
use crate::rows::Rows;
use flate2::read::GzDecoder;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use tract_nnef::internal::{
    GraphNnefLoader, GraphQuantLoader, Nnef, Resource, ResourceLoader, StaticName,
};
use tract_nnef::prelude::{Framework, TractResult, TypedModel};
use tract_nnef::resource::{GRAPH_NNEF_FILENAME, resource_path_to_id};
use tract_nnef::tract_core::internal::{bail, ensure};

/// The maximum unpacked size of an archive in bytes, which equals that of an ONNX file.
const MAX_BYTES: u64 = i32::MAX as u64;

/// The maximum nesting of brackets in the text of a graph. tract writes fewer than ten levels.
const MAX_NESTING: usize = 64;

/// The size of a tensor's header in bytes. The rank is the number at byte 8, and up to
/// eight sizes start at byte 12.
const HEADER_BYTES: usize = 128;

/// Returns the relation between the rows of a model in an archive, whose operators are not examined.
pub(super) fn rows() -> Rows {
    Rows::Dependent {
        reason: "the operators of NNEF are not examined".to_owned(),
    }
}

/// Loads the model in an archive.
pub(super) fn load(source: ModelSource<'_>) -> Result<TypedModel, GuardError> {
    guarded(|| {
        let mut archive: Box<dyn BufRead + '_> = match source {
            ModelSource::Path(path) => Box::new(BufReader::new(open_regular(path)?.0)),
            ModelSource::Bytes { content, .. } => Box::new(content),
        };
        let is_compressed = archive.fill_buf()?.starts_with(&[0x1f, 0x8b]);
        let content: Box<dyn Read + '_> = match is_compressed {
            true => Box::new(GzDecoder::new(archive)),
            false => Box::new(archive),
        };
        let mut nnef = Nnef::default().with_tract_resource();
        nnef.resource_loaders = vec![
            GraphText.into_boxed(),
            Tensors.into_boxed(),
            GraphQuantLoader.into_boxed(),
        ];
        let mut model = nnef.model_for_read(&mut content.take(MAX_BYTES))?;
        before_rewrites(&mut model)?;
        model.into_decluttered()
    })
}

/// A loader for the text of the graph.
struct GraphText;

impl ResourceLoader for GraphText {
    fn name(&self) -> StaticName {
        "GraphText".into()
    }

    fn try_load(
        &self,
        path: &Path,
        reader: &mut dyn Read,
        framework: &Nnef,
    ) -> TractResult<Option<(String, Arc<dyn Resource>)>> {
        if !path.ends_with(GRAPH_NNEF_FILENAME) {
            return Ok(None);
        }
        let mut text = Vec::new();
        reader.read_to_end(&mut text)?;
        let mut depth = 0usize;
        for byte in &text {
            match byte {
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                _ => continue,
            }
            ensure!(depth <= MAX_NESTING, "its text is nested too deeply");
        }
        GraphNnefLoader.try_load(path, &mut text.as_slice(), framework)
    }
}

/// A loader for tensors, which checks their declared size.
struct Tensors;

impl ResourceLoader for Tensors {
    fn name(&self) -> StaticName {
        "Tensors".into()
    }

    fn try_load(
        &self,
        path: &Path,
        reader: &mut dyn Read,
        _: &Nnef,
    ) -> TractResult<Option<(String, Arc<dyn Resource>)>> {
        if path.extension().is_none_or(|extension| extension != "dat") {
            return Ok(None);
        }
        let mut content = Vec::new();
        reader.read_to_end(&mut content)?;
        let Some(elements) = elements(&content) else {
            bail!("tensor {path:?} has no header");
        };
        // An element has at least one bit.
        let most = (content.len() as u64 - HEADER_BYTES as u64).saturating_mul(8);
        ensure!(
            elements <= most,
            "tensor {path:?} is shorter than its header states"
        );
        let tensor = tract_nnef::tensors::read_tensor(content.as_slice())?;
        Ok(Some((resource_path_to_id(path)?, Arc::new(tensor))))
    }
}

/// Returns the number of elements that a tensor's header claims, saturating on overflow; `None` if the
/// content is shorter than a header.
fn elements(content: &[u8]) -> Option<u64> {
    let header = content.get(..HEADER_BYTES)?;
    let number = |at: usize| header[at..].first_chunk().map(|n| u32::from_le_bytes(*n));
    let rank = number(8)?.min(8) as usize;
    let mut product = 1u64;
    for axis in 0..rank {
        product = product.saturating_mul(u64::from(number(12 + 4 * axis)?));
    }
    Some(product)
}
