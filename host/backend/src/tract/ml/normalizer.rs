//! `Normalizer`: divides each row by its maximum or by its L1 or L2 norm.

use super::operator::{
    Built, Fact, Kernel, built, elements, filled, floats, rows_and_columns, size,
};
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{DatumType, TValue, TVec, Tensor, TractResult, tvec};
use tract_onnx::tract_core::internal::{bail, ensure};

#[derive(Debug, Clone, Copy)]
enum Normalizer {
    Max,
    L1,
    L2,
}

pub(super) fn build(_context: &ParsingContext, node: &NodeProto) -> Built {
    let normalizer = match node.get_attr_opt::<&str>("norm")? {
        None | Some("MAX") => Normalizer::Max,
        Some("L1") => Normalizer::L1,
        Some("L2") => Normalizer::L2,
        Some(other) => return node.bail_attr("norm", &format!("unknown value `{other}`")),
    };
    built(node, normalizer)
}

impl Kernel for Normalizer {
    fn name(&self) -> &'static str {
        "Normalizer"
    }

    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [(datum_type, shape)] = inputs else {
            bail!("Normalizer takes one input");
        };
        ensure!(datum_type.is_number(), "Normalizer needs numeric input");
        rows_and_columns(shape)?;
        Ok(tvec![(DatumType::F32, shape.clone())])
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let (_, columns) = size(&inputs[0])?;
        let input = floats(&inputs[0])?;
        let input = elements::<f32>(&input)?;
        let output = filled(inputs[0].shape(), |output| {
            let columns = columns.max(1);
            for (to, row) in output.chunks_mut(columns).zip(input.chunks(columns)) {
                let length = match self {
                    // The maximum is not of absolute values, as in onnxruntime and unlike scikit-learn's `max`.
                    Normalizer::Max => row.iter().fold(f32::MIN, |max, &x| max.max(x)),
                    Normalizer::L1 => row.iter().map(|x| x.abs()).sum(),
                    Normalizer::L2 => row.iter().map(|x| x * x).sum::<f32>().sqrt(),
                };
                let divisor = if length == 0.0 { 1.0 } else { length };
                for (to, x) in to.iter_mut().zip(row) {
                    *to = x / divisor;
                }
            }
            Ok(())
        })?;
        Ok(tvec![output])
    }
}
