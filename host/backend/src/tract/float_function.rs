//! Elementwise functions of floats whose tract kernels swallow NaN, overflow or end before their limits.
//!
//! tract's kernels for x86-64 bound their argument by a maximum and a minimum, which return the bound for
//! NaN, so `Tanh(NaN)` is -1 and `Sigmoid(-100)` is 5e-7. Its `Softplus` is `ln(exp(x) + 1)`, which is infinite
//! from 89. The functions here compute what onnxruntime computes. Those that are in every layer of published
//! models have a vectorised form ([`single`]); the others are computed in f64.

mod single;

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{DatumType, Tensor, TractResult, f16};
use tract_onnx::tract_core::internal::{ElementWiseMiniOp, bail};
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::{math, nn};
use tract_onnx::tract_hir::infer::InferenceOp;
use tract_onnx::tract_hir::internal::ElementWiseIntoHir;

/// The numbers from which the inverse hyperbolic functions are a logarithm, since 1 is lost beside their square.
const LARGE: f64 = 268_435_456.0;

/// The factor of `x` in the usual approximation of Gelu: the square root of two over pi.
const GELU_SCALE: f64 = 0.797_884_560_802_865_4;

/// The factor of the cube in the usual approximation of Gelu.
const GELU_CUBE: f64 = 0.044_715;

/// An elementwise function.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum FloatFunction {
    Acosh,
    Asinh,
    /// Gelu with a hyperbolic tangent.
    GeluTanh,
    HardSwish,
    /// Rounding that tract lacks for f64.
    RoundToEven,
    Shrink {
        bias: f32,
        lambda: f32,
    },
    Sigmoid,
    /// `x * sigmoid(x)`, also called Swish.
    Silu,
    Softplus,
    Tanh,
}

impl Eq for FloatFunction {}

/// Registers the operators that tract composes of others, and so computes wrongly on any device.
pub(super) fn register(onnx: &mut Onnx) {
    onnx.op_register.insert("Shrink", build_shrink);
    onnx.op_register.insert("Softplus", build_softplus);
}

type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

fn build_shrink(_context: &ParsingContext, node: &NodeProto) -> Built {
    let bias = node.get_attr_opt::<f32>("bias")?.unwrap_or(0.0);
    let lambda = node.get_attr_opt::<f32>("lambd")?.unwrap_or(0.5);
    let shrink = FloatFunction::Shrink { bias, lambda };
    Ok((shrink.operator().into_hir(), vec![]))
}

fn build_softplus(_context: &ParsingContext, _node: &NodeProto) -> Built {
    Ok((FloatFunction::Softplus.operator().into_hir(), vec![]))
}

impl FloatFunction {
    /// Returns the function that replaces an operator of tract on elements of this type, if there is one.
    pub(super) fn replacing(
        operator: &dyn ElementWiseMiniOp,
        datum_type: DatumType,
    ) -> Option<FloatFunction> {
        if !datum_type.is_float() {
            return None;
        }
        if operator.is::<nn::Sigmoid>() {
            Some(FloatFunction::Sigmoid)
        } else if operator.is::<nn::Silu>() {
            Some(FloatFunction::Silu)
        } else if operator.is::<math::Tanh>() {
            Some(FloatFunction::Tanh)
        } else if operator.is::<nn::HardSwish>() {
            Some(FloatFunction::HardSwish)
        } else if operator.is::<math::Asinh>() {
            Some(FloatFunction::Asinh)
        } else if operator.is::<math::Acosh>() {
            Some(FloatFunction::Acosh)
        } else if operator.is::<math::RoundHalfToEven>() && datum_type == DatumType::F64 {
            Some(FloatFunction::RoundToEven)
        } else {
            // The other form squares where this one cubes.
            let gelu = operator.downcast_ref::<nn::GeluApproximate>()?;
            (!gelu.fast_impl).then_some(FloatFunction::GeluTanh)
        }
    }

    /// Returns the function as an operator of tract.
    pub(super) fn operator(self) -> ElementWiseOp {
        ElementWiseOp(Box::new(self), None)
    }

    /// Applies the function to each number.
    fn apply(self, numbers: &mut [f32]) -> TractResult<()> {
        match self {
            FloatFunction::GeluTanh => single::gelu_tanh(numbers),
            FloatFunction::HardSwish => single::hard_swish(numbers),
            FloatFunction::Sigmoid => single::sigmoid(numbers),
            FloatFunction::Silu => single::silu(numbers),
            FloatFunction::Tanh => single::tanh(numbers),
            FloatFunction::Acosh
            | FloatFunction::Asinh
            | FloatFunction::RoundToEven
            | FloatFunction::Shrink { .. }
            | FloatFunction::Softplus => {
                for x in numbers {
                    #[expect(clippy::cast_possible_truncation, reason = "the output is float")]
                    let y = self.exact(f64::from(*x)) as f32;
                    *x = y;
                }
                Ok(())
            }
        }
    }

    /// Returns the function of `x`.
    fn exact(self, x: f64) -> f64 {
        match self {
            FloatFunction::Acosh if x < 1.0 => f64::NAN,
            FloatFunction::Acosh if x > LARGE => x.ln() + std::f64::consts::LN_2,
            FloatFunction::Acosh => {
                let above = x - 1.0;
                (above + (above * above + 2.0 * above).sqrt()).ln_1p()
            }
            FloatFunction::Asinh => {
                let size = x.abs();
                let result = if size > LARGE {
                    size.ln() + std::f64::consts::LN_2
                } else {
                    let square = size * size;
                    (size + square / (1.0 + (square + 1.0).sqrt())).ln_1p()
                };
                result.copysign(x)
            }
            FloatFunction::GeluTanh => {
                let inner = GELU_SCALE * (x + GELU_CUBE * x * x * x);
                x / (1.0 + (-2.0 * inner).exp())
            }
            FloatFunction::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            FloatFunction::RoundToEven => x.round_ties_even(),
            FloatFunction::Shrink { bias, lambda } => {
                let (bias, lambda) = (f64::from(bias), f64::from(lambda));
                if x < -lambda {
                    x + bias
                } else if x > lambda {
                    x - bias
                } else {
                    0.0
                }
            }
            FloatFunction::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            FloatFunction::Silu => x / (1.0 + (-x).exp()),
            // The exponential of NaN is NaN, so the maximum need not be.
            FloatFunction::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            FloatFunction::Tanh => x.tanh(),
        }
    }
}

impl ElementWiseMiniOp for FloatFunction {
    fn name(&self) -> String {
        match self {
            FloatFunction::Shrink { .. } => "Shrink".to_owned(),
            function => format!("{function:?}"),
        }
    }

    fn eval_in_place(&self, tensor: &mut Tensor, _output: Option<DatumType>) -> TractResult<()> {
        let datum_type = tensor.datum_type();
        let mut plain = tensor.try_as_plain_ram_mut()?;
        match datum_type {
            DatumType::F32 => self.apply(plain.as_slice_mut::<f32>()?)?,
            DatumType::F64 => {
                for x in plain.as_slice_mut::<f64>()? {
                    *x = self.exact(*x);
                }
            }
            DatumType::F16 => {
                for x in plain.as_slice_mut::<f16>()? {
                    *x = f16::from_f64(self.exact(f64::from(*x)));
                }
            }
            other => bail!("{} does not support {other:?}", self.name()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::prelude::tensor1;

    fn applied(function: FloatFunction, input: &[f32]) -> Vec<f32> {
        let mut tensor = tensor1(input);
        function.eval_in_place(&mut tensor, None).unwrap();
        let plain = tensor.try_as_plain_ram().unwrap();
        plain.as_slice::<f32>().unwrap().to_vec()
    }

    /// Compares with values of numpy in f64, which are those of onnxruntime 1.31 within its precision.
    fn check(function: FloatFunction, cases: &[(f32, f32)]) {
        let inputs: Vec<f32> = cases.iter().map(|(input, _)| *input).collect();
        let outputs = applied(function, &inputs);
        for ((input, expected), found) in cases.iter().zip(outputs) {
            let equal = match expected {
                expected if expected.is_nan() => found.is_nan(),
                expected if expected.is_infinite() => found == *expected,
                expected => (found - expected).abs() <= 1e-6 * expected.abs().max(0.1),
            };
            assert!(equal, "{function:?} of {input}: {found}, not {expected}");
        }
    }

    #[test]
    fn nan_stays_nan() {
        let functions = [
            FloatFunction::Acosh,
            FloatFunction::Asinh,
            FloatFunction::GeluTanh,
            FloatFunction::HardSwish,
            FloatFunction::RoundToEven,
            FloatFunction::Sigmoid,
            FloatFunction::Silu,
            FloatFunction::Softplus,
            FloatFunction::Tanh,
        ];
        for function in functions {
            assert!(applied(function, &[f32::NAN])[0].is_nan(), "{function:?}");
        }
    }

    #[test]
    fn large_numbers_neither_overflow_nor_end_before_the_limit() {
        let infinite = f32::INFINITY;
        check(
            FloatFunction::Softplus,
            &[
                (88.0, 88.0),
                (89.0, 89.0),
                (1e30, 1e30),
                (infinite, infinite),
                (-infinite, 0.0),
                (0.0, std::f32::consts::LN_2),
                (-3.5, 0.029_750_418),
            ],
        );
        check(
            FloatFunction::Sigmoid,
            &[
                (infinite, 1.0),
                (-infinite, 0.0),
                (-105.0, 0.0),
                (0.5, 0.622_459_35),
                (-3.0, 0.047_425_874),
            ],
        );
        check(
            FloatFunction::Silu,
            &[
                (-infinite, f32::NAN),
                (-1e30, 0.0),
                (1e30, 1e30),
                (0.5, 0.311_229_67),
                (-3.5, -0.102_592_81),
            ],
        );
        check(
            FloatFunction::Tanh,
            &[
                (infinite, 1.0),
                (-infinite, -1.0),
                (20.0, 1.0),
                (0.25, 0.244_918_66),
                (-0.31, -0.300_437_1),
                (1.5, 0.905_148_27),
            ],
        );
        check(
            FloatFunction::GeluTanh,
            &[
                (infinite, infinite),
                (-infinite, f32::NAN),
                (-1e30, 0.0),
                (-89.0, 0.0),
                (1.5, 1.399_571_5),
                (-3.0, -0.003_637_392),
            ],
        );
        check(
            FloatFunction::HardSwish,
            &[
                (3.4e38, 3.4e38),
                (-3.4e38, 0.0),
                (1.0, 0.666_666_7),
                (-2.0, -0.333_333_34),
            ],
        );
        check(
            FloatFunction::Asinh,
            &[
                (3.4e38, 89.415_15),
                (-1e30, -69.770_7),
                (1e-8, 1e-8),
                (2.5, 1.647_231_1),
            ],
        );
        check(
            FloatFunction::Acosh,
            &[
                (3.4e38, 89.415_15),
                (1.0, 0.0),
                (2.5, 1.566_799_2),
                (0.5, f32::NAN),
            ],
        );
    }

    #[test]
    fn small_numbers_and_negative_zero_are_kept() {
        let outputs = applied(FloatFunction::Tanh, &[-0.0, 1e-30, -1e-8]);
        assert_eq!(outputs[0].to_bits(), (-0.0f32).to_bits());
        assert_eq!(outputs[1..], [1e-30, -1e-8]);
    }

    #[test]
    fn doubles_are_computed_as_doubles() {
        let shrink = FloatFunction::Shrink {
            bias: 0.5,
            lambda: 1.0,
        };
        let mut numbers = tensor1(&[1e300f64, -1.0, 1.5, -2.0]);
        shrink.eval_in_place(&mut numbers, None).unwrap();
        assert_eq!(numbers, tensor1(&[1e300f64, 0.0, 1.0, -1.5]));
        let mut halves = tensor1(&[0.5f64, 2.5, -1.5]);
        let round = FloatFunction::RoundToEven;
        round.eval_in_place(&mut halves, None).unwrap();
        assert_eq!(halves, tensor1(&[0f64, 2.0, -2.0]));
    }

    #[test]
    fn more_numbers_than_a_chunk_are_all_computed() {
        let inputs: Vec<f32> = (0..5000u16).map(|n| f32::from(n) / 500.0 - 5.0).collect();
        for function in [
            FloatFunction::Sigmoid,
            FloatFunction::Tanh,
            FloatFunction::Silu,
        ] {
            for (x, y) in inputs.iter().zip(applied(function, &inputs)) {
                let exact = function.exact(f64::from(*x));
                let error = (f64::from(y) - exact).abs();
                assert!(error < 1e-6, "{function:?} of {x}: {y}, not {exact}");
            }
        }
    }
}
