//! Reads an ONNX or NNEF file into a typed model with symbols as variable axes, and into its signature.
//!
//! The file is parsed once; [`super::TractGraph`] creates plans for given sizes from the result. A model
//! that cannot be served is refused here, with the operator, input or file at fault in the error.

use super::convert::element_type;
use super::corrections::before_rewrites;
use super::guard::{GuardError, guarded};
use super::initializer::check_initializers;
use super::operators::{check_inputs, framework, unknown_operators};
use super::size_limits::check_size_limits;
use super::unsupported_ops;
use crate::onnx::OperatorInputs;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use tract_onnx::Onnx;
use tract_onnx::data_resolver::FopenDataResolver;
use tract_onnx::pb::{GraphProto, ModelProto};
use tract_onnx::prelude::{
    DatumType, InferenceFact, InferenceModel, InferenceModelExt, Symbol, SymbolValues, TDim, TVec,
    ToDim, TractResult, TypedModel,
};
use tract_onnx::tract_core::internal::{bail, ensure, solve_for};
use tract_onnx::tract_hir::internal::{Factoid, GenericFactoid};
use wisp_tensor::{Dimension, Signature, TensorSpec};

/// A model that has been read and typed, with symbols for sizes that the file does not fix.
#[derive(Debug)]
pub(super) struct SymbolicModel {
    pub(super) model: TypedModel,
    pub(super) signature: Signature,
    /// The type of each input in tract, in the order of the signature.
    pub(super) input_types: TVec<DatumType>,
    /// The axes whose sizes depend on the request, input by input.
    pub(super) variable_axes: Vec<VariableAxis>,
    /// The operators of the file, for messages about inputs that one of them refuses.
    pub(super) operators: OperatorInputs,
}

/// An axis of an input whose size the file does not fix.
#[derive(Debug)]
pub(super) struct VariableAxis {
    pub(super) input: usize,
    pub(super) axis: usize,
    /// A symbol, or an expression in symbols of other axes.
    dimension: TDim,
}

/// The treatment of axes with neither a size nor a name in the file.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Unnamed {
    /// Each axis has a symbol of its own.
    Independent,
    /// All first axes are one batch. Exports with an input per column leave them without a name and then
    /// concatenate the columns, which independent sizes do not allow.
    SharedBatch,
}

/// The use of shapes that the file declares for intermediate values.
#[derive(Debug, Clone, Copy, PartialEq)]
enum ValueNotes {
    Believed,
    /// The shapes are hints, and some exporters leave wrong ones behind.
    Ignored,
}

impl SymbolicModel {
    /// Types the model in `proto`, whose external data is in `folder`.
    pub(super) fn load(
        proto: &ModelProto,
        folder: Option<&Path>,
    ) -> Result<SymbolicModel, GuardError> {
        let graph = (proto.graph.as_ref())
            .ok_or_else(|| GuardError::Refused("the file contains no graph".to_owned()))?;
        check_inputs(graph).map_err(GuardError::Refused)?;
        check_initializers(graph, folder).map_err(GuardError::Refused)?;
        // tract needs a UTF-8 path; it reads no external data from another folder.
        let folder = folder.and_then(Path::to_str);
        let mut onnx = framework();
        // Not memory-mapped, as is tract's default: a file that is truncated would then end the process.
        onnx.provider = Arc::new(FopenDataResolver);
        unsupported_ops::check(&onnx, graph).map_err(GuardError::Refused)?;
        let mut first_error = None;
        for (notes, unnamed) in attempts(graph) {
            let attempt = guarded(|| {
                let onnx = onnx
                    .clone()
                    .with_ignore_value_info(notes == ValueNotes::Ignored);
                let mut model = parse(&onnx, proto, folder, unnamed)?;
                check_size_limits(&mut model)?;
                // Read before tract changes the model: an input takes the name of a removed node.
                let inputs = input_names(&model)?;
                let outputs: Vec<&str> = graph.output.iter().map(|o| o.name.as_str()).collect();
                let mut typed = model.into_typed()?;
                before_rewrites(&mut typed)?;
                SymbolicModel::describe(typed.into_decluttered()?, &inputs, &outputs)
            });
            let error = match attempt {
                Ok(model) => return Ok(model),
                Err(error) => error,
            };
            let unknown = unknown_operators(&onnx, graph);
            if !unknown.is_empty() {
                let unknown = unknown.into_iter().collect::<Vec<_>>().join(", ");
                return Err(GuardError::Refused(format!(
                    "operators not implemented: {unknown}"
                )));
            }
            first_error.get_or_insert(error);
        }
        Err(first_error.unwrap_or(GuardError::Refused(String::new())))
    }

    /// Types the model of an NNEF archive, whose nodes have the names of the tensors in the archive.
    pub(super) fn of_nnef(model: TypedModel) -> Result<SymbolicModel, GuardError> {
        guarded(|| {
            let name = |node: usize| model.node(node).name.clone();
            let inputs = model.input_outlets()?.iter();
            let inputs: Vec<String> = inputs.map(|outlet| name(outlet.node)).collect();
            let outputs = model.output_outlets()?.iter().map(|outlet| {
                let label = model.outlet_label(*outlet);
                label.map_or_else(|| name(outlet.node), str::to_owned)
            });
            let outputs: Vec<String> = outputs.collect();
            let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
            SymbolicModel::describe(model.clone(), &inputs, &outputs)
        })
    }

    fn describe(
        model: TypedModel,
        inputs: &[String],
        outputs: &[&str],
    ) -> TractResult<SymbolicModel> {
        ensure!(
            model.input_outlets()?.len() == inputs.len(),
            "the graph's inputs are not those it declares"
        );
        let mut signature = Signature::default();
        let mut input_types = TVec::new();
        let mut variable_axes = Vec::new();
        for (input, (outlet, name)) in model.input_outlets()?.iter().zip(inputs).enumerate() {
            let fact = model.outlet_fact(*outlet)?;
            signature
                .inputs
                .push(spec(name, fact.datum_type, &fact.shape)?);
            input_types.push(fact.datum_type);
            for (axis, dimension) in fact.shape.iter().enumerate() {
                if dimension.as_i64().is_none() {
                    variable_axes.push(VariableAxis {
                        input,
                        axis,
                        dimension: dimension.clone(),
                    });
                }
            }
        }
        ensure!(
            model.output_outlets()?.len() == outputs.len(),
            "the graph's outputs are not those it declares"
        );
        for (outlet, name) in model.output_outlets()?.iter().zip(outputs) {
            let fact = model.outlet_fact(*outlet)?;
            signature
                .outputs
                .push(spec(name, fact.datum_type, &fact.shape)?);
        }
        for specs in [&signature.inputs, &signature.outputs] {
            let names: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
            ensure!(names.len() == specs.len(), "two tensors have the same name");
        }
        ensure!(!signature.outputs.is_empty(), "the graph has no outputs");
        Ok(SymbolicModel {
            model,
            signature,
            input_types,
            variable_axes,
            operators: OperatorInputs::default(),
        })
    }

    /// Returns the values of the symbols for these sizes of the variable axes, or the reason that there are none.
    pub(super) fn bind(&self, sizes: &[u32]) -> Result<SymbolValues, String> {
        let mut values = SymbolValues::default();
        // Plain symbols first, so that expressions use known values in any order of inputs.
        let (symbols, expressions): (Vec<_>, Vec<_>) = self
            .variable_axes
            .iter()
            .zip(sizes)
            .partition(|(axis, _)| matches!(axis.dimension, TDim::Sym(_)));
        for (axis, &size) in symbols.into_iter().chain(expressions) {
            let known = axis.dimension.eval(&values);
            if let Some(expected) = known.as_i64() {
                if expected != i64::from(size) {
                    return Err(format!(
                        "axis {} of `{}` is {size}, but `{}` is {expected} in this request",
                        axis.axis, self.signature.inputs[axis.input].name, axis.dimension
                    ));
                }
                continue;
            }
            let open: Vec<Symbol> = known.symbols().into_iter().collect();
            let solution = match open.as_slice() {
                [symbol] => solve_for(symbol, &known, &i64::from(size).to_dim())
                    .and_then(|value| value.as_i64())
                    .map(|value| (symbol, value)),
                _ => None,
            };
            match solution {
                Some((symbol, value)) if value >= 0 => values.set(symbol, value),
                _ => {
                    return Err(format!(
                        "axis {} of `{}` is {size}, which `{}` cannot be",
                        axis.axis, self.signature.inputs[axis.input].name, axis.dimension
                    ));
                }
            }
        }
        Ok(values)
    }

    /// Returns the bytes of the constants in the model, which are mostly weights.
    pub(super) fn constant_bytes(&self) -> usize {
        let constants = self.model.nodes().iter().flat_map(|node| &node.outputs);
        constants
            .filter_map(|output| output.fact.konst.as_ref())
            .map(|constant| constant.volume() * constant.datum_type().size_of())
            .sum()
    }
}

/// Returns the distinct ways to read `graph`, the most permissive first.
fn attempts(graph: &GraphProto) -> Vec<(ValueNotes, Unnamed)> {
    let mut attempts = vec![
        (ValueNotes::Believed, Unnamed::Independent),
        (ValueNotes::Believed, Unnamed::SharedBatch),
        (ValueNotes::Ignored, Unnamed::Independent),
        (ValueNotes::Ignored, Unnamed::SharedBatch),
    ];
    if graph.input.len() < 2 {
        attempts.retain(|(_, unnamed)| *unnamed == Unnamed::Independent);
    }
    if graph.value_info.is_empty() {
        attempts.retain(|(notes, _)| *notes == ValueNotes::Believed);
    }
    attempts
}

/// Parses the graph and assigns a symbol to every open axis of an input.
fn parse(
    onnx: &Onnx,
    proto: &ModelProto,
    folder: Option<&str>,
    unnamed: Unnamed,
) -> TractResult<InferenceModel> {
    let parsed = onnx.parse(proto, folder)?;
    if let Some(name) = parsed.unresolved_inputs.first() {
        bail!("`{name}` is used but neither an input nor computed");
    }
    let mut model = parsed.model;
    let mut batch = None;
    for input in 0..model.input_outlets()?.len() {
        let outlet = model.input_outlets()?[input];
        let name = model.node(outlet.node).name.clone();
        let fact = model.input_fact(input)?.clone();
        ensure!(!fact.shape.is_open(), "input `{name}` has no declared rank");
        let mut shape: TVec<TDim> = TVec::new();
        for (axis, dimension) in fact.shape.dims().enumerate() {
            shape.push(match dimension {
                GenericFactoid::Only(known) => known.clone(),
                GenericFactoid::Any if axis == 0 && unnamed == Unnamed::SharedBatch => batch
                    .get_or_insert_with(|| model.symbols.new_with_prefix("batch"))
                    .to_dim(),
                GenericFactoid::Any => {
                    let prefix = format!("{name}_axis{axis}");
                    model.symbols.new_with_prefix(&prefix).to_dim()
                }
            });
        }
        let Some(datum_type) = fact.datum_type.concretize() else {
            bail!("input `{name}` declares no type");
        };
        model.set_input_fact(input, InferenceFact::dt_shape(datum_type, shape))?;
    }
    Ok(model)
}

/// Returns the names of the inputs, in order.
fn input_names(model: &InferenceModel) -> TractResult<Vec<String>> {
    let outlets = model.input_outlets()?.iter();
    Ok(outlets
        .map(|outlet| model.node(outlet.node).name.clone())
        .collect())
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
