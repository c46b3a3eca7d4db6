//! `ArrayFeatureExtractor`: selects columns of numbers or strings.

use super::operator::{Built, Fact, Kernel, built, elements};
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{
    Datum, DatumType, TDim, TValue, TVec, Tensor, ToDim, TractResult, tensor1, tvec,
};
use tract_onnx::tract_core::internal::{bail, ensure};

#[derive(Debug)]
struct ArrayFeatureExtractor;

pub(super) fn build(_context: &ParsingContext, node: &NodeProto) -> Built {
    built(node, ArrayFeatureExtractor)
}

impl Kernel for ArrayFeatureExtractor {
    fn name(&self) -> &'static str {
        "ArrayFeatureExtractor"
    }

    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [(datum_type, shape), (_, positions)] = inputs else {
            bail!("ArrayFeatureExtractor takes two inputs");
        };
        let chosen: TDim = positions.iter().product();
        let shape = match shape.as_slice() {
            [] => bail!("ArrayFeatureExtractor takes no scalars"),
            [_] => tvec![1.to_dim(), chosen],
            [before @ .., _] => before.iter().cloned().chain([chosen]).collect(),
        };
        Ok(tvec![(*datum_type, shape)])
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let [input, positions] = inputs else {
            bail!("ArrayFeatureExtractor takes two inputs");
        };
        let chosen = match input.datum_type() {
            DatumType::F32 => choose::<f32>(input, positions),
            DatumType::F64 => choose::<f64>(input, positions),
            DatumType::I32 => choose::<i32>(input, positions),
            DatumType::I64 => choose::<i64>(input, positions),
            DatumType::Bool => choose::<bool>(input, positions),
            DatumType::String => choose::<String>(input, positions),
            other => bail!("ArrayFeatureExtractor takes no {other:?}"),
        };
        Ok(tvec![chosen?])
    }
}

fn choose<D: Datum>(input: &Tensor, positions: &Tensor) -> TractResult<Tensor> {
    let columns = input.shape().last().copied().unwrap_or(0);
    let positions = positions.cast_to::<i64>()?;
    let positions = elements::<i64>(&positions)?
        .iter()
        .map(|&position| {
            usize::try_from(position)
                .ok()
                .filter(|&position| position < columns)
        })
        .collect::<Option<TVec<usize>>>();
    let Some(positions) = positions else {
        bail!("ArrayFeatureExtractor selects a column beyond the {columns} of its input");
    };
    ensure!(
        !positions.is_empty(),
        "ArrayFeatureExtractor selects no columns"
    );
    let chosen: Vec<D> = elements::<D>(input)?
        .chunks(columns.max(1))
        .flat_map(|row| positions.iter().map(|&position| row[position].clone()))
        .collect();
    let mut shape: TVec<usize> = input.shape().into();
    match shape.as_mut_slice() {
        [_] => shape = tvec![1, positions.len()],
        [.., last] => *last = positions.len(),
        [] => {}
    }
    tensor1(&chosen).into_shape(&shape)
}
