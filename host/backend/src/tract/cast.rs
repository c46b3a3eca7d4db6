//! `Cast` and `CastLike` of numbers to integers, and of floats and bools to strings.
//!
//! tract converts to INT64 through 32 bits, and saturates floats that the integer type does not contain. Here the
//! result is that of onnxruntime on x86-64. A float is cut towards zero and then:
//! - for INT64, a number beyond the type, an infinity or NaN is the smallest INT64;
//! - for UINT64, so are NaN and numbers below those of INT64 (that is 2^63), a negative number wraps, and a number
//!   from 2^64 is 0;
//! - for INT32, a number beyond the type, an infinity or NaN is the smallest INT32;
//! - for UINT32, the low 32 bits of the number as INT64 (onnxruntime's vectorised loop differs beyond the type);
//! - for 8 and 16 bits, the low bits of the number as INT32.
//!
//! Integers wrap, as they do in tract. As a string, a float has 8 significant digits, also one of 64 bits, and a bool is
//! 0 or 1.

use super::draft::{Draft, build_theirs};
use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{
    Arc, Datum, DatumType, IntoTValue, IntoTensor, SpecialOps, TValue, TVec, Tensor, TractResult,
    TypedFact, TypedModel, TypedNode, TypedOp, tvec,
};
use tract_onnx::tract_core::internal::{
    AxesMapping, AxisChangeConsequence, AxisOp, EvalContext, EvalOp, InOut, Op, OutletId,
    StaticName, TDim, as_op, bail, op_as_typed_op, op_out_of_plan,
};
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_hir::infer::InferenceOp;
use tract_onnx::tract_hir::internal::{Expansion, InferenceResult, Solver, TensorProxy, expand};

/// An operator of tract whose casts to integers are replaced.
#[derive(Debug, Clone)]
struct Casting(Box<dyn Expansion>);

/// A cast to integers or strings. INT64 is a dimension in tract.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct IntegerCast(Cast);

/// Registers the operators of this module.
pub(super) fn register(onnx: &mut Onnx) {
    onnx.op_register.insert("Cast", build);
    onnx.op_register.insert("CastLike", build);
}

fn build(
    context: &ParsingContext,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let (theirs, closures) = build_theirs(context, node)?;
    Ok((expand(Casting(theirs)), closures))
}

impl Expansion for Casting {
    fn name(&self) -> StaticName {
        self.0.name()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        self.0.rules(solver, inputs, outputs)
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let Some(input) = inputs.first() else {
            bail!("{} needs an input", self.name());
        };
        let from = model.outlet_fact(*input)?.datum_type;
        let draft = Draft::of(&*self.0, prefix, model, inputs)?;
        let cast = draft.nodes().last().and_then(|node| node.op_as::<Cast>());
        match cast {
            Some(cast) if is_replaced(from, cast.to) => {
                model.wire_node(prefix, IntegerCast(cast.clone()), &inputs[..1])
            }
            _ => self.0.wire(prefix, model, inputs),
        }
    }
}

/// Returns whether tract's result may be another than onnxruntime's.
fn is_replaced(from: DatumType, to: DatumType) -> bool {
    match to {
        DatumType::TDim => {
            from.is_float() || matches!(from, DatumType::I64 | DatumType::U32 | DatumType::U64)
        }
        DatumType::String => from.is_float() || from == DatumType::Bool,
        to => from.is_float() && to.is_integer() && !to.is_quantized(),
    }
}

impl Op for IntegerCast {
    fn name(&self) -> StaticName {
        self.0.name()
    }

    op_as_typed_op!();
}

impl EvalOp for IntegerCast {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let Some(input) = inputs.first() else {
            bail!("{} needs an input", self.name());
        };
        Ok(tvec!(converted(input, self.0.to)?.into_tvalue()))
    }
}

/// Returns the numbers of `input` as integers.
fn converted(input: &Tensor, to: DatumType) -> TractResult<Tensor> {
    match input.datum_type() {
        DatumType::I64 => return mapped(input, |x: &i64| TDim::Val(*x)),
        DatumType::U32 => return mapped(input, |x: &u32| TDim::Val(i64::from(*x))),
        DatumType::U64 => return mapped(input, |x: &u64| TDim::Val(x.cast_signed())),
        DatumType::Bool => return mapped(input, |x: &bool| u8::from(*x).to_string()),
        _ => {}
    }
    let input = input.cast_to::<f64>()?;
    match to {
        DatumType::TDim => mapped(&input, |x: &f64| TDim::Val(to_i64(*x))),
        DatumType::I64 => mapped(&input, |x: &f64| to_i64(*x)),
        DatumType::U64 => mapped(&input, |x: &f64| to_u64(*x)),
        DatumType::I32 => mapped(&input, |x: &f64| to_i32(*x)),
        DatumType::U32 => mapped(&input, |x: &f64| to_u32(*x)),
        DatumType::I16 => mapped(&input, |x: &f64| low_bits(*x).cast_signed()),
        DatumType::U16 => mapped(&input, |x: &f64| low_bits(*x)),
        DatumType::I8 => mapped(&input, |x: &f64| lowest_bits(*x).cast_signed()),
        DatumType::U8 => mapped(&input, |x: &f64| lowest_bits(*x)),
        DatumType::String => mapped(&input, |x: &f64| text(*x)),
        other => bail!("Cast of numbers to {other:?}"),
    }
}

fn mapped<S: Datum, D: Datum>(input: &Tensor, convert: impl Fn(&S) -> D) -> TractResult<Tensor> {
    let numbers = input.to_plain_array_view::<S>()?;
    Ok(numbers.map(convert).into_tensor())
}

fn to_i64(x: f64) -> i64 {
    const END: f64 = 9_223_372_036_854_775_808.0;
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    let whole = x as i64;
    // Comparisons with NaN are false.
    if (-END..END).contains(&x) {
        whole
    } else {
        i64::MIN
    }
}

fn to_u64(x: f64) -> u64 {
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    if x >= HALF {
        to_i64(x - HALF).cast_unsigned() ^ (1 << 63)
    } else {
        to_i64(x).cast_unsigned()
    }
}

fn to_i32(x: f64) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    let whole = x as i32;
    if x > -2_147_483_649.0 && x < 2_147_483_648.0 {
        whole
    } else {
        i32::MIN
    }
}

fn to_u32(x: f64) -> u32 {
    let [a, b, c, d, ..] = to_i64(x).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

fn low_bits(x: f64) -> u16 {
    let [a, b, ..] = to_i32(x).to_le_bytes();
    u16::from_le_bytes([a, b])
}

fn lowest_bits(x: f64) -> u8 {
    to_i32(x).to_le_bytes()[0]
}

/// The significant digits of a float that becomes a string.
const DIGITS: usize = 8;

/// Returns a float as `%g` of C prints it, with [`DIGITS`].
fn text(x: f64) -> String {
    if x.is_nan() {
        return "NaN".to_owned();
    }
    if x.is_infinite() {
        return if x > 0.0 { "INF" } else { "-INF" }.to_owned();
    }
    let scientific = format!("{x:.*e}", DIGITS - 1);
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    match usize::try_from(exponent) {
        Ok(exponent) if exponent < DIGITS => {
            without_zeros(&format!("{x:.*}", DIGITS - 1 - exponent)).to_owned()
        }
        Err(_) if exponent >= -4 => {
            let zeros = usize::try_from(exponent.unsigned_abs()).unwrap_or_default();
            let decimals = zeros.saturating_add(DIGITS - 1);
            without_zeros(&format!("{x:.decimals$}")).to_owned()
        }
        _ => {
            let sign = if exponent < 0 { '-' } else { '+' };
            let mantissa = without_zeros(mantissa);
            format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
        }
    }
}

/// Returns a decimal number without the zeros at the end of its fraction.
fn without_zeros(number: &str) -> &str {
    match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    }
}

impl IntegerCast {
    /// Returns the operator that replaces one of tract on elements of type `from`, if there is one.
    pub(super) fn replacing(cast: &Cast, from: DatumType) -> Option<IntegerCast> {
        is_replaced(from, cast.to).then(|| IntegerCast(cast.clone()))
    }
}

impl TypedOp for IntegerCast {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let mut facts = self.0.output_facts(inputs)?;
        if let ([input], [output]) = (inputs, &mut *facts) {
            output.uniform = match &input.uniform {
                Some(uniform) => Some(Arc::new(converted(uniform, self.0.to)?)),
                None => None,
            };
        }
        Ok(facts)
    }

    fn axes_mapping(
        &self,
        inputs: &[&TypedFact],
        outputs: &[&TypedFact],
    ) -> TractResult<AxesMapping> {
        self.0.axes_mapping(inputs, outputs)
    }

    fn change_axes(
        &self,
        model: &TypedModel,
        node: &TypedNode,
        io: InOut,
        change: &AxisOp,
    ) -> TractResult<Option<AxisChangeConsequence>> {
        self.0.change_axes(model, node, io, change)
    }

    as_op!();
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::prelude::tensor1;

    #[test]
    fn floats_are_printed_as_in_c() {
        for (number, expected) in [
            (1.5, "1.5"),
            (-0.0, "-0"),
            (1e20, "1e+20"),
            (1e-7, "1e-07"),
            (0.000_012_34, "1.234e-05"),
            (0.0001, "0.0001"),
            (99_999_999.9, "1e+08"),
            (123_456_792.0, "1.2345679e+08"),
            (f64::NEG_INFINITY, "-INF"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(text(number), expected);
        }
    }

    #[test]
    fn bools_become_digits() -> TractResult<()> {
        let found = converted(&tensor1(&[true, false]), DatumType::String)?;
        assert_eq!(found, tensor1(&["1".to_owned(), "0".to_owned()]));
        Ok(())
    }

    /// Floats at and beyond the limits of the types.
    const HOSTILE: [f64; 12] = [
        -1.5,
        255.6,
        300.0,
        32_768.0,
        3e9,
        -3e9,
        9.3e18,
        1.9e19,
        -1e30,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ];

    fn cast<D: Datum + Copy>(input: &Tensor) -> Vec<D> {
        let output = converted(input, D::datum_type()).unwrap();
        let plain = output.try_as_plain_ram().unwrap();
        plain.as_slice::<D>().unwrap().to_vec()
    }

    fn dimensions(input: &Tensor) -> Vec<i64> {
        let output = converted(input, DatumType::TDim).unwrap();
        cast_to_i64(&output)
    }

    fn cast_to_i64(dimensions: &Tensor) -> Vec<i64> {
        let numbers = dimensions.cast_to::<i64>().unwrap();
        let plain = numbers.try_as_plain_ram().unwrap();
        plain.as_slice::<i64>().unwrap().to_vec()
    }

    #[test]
    fn floats_beyond_an_integer_type_are_those_of_onnxruntime() {
        let hostile = tensor1(&HOSTILE);
        const LEAST: i64 = i64::MIN;
        assert_eq!(
            dimensions(&hostile),
            [-1, 255, 300, 32_768, 3_000_000_000, -3_000_000_000]
                .into_iter()
                .chain([LEAST; 6])
                .collect::<Vec<i64>>()
        );
        let half = 1u64 << 63;
        assert_eq!(
            cast::<u64>(&hostile)[4..],
            [
                3_000_000_000,
                18_446_744_070_709_551_616,
                9_300_000_000_000_000_000,
                0,
                half,
                half,
                0,
                half
            ]
        );
        let least = i32::MIN;
        assert_eq!(
            cast::<i32>(&hostile),
            [
                -1, 255, 300, 32_768, least, least, least, least, least, least, least, least
            ]
        );
        let wrapped: [i16; 12] = [-1, 255, 300, -32_768, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(cast::<i16>(&hostile), wrapped);
        let wrapped: [u8; 12] = [255, 255, 44, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(cast::<u8>(&hostile), wrapped);
        let wrapped: [i8; 12] = [-1, -1, 44, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(cast::<i8>(&hostile), wrapped);
        assert_eq!(
            cast::<u32>(&hostile)[..5],
            [u32::MAX, 255, 300, 32_768, 3_000_000_000]
        );
    }

    #[test]
    fn integers_keep_their_64_bits() {
        let large = [1i64 << 31, -(1 << 40), i64::MAX, i64::MIN];
        assert_eq!(dimensions(&tensor1(&large)), large);
        assert_eq!(dimensions(&tensor1(&[u32::MAX])), [4_294_967_295]);
        assert_eq!(dimensions(&tensor1(&[u64::MAX, 1 << 62])), [-1, 1 << 62]);
    }
}
