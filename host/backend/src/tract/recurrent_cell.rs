//! The gates of LSTM and GRU cells whose inputs contain NaN.
//!
//! tract computes the gates of a cell in one operator, with the kernels that turn NaN into a plausible number
//! (see [`super::float_function`]). It computes everything else.

use tract_onnx::prelude::{
    DatumType, IntoTValue, TValue, TVec, Tensor, TractResult, TypedFact, TypedOp, tvec,
};
use tract_onnx::tract_core::internal::{
    EvalContext, EvalOp, Op, StaticName, as_op, bail, ensure, op_as_typed_op, op_out_of_plan,
};
use tract_onnx::tract_core::ops::gru_cell::GruEpilogue;
use tract_onnx::tract_core::ops::lstm_cell::LstmEpilogue;

/// An operator of tract for the gates of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RecurrentCell {
    Gru(GruEpilogue),
    Lstm(LstmEpilogue),
}

impl RecurrentCell {
    fn theirs(&self) -> &dyn TypedOp {
        match self {
            RecurrentCell::Gru(cell) => cell,
            RecurrentCell::Lstm(cell) => cell,
        }
    }
}

fn contains_nan(tensor: &Tensor) -> TractResult<bool> {
    if tensor.datum_type() != DatumType::F32 {
        return Ok(false);
    }
    let numbers = floats(tensor)?.iter();
    Ok(numbers.fold(false, |found, x| found | x.is_nan()))
}

fn floats(tensor: &Tensor) -> TractResult<&[f32]> {
    tensor.try_as_plain_ram()?.as_slice::<f32>()
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Returns the new outputs and the new states, with gates in the order input, output, forget, cell.
fn lstm(hidden: usize, gates: &Tensor, states: &Tensor) -> TractResult<TVec<TValue>> {
    let (gates, shape, states) = (floats(gates)?, states.shape(), floats(states)?);
    ensure!(
        hidden > 0 && gates.len() == 4 * states.len(),
        "the gates of an LSTM do not fit its state"
    );
    let (mut outputs, mut new_states) = (Vec::new(), Vec::new());
    for (gates, states) in gates
        .chunks_exact(4 * hidden)
        .zip(states.chunks_exact(hidden))
    {
        for (unit, state) in states.iter().enumerate() {
            let gate = |number: usize| gates[number * hidden + unit];
            let candidate = gate(3).tanh();
            let new_state = sigmoid(gate(2)) * state + sigmoid(gate(0)) * candidate;
            outputs.push(sigmoid(gate(1)) * new_state.tanh());
            new_states.push(new_state);
        }
    }
    Ok(tvec!(
        Tensor::from_shape(shape, &outputs)?.into_tvalue(),
        Tensor::from_shape(shape, &new_states)?.into_tvalue(),
    ))
}

/// Returns the new states, with gates in the order update, reset, candidate.
fn gru(
    hidden: usize,
    inputs: &Tensor,
    recurrent: &Tensor,
    states: &Tensor,
) -> TractResult<TVec<TValue>> {
    let (inputs, recurrent) = (floats(inputs)?, floats(recurrent)?);
    let (shape, states) = (states.shape(), floats(states)?);
    let gates = 3 * states.len();
    ensure!(
        hidden > 0 && inputs.len() == gates && recurrent.len() == gates,
        "the gates of a GRU do not fit its state"
    );
    let mut new_states = Vec::new();
    for (position, state) in states.iter().enumerate() {
        let (row, unit) = (position / hidden, position % hidden);
        let at = |number: usize| (3 * row + number) * hidden + unit;
        let sum = |number: usize| inputs[at(number)] + recurrent[at(number)];
        let candidate = inputs[at(2)] + sigmoid(sum(1)) * recurrent[at(2)];
        let candidate = candidate.tanh();
        new_states.push(candidate + sigmoid(sum(0)) * (state - candidate));
    }
    let new_states = Tensor::from_shape(shape, &new_states)?;
    Ok(tvec!(new_states.into_tvalue()))
}

impl Op for RecurrentCell {
    fn name(&self) -> StaticName {
        self.theirs().name()
    }

    op_as_typed_op!();
}

impl EvalOp for RecurrentCell {
    op_out_of_plan!();

    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut found = false;
        for input in &inputs {
            found |= contains_nan(input)?;
        }
        if !found {
            return self.theirs().eval(context, inputs);
        }
        match (self, &*inputs) {
            (RecurrentCell::Lstm(cell), [gates, states]) => lstm(cell.hidden, gates, states),
            (RecurrentCell::Gru(cell), [gates, recurrent, states]) => {
                gru(cell.hidden, gates, recurrent, states)
            }
            _ => bail!("{} of {} inputs", self.name(), inputs.len()),
        }
    }
}

impl TypedOp for RecurrentCell {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.theirs().output_facts(inputs)
    }

    as_op!();
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::prelude::tensor2;

    fn evaluated(cell: &RecurrentCell, inputs: TVec<TValue>) -> Vec<Vec<f32>> {
        let outputs = cell.eval(&EvalContext::out_of_plan(), inputs).unwrap();
        let numbers = |output: &TValue| floats(output).unwrap().to_vec();
        outputs.iter().map(numbers).collect()
    }

    fn assert_close(left: &[Vec<f32>], right: &[Vec<f32>]) {
        for (left, right) in left.iter().flatten().zip(right.iter().flatten()) {
            assert!((left - right).abs() < 1e-5, "{left} and {right}");
        }
    }

    /// Checks that a NaN in the second row leaves the first as tract computes it.
    fn check(cell: &RecurrentCell, gates: usize) {
        let number = |n: usize| f32::from(u8::try_from(n * 7 % 13).unwrap()) / 4.0 - 1.5;
        let width = 2 * gates;
        let numbers: Vec<f32> = (0..2 * width).map(number).collect();
        let mut rotten = numbers.clone();
        rotten[width..].fill(f32::NAN);
        let states = tensor2(&[[0.5f32, -0.25], [1.0, 0.75]]);
        let inputs = |numbers: &[f32]| -> TVec<TValue> {
            let gates = Tensor::from_shape(&[2, width], numbers).unwrap();
            let gates = gates.into_tvalue();
            match cell {
                RecurrentCell::Lstm(_) => tvec!(gates, states.clone().into_tvalue()),
                RecurrentCell::Gru(_) => {
                    tvec!(gates.clone(), gates, states.clone().into_tvalue())
                }
            }
        };
        let clean = evaluated(cell, inputs(&numbers));
        let computed = evaluated(cell, inputs(&rotten));
        for (clean, computed) in clean.iter().zip(&computed) {
            assert_close(&[clean[..2].to_vec()], &[computed[..2].to_vec()]);
            assert!(computed[2..].iter().all(|x| x.is_nan()), "{computed:?}");
        }
    }

    #[test]
    fn nan_in_a_row_stays_in_that_row() {
        check(&RecurrentCell::Lstm(LstmEpilogue { hidden: 2 }), 4);
        check(&RecurrentCell::Gru(GruEpilogue { hidden: 2 }), 3);
    }
}
