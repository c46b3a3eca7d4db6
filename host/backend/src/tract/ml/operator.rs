//! Turns a computation over whole tensors into an operator of tract.
//!
//! A [`Kernel`] declares its outputs and computes them. Shape inference, typing and evaluation in tract
//! are implemented here, once for all kernels.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{
    Datum, DatumType, DatumTypeExt, SpecialOps, TDim, TValue, TVec, Tensor, ToDim, TractError,
    TractResult, TypedFact, TypedModel, tvec,
};
use tract_onnx::tract_core::internal::{
    EvalContext, EvalOp, IntoTValue, Op, OutletId, StaticName, TypedOp, ensure,
};
use tract_onnx::tract_hir::internal::{
    Expansion, InferenceOp, InferenceResult, Solver, TensorProxy, expand,
};

/// The result of an operator's parser for tract. The array contains names from outer graphs,
/// which these operators never use.
pub(super) type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// The type and shape of a tensor, with symbols for sizes that depend on the request.
pub(super) type Fact = (DatumType, TVec<TDim>);

/// An operator with its attributes. Lifetime: a model version.
pub(super) trait Kernel: Send + Sync + 'static {
    /// Returns the name of the operator in ONNX.
    fn name(&self) -> &'static str;

    /// Returns the outputs for `inputs`, or an error if the inputs are not supported.
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>>;

    /// Returns the bytes that the outputs take, if they follow from the values of `inputs` rather than from
    /// their sizes.
    fn output_bytes(&self, _inputs: &[TValue]) -> TractResult<Option<u64>> {
        Ok(None)
    }

    /// Computes all outputs, with the types and shapes that [`Kernel::outputs`] returns for `inputs`.
    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>>;
}

/// A kernel as an operator of tract, before and after types are known.
#[derive(Clone)]
pub(super) struct MlOperator {
    kernel: Arc<dyn Kernel>,
    /// The number of inputs of the node.
    inputs: usize,
    /// The outputs of the kernel that the node names; in ONNX, any output may be omitted.
    wanted: TVec<usize>,
}

/// Returns the operator for `node`, which `kernel` computes.
pub(super) fn built(node: &NodeProto, kernel: impl Kernel) -> Built {
    let named = |names: &[String]| names.iter().filter(|name| !name.is_empty()).count();
    let wanted = node.output.iter().enumerate();
    let operator = MlOperator {
        kernel: Arc::new(kernel),
        inputs: named(&node.input),
        wanted: wanted
            .filter(|(_, name)| !name.is_empty())
            .map(|(position, _)| position)
            .collect(),
    };
    Ok((expand(operator), vec![]))
}

/// Returns the rows and columns of a matrix; a vector is one row, as in onnxruntime.
pub(super) fn rows_and_columns(shape: &[TDim]) -> TractResult<(TDim, TDim)> {
    match shape {
        [columns] => Ok((1.to_dim(), columns.clone())),
        [rows, columns] => Ok((rows.clone(), columns.clone())),
        _ => Err(no_matrix(shape.len())),
    }
}

/// Returns the rows and columns of a tensor, as [`rows_and_columns`] does for a shape.
pub(super) fn size(tensor: &Tensor) -> TractResult<(usize, usize)> {
    match tensor.shape() {
        [columns] => Ok((1, *columns)),
        [rows, columns] => Ok((*rows, *columns)),
        shape => Err(no_matrix(shape.len())),
    }
}

fn no_matrix(rank: usize) -> TractError {
    TractError::msg(format!("expected a matrix, got {rank} dimensions"))
}

/// Checks the number of columns, if it is known, before anything is computed.
pub(super) fn expect_columns(name: &str, found: &TDim, expected: usize) -> TractResult<()> {
    if let Some(found) = found.as_i64() {
        ensure!(
            usize::try_from(found) == Ok(expected),
            "{name} was made for {expected} columns, its input has {found}"
        );
    }
    Ok(())
}

/// Returns the numbers of a tensor as f32, in which onnxruntime computes these operators.
pub(super) fn floats(tensor: &Tensor) -> TractResult<Cow<'_, Tensor>> {
    tensor.cast_to::<f32>()
}

/// Returns the elements of a tensor in row order.
pub(super) fn elements<D: Datum>(tensor: &Tensor) -> TractResult<&[D]> {
    tensor.try_as_plain_ram()?.as_slice::<D>()
}

/// Returns a tensor of this shape whose elements are zero, except those that `write` sets.
pub(super) fn filled<D: Datum>(
    shape: &[usize],
    write: impl FnOnce(&mut [D]) -> TractResult<()>,
) -> TractResult<Tensor> {
    let mut tensor = Tensor::zero_dt(D::datum_type(), shape)?;
    write(tensor.try_as_plain_ram_mut()?.as_slice_mut::<D>()?)?;
    Ok(tensor)
}

// === impl MlOperator ===

impl MlOperator {
    /// Returns the operator of a kernel with one input and one output, for a model that is already typed.
    pub(super) fn single(kernel: impl Kernel) -> MlOperator {
        MlOperator {
            kernel: Arc::new(kernel),
            inputs: 1,
            wanted: tvec![0],
        }
    }

    /// Returns the bytes that the outputs take, as [`Kernel::output_bytes`] does.
    pub(super) fn output_bytes(&self, inputs: &[TValue]) -> TractResult<Option<u64>> {
        self.kernel.output_bytes(inputs)
    }

    fn facts(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let outputs = self.kernel.outputs(inputs)?;
        let pick = |position: &usize| {
            outputs
                .get(*position)
                .cloned()
                .ok_or_else(|| self.surplus())
        };
        self.wanted.iter().map(pick).collect()
    }

    fn surplus(&self) -> TractError {
        let name = self.kernel.name();
        TractError::msg(format!("{name} has fewer outputs than the node names"))
    }
}

impl fmt::Debug for MlOperator {
    /// Writes only the name: tract prints operators into errors, and an ensemble has a million numbers.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.kernel.name())
    }
}

impl PartialEq for MlOperator {
    fn eq(&self, other: &MlOperator) -> bool {
        Arc::ptr_eq(&self.kernel, &other.kernel) && self.wanted == other.wanted
    }
}

impl Eq for MlOperator {}

impl Expansion for MlOperator {
    fn name(&self) -> StaticName {
        self.kernel.name().into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.wanted.len())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        ensure!(
            inputs.len() == self.inputs && outputs.len() == self.wanted.len(),
            "{} has an input or output too many",
            self.kernel.name()
        );
        let shapes = inputs.iter().map(|input| &input.shape);
        solver.given_all(shapes, move |solver, shapes: Vec<TVec<TDim>>| {
            let types = inputs.iter().map(|input| &input.datum_type);
            solver.given_all(types, move |solver, types: Vec<DatumType>| {
                let inputs: Vec<Fact> = types.into_iter().zip(shapes.iter().cloned()).collect();
                for (output, (datum_type, shape)) in outputs.iter().zip(self.facts(&inputs)?) {
                    solver.equals(&output.datum_type, datum_type)?;
                    solver.equals(&output.shape, shape)?;
                }
                Ok(())
            })
        })
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}

impl Op for MlOperator {
    fn name(&self) -> StaticName {
        self.kernel.name().into()
    }

    fn as_typed(&self) -> Option<&dyn TypedOp> {
        Some(self)
    }
}

impl EvalOp for MlOperator {
    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let computed = self.kernel.compute(&inputs)?;
        let mut computed: TVec<Option<Tensor>> = computed.into_iter().map(Some).collect();
        let pick = |position: &usize| {
            let output = computed.get_mut(*position).and_then(Option::take);
            Ok(output.ok_or_else(|| self.surplus())?.into_tvalue())
        };
        self.wanted.iter().map(pick).collect()
    }

    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        self.eval(&EvalContext::out_of_plan(), inputs).map(Some)
    }
}

impl TypedOp for MlOperator {
    fn as_op(&self) -> &dyn Op {
        self
    }

    fn as_op_mut(&mut self) -> &mut dyn Op {
        self
    }

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let inputs: Vec<Fact> = inputs
            .iter()
            .map(|fact| (fact.datum_type, fact.shape.to_tvec()))
            .collect();
        let facts = self.facts(&inputs)?.into_iter();
        Ok(facts
            .map(|(datum_type, shape)| datum_type.fact(shape))
            .collect())
    }
}
