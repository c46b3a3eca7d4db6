//! `Scaler`, `Imputer` and `Binarizer`: elementwise operators with parameters that may differ by column.

use super::attribute;
use super::operator::{Built, Fact, Kernel, built, elements, filled, rows_and_columns};
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{Datum, DatumType, TDim, TValue, TVec, Tensor, TractResult, tvec};
use tract_onnx::tract_core::internal::{bail, ensure};

/// Computes `(x - offset) * scale`, with f32 as output.
struct Scaler {
    offset: Vec<f32>,
    scale: Vec<f32>,
}

/// Replaces the value that marks a gap by another value.
struct Imputer {
    floats: Option<Replacement<f32>>,
    ints: Option<Replacement<i64>>,
}

struct Replacement<T> {
    replaced: T,
    /// A single entry for all columns, or one for each.
    imputed: Vec<T>,
}

/// Returns 1 for an element above the threshold, otherwise 0.
struct Binarizer {
    threshold: f32,
}

pub(super) fn build_scaler(_context: &ParsingContext, node: &NodeProto) -> Built {
    let offset = attribute::floats(node, "offset")?;
    let scale = attribute::floats(node, "scale")?;
    node.expect_attr("scale", !scale.is_empty(), "at least one entry")?;
    attribute::expect_length(node, "offset", offset.len(), scale.len())?;
    built(node, Scaler { offset, scale })
}

pub(super) fn build_imputer(_context: &ParsingContext, node: &NodeProto) -> Built {
    let floats = attribute::floats(node, "imputed_value_floats")?;
    let ints = attribute::ints(node, "imputed_value_int64s")?;
    node.expect_attr(
        "imputed_value_floats",
        floats.is_empty() != ints.is_empty(),
        "entries either here or in imputed_value_int64s",
    )?;
    let floats = match floats.is_empty() {
        true => None,
        false => Some(Replacement {
            replaced: node.get_attr_opt("replaced_value_float")?.unwrap_or(0.0),
            imputed: floats,
        }),
    };
    let ints = match ints.is_empty() {
        true => None,
        false => Some(Replacement {
            replaced: node.get_attr_opt("replaced_value_int64")?.unwrap_or(0),
            imputed: ints,
        }),
    };
    built(node, Imputer { floats, ints })
}

pub(super) fn build_binarizer(_context: &ParsingContext, node: &NodeProto) -> Built {
    let threshold = node.get_attr_opt("threshold")?.unwrap_or(0.0);
    built(node, Binarizer { threshold })
}

/// Checks that there is one entry for all columns or one for each column.
fn expect_entries(name: &str, entries: usize, shape: &[TDim]) -> TractResult<()> {
    let (_, columns) = rows_and_columns(shape)?;
    if let Some(columns) = columns.as_i64() {
        ensure!(
            entries == 1 || usize::try_from(columns) == Ok(entries),
            "{name} was made for {entries} columns, its input has {columns}"
        );
    }
    Ok(())
}

/// Returns `operation(x, entry)` for each element `x`; the entries repeat along each row.
fn map_rows<X: Datum + Copy, Y: Datum + Copy, E>(
    tensor: &Tensor,
    entries: &[E],
    operation: impl Fn(X, &E) -> Y,
) -> TractResult<Tensor> {
    let input = elements::<X>(tensor)?;
    let columns = tensor.shape().last().copied().unwrap_or(1).max(1);
    ensure!(
        entries.len() == 1 || entries.len() == columns,
        "the input has {columns} columns, expected {}",
        entries.len()
    );
    filled::<Y>(tensor.shape(), |output| {
        for (to, from) in output.chunks_mut(columns).zip(input.chunks(columns)) {
            for ((to, from), entry) in to.iter_mut().zip(from).zip(entries.iter().cycle()) {
                *to = operation(*from, entry);
            }
        }
        Ok(())
    })
}

impl Kernel for Scaler {
    fn name(&self) -> &'static str {
        "Scaler"
    }

    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [(datum_type, shape)] = inputs else {
            bail!("Scaler takes one input");
        };
        ensure!(datum_type.is_number(), "Scaler needs numeric input");
        expect_entries("Scaler", self.scale.len(), shape)?;
        Ok(tvec![(DatumType::F32, shape.clone())])
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let entries: TVec<(f32, f32)> = self
            .offset
            .iter()
            .copied()
            .zip(self.scale.iter().copied())
            .collect();
        let scaled = match inputs[0].datum_type() {
            // f64 keeps its precision until the end, as in onnxruntime.
            DatumType::F64 => map_rows(&inputs[0], &entries, |x: f64, &(offset, scale)| {
                #[expect(clippy::cast_possible_truncation, reason = "the output is float")]
                let scaled = ((x - f64::from(offset)) * f64::from(scale)) as f32;
                scaled
            }),
            _ => {
                let floats = super::operator::floats(&inputs[0])?;
                map_rows(&floats, &entries, |x: f32, &(offset, scale)| {
                    (x - offset) * scale
                })
            }
        };
        Ok(tvec![scaled?])
    }
}

impl Kernel for Imputer {
    fn name(&self) -> &'static str {
        "Imputer"
    }

    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [(datum_type, shape)] = inputs else {
            bail!("Imputer takes one input");
        };
        let entries = match (datum_type, &self.floats, &self.ints) {
            (DatumType::F32 | DatumType::F64, Some(floats), _) => floats.imputed.len(),
            (DatumType::I64, _, Some(ints)) => ints.imputed.len(),
            _ => bail!("Imputer has no imputed values for {datum_type:?}"),
        };
        expect_entries("Imputer", entries, shape)?;
        Ok(tvec![(*datum_type, shape.clone())])
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let input = &inputs[0];
        let imputed = match (input.datum_type(), &self.floats, &self.ints) {
            (DatumType::F32, Some(Replacement { replaced, imputed }), _) => {
                map_rows(input, imputed, |x: f32, other| {
                    let is_gap = x == *replaced || (x.is_nan() && replaced.is_nan());
                    if is_gap { *other } else { x }
                })
            }
            (DatumType::F64, Some(Replacement { replaced, imputed }), _) => {
                map_rows(input, imputed, |x: f64, other| {
                    let is_gap = x == f64::from(*replaced) || (x.is_nan() && replaced.is_nan());
                    if is_gap { f64::from(*other) } else { x }
                })
            }
            (DatumType::I64, _, Some(Replacement { replaced, imputed })) => map_rows(
                input,
                imputed,
                |x: i64, other| {
                    if x == *replaced { *other } else { x }
                },
            ),
            (other, ..) => bail!("Imputer has no imputed values for {other:?}"),
        };
        Ok(tvec![imputed?])
    }
}

impl Kernel for Binarizer {
    fn name(&self) -> &'static str {
        "Binarizer"
    }

    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [(datum_type, shape)] = inputs else {
            bail!("Binarizer takes one input");
        };
        ensure!(
            matches!(
                datum_type,
                DatumType::F32 | DatumType::F64 | DatumType::I64 | DatumType::I32
            ),
            "Binarizer needs numeric input"
        );
        Ok(tvec![(*datum_type, shape.clone())])
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let threshold = [f64::from(self.threshold)];
        let above = |x: f64, threshold: &f64| f64::from(u8::from(x > *threshold));
        let binary = map_rows(&*inputs[0].cast_to::<f64>()?, &threshold, above)?;
        Ok(tvec![
            binary.cast_to_dt(inputs[0].datum_type())?.into_owned()
        ])
    }
}
