//! The inputs and outputs of a model in tract as a signature describes them.

use super::convert::element_type;
use super::variable_axis::VariableAxis;
use std::collections::BTreeSet;
use tract_onnx::prelude::{DatumType, InferenceModel, TDim, TVec, TractResult, TypedModel};
use tract_onnx::tract_core::internal::{bail, ensure};
use tract_onnx::tract_hir::internal::Factoid;
use wisp_tensor::{Dimension, Signature, TensorSpec};

/// The inputs of a model as a signature describes them.
#[derive(Default)]
pub(super) struct DescribedInputs {
    pub(super) specs: Vec<TensorSpec>,
    pub(super) types: TVec<DatumType>,
    pub(super) variable_axes: Vec<VariableAxis>,
}

impl DescribedInputs {
    /// Returns the inputs of a model that is parsed, with a symbol for each variable axis.
    pub(super) fn of_untyped(model: &InferenceModel) -> TractResult<DescribedInputs> {
        let mut described = DescribedInputs::default();
        for (input, name) in input_names(model)?.iter().enumerate() {
            let fact = model.input_fact(input)?;
            let known = fact.datum_type.concretize().zip(fact.shape.concretize());
            let Some((datum_type, shape)) = known else {
                bail!("input `{name}` declares no type");
            };
            described.add(name, datum_type, &shape)?;
        }
        Ok(described)
    }

    /// Adds an input.
    pub(super) fn add(
        &mut self,
        name: &str,
        datum_type: DatumType,
        shape: &[TDim],
    ) -> TractResult<()> {
        let input = self.specs.len();
        self.specs.push(spec(name, datum_type, shape)?);
        self.types.push(datum_type);
        for (axis, dimension) in shape.iter().enumerate() {
            if dimension.as_i64().is_none() {
                self.variable_axes.push(VariableAxis {
                    input,
                    axis,
                    dimension: dimension.clone(),
                });
            }
        }
        Ok(())
    }
}

/// Returns the names of the inputs, in order.
pub(super) fn input_names(model: &InferenceModel) -> TractResult<Vec<String>> {
    let outlets = model.input_outlets()?.iter();
    Ok(outlets
        .map(|outlet| model.node(outlet.node).name.clone())
        .collect())
}

/// Returns the outputs of a typed model.
pub(super) fn output_specs(model: &TypedModel, names: &[&str]) -> TractResult<Vec<TensorSpec>> {
    let outlets = model.output_outlets()?;
    ensure!(
        outlets.len() == names.len(),
        "the graph's outputs are not those it declares"
    );
    let specs = outlets.iter().zip(names).map(|(outlet, name)| {
        let fact = model.outlet_fact(*outlet)?;
        spec(name, fact.datum_type, &fact.shape)
    });
    specs.collect()
}

fn spec(name: &str, datum_type: DatumType, shape: &[TDim]) -> TractResult<TensorSpec> {
    let Some(element_type) = element_type(datum_type) else {
        bail!("`{name}` is {datum_type:?}, which no protocol supports");
    };
    let shape = shape
        .iter()
        .map(|dimension| match dimension.as_i64() {
            Some(size) => Ok(Dimension::Fixed(u32::try_from(size)?)),
            None => Ok(Dimension::Variable),
        })
        .collect::<TractResult<Vec<_>>>()?;
    Ok(TensorSpec {
        name: name.to_owned(),
        element_type,
        shape,
        optional: false,
    })
}

/// Checks that the tensors on each side of a graph have different names, and that there is an output.
pub(super) fn check_names(signature: &Signature) -> Result<(), &'static str> {
    for specs in [&signature.inputs, &signature.outputs] {
        let names: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        if names.len() != specs.len() {
            return Err("two tensors have the same name");
        }
    }
    match signature.outputs.is_empty() {
        true => Err("the graph has no outputs"),
        false => Ok(()),
    }
}
