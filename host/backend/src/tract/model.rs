//! Reads an ONNX or NNEF file into a typed model with symbols as variable axes, and into its signature.
//!
//! The file is parsed once; [`super::TractGraph`] creates plans for given sizes from the result. Where tract
//! cannot type a model with symbols, it is typed with the sizes of each request instead. A model that cannot
//! be served is refused here, with the operator, input or file at fault in the error.

use super::corrections::before_rewrites;
use super::guard::{GuardError, guarded};
use super::initializer::check_initializers;
use super::model_signature::{DescribedInputs, check_names, input_names, output_specs};
use super::open_slices::{Slices, check_slices, has_open_slice};
use super::operators::{check_inputs, framework, unknown_operators};
use super::parse::{Unnamed, ValueNotes, attempts, noting, parse};
use super::size_limits::{MAX_CONSTANT_BYTES, MAX_REQUEST_CONSTANT_BYTES, check_size_limits};
use super::sized_condition::set_symbols;
use super::unsupported_ops;
use super::variable_axis::{VariableAxis, bind};
use crate::model_folder::ModelFolder;
use crate::onnx::{AxisSymbols, OperatorInputs, declared_outputs};
use crate::probe::{sample_sizes, with_two_rows};
use crate::sample::Sample;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use tract_onnx::data_resolver::FopenDataResolver;
use tract_onnx::pb::{GraphProto, ModelProto};
use tract_onnx::prelude::{
    DatumType, InferenceModel, InferenceModelExt, Symbol, SymbolValues, TDim, TVec, Tensor,
    TractError, TractResult, TypedModel,
};
use tract_onnx::tract_core::internal::ensure;
use tract_onnx::tract_hir::internal::Factoid;
use wisp_tensor::{Dimension, Signature};

/// A model that has been read and typed, with symbols for sizes that the file does not fix.
#[derive(Debug)]
pub(super) struct SymbolicModel {
    typing: Typing,
    pub(super) signature: Signature,
    /// The type of each input in tract, in the order of the signature.
    pub(super) input_types: TVec<DatumType>,
    /// The axes whose sizes depend on the request, input by input.
    pub(super) variable_axes: Vec<VariableAxis>,
    /// The names of these axes in the file.
    pub(super) symbols: AxisSymbols,
    /// The shapes of outputs that the file declares.
    pub(super) declared: Vec<Option<Vec<Dimension>>>,
    /// The operators of the file, for messages about inputs that one of them refuses.
    pub(super) operators: OperatorInputs,
}

/// The time at which tract infers types and shapes.
#[derive(Debug)]
enum Typing {
    /// While loading, with symbols.
    Symbols {
        model: TypedModel,
        /// The model before that, if it must be typed with sizes that its slices exceed.
        untyped: Option<InferenceModel>,
    },
    /// For each set of sizes, since symbols do not suffice: a shape may pass through other operators than
    /// those that take symbols, or be equal to another for some sizes only.
    Sizes(InferenceModel),
}

/// The maximum number of samples whose sizes a model is typed with while it is loaded.
const MAX_TYPED_SAMPLES: usize = 5;

impl SymbolicModel {
    /// Returns the model that was typed with symbols.
    #[cfg(test)]
    pub(super) fn typed_with_symbols(&self) -> Option<&TypedModel> {
        match &self.typing {
            Typing::Symbols { model, .. } => Some(model),
            Typing::Sizes(_) => None,
        }
    }

    /// Types the model in `proto`, whose external data is in `folder`.
    pub(super) fn load(
        proto: &ModelProto,
        folder: Option<&ModelFolder>,
    ) -> Result<SymbolicModel, GuardError> {
        let graph = (proto.graph.as_ref())
            .ok_or_else(|| GuardError::Refused("the file contains no graph".to_owned()))?;
        check_inputs(graph).map_err(GuardError::Refused)?;
        check_initializers(graph, folder).map_err(GuardError::Refused)?;
        // tract needs a UTF-8 path; it reads no external data from another folder.
        let folder = folder.map(ModelFolder::path).and_then(Path::to_str);
        let mut onnx = framework();
        // Not memory-mapped, as is tract's default: a file that is truncated would then end the process.
        onnx.provider = Arc::new(FopenDataResolver);
        unsupported_ops::check(&onnx, graph).map_err(GuardError::Refused)?;
        let mut first_error = None;
        for (notes, unnamed) in attempts(graph) {
            let attempt = guarded(|| {
                let mut model = parse(&noting(&onnx, notes), proto, folder, unnamed)?;
                // Before any fact is inferred with symbols.
                let untyped = model.clone();
                check_size_limits(&mut model, MAX_CONSTANT_BYTES)?;
                // Read before tract changes the model: an input takes the name of a removed node.
                let inputs = input_names(&model)?;
                let model = typed(model)?;
                let untyped = has_open_slice(&model).then_some(untyped);
                SymbolicModel::describe((model, untyped), &inputs, &output_names(graph))
            });
            let error = match attempt {
                Ok(model) => {
                    return Ok(SymbolicModel {
                        symbols: AxisSymbols::of(graph),
                        declared: declared_outputs(graph),
                        ..model
                    });
                }
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
        let mut error = first_error.unwrap_or(GuardError::Refused(String::new()));
        // With sizes, no shapes besides those of the inputs are needed.
        let notes = [ValueNotes::Ignored, ValueNotes::Believed];
        let distinct = if graph.value_info.is_empty() { 1 } else { 2 };
        for notes in notes.into_iter().take(distinct) {
            let onnx = noting(&onnx, notes);
            let parsed = guarded(|| parse(&onnx, proto, folder, Unnamed::Independent));
            match parsed.map(|model| SymbolicModel::of_samples(model, graph)) {
                Ok(Ok(model)) => return Ok(model),
                // The reason with sizes is more specific than that with symbols.
                Ok(Err(Some(reason))) if notes == ValueNotes::Ignored => error = reason,
                Ok(Err(Some(_))) => {}
                Ok(Err(None)) | Err(_) => break,
            }
        }
        Err(error)
    }

    /// Types the model with the sizes of samples; later, it is typed with those of each request. Returns
    /// the reason at the first sizes, or none if all sizes are known.
    fn of_samples(
        model: InferenceModel,
        graph: &GraphProto,
    ) -> Result<SymbolicModel, Option<GuardError>> {
        let inputs = guarded(|| DescribedInputs::of_untyped(&model)).map_err(Some)?;
        if inputs.variable_axes.is_empty() {
            return Err(None);
        }
        let mut untyped = SymbolicModel {
            typing: Typing::Sizes(model),
            signature: Signature {
                inputs: inputs.specs,
                outputs: Vec::new(),
            },
            input_types: inputs.types,
            variable_axes: inputs.variable_axes,
            symbols: AxisSymbols::of(graph),
            declared: declared_outputs(graph),
            operators: OperatorInputs::default(),
        };
        let names = output_names(graph);
        let outputs = |sizes: &[u32]| {
            let values = untyped.bind(sizes).map_err(GuardError::Refused)?;
            guarded(|| output_specs(&untyped.concrete(&values.to_dim_map())?, &names))
        };
        let mut first_error = None;
        let mut found = None;
        let tried = sample_sizes(&untyped.signature, &untyped.symbols);
        for sizes in tried.into_iter().take(MAX_TYPED_SAMPLES) {
            match outputs(&sizes) {
                Ok(outputs) => {
                    found = Some((sizes, outputs));
                    break;
                }
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        let Some((sizes, mut specs)) = found else {
            return Err(first_error);
        };
        // Only what the file declares is the same for other sizes, and not all of that.
        for (spec, declared) in specs.iter_mut().zip(&untyped.declared) {
            keep_fixed(&mut spec.shape, declared.as_deref());
        }
        let sample = Sample {
            sizes,
            ..Sample::default()
        };
        let two_rows = with_two_rows(&sample, &untyped.signature, &untyped.symbols);
        if let Some(others) = two_rows.and_then(|sample| outputs(&sample.sizes).ok()) {
            for (spec, other) in specs.iter_mut().zip(&others) {
                keep_fixed(&mut spec.shape, Some(other.shape.as_slice()));
            }
        }
        untyped.signature.outputs = specs;
        check_names(&untyped.signature)
            .map_err(|reason| Some(GuardError::Refused(reason.to_owned())))?;
        Ok(untyped)
    }

    /// Returns the model with these sizes of its variable axes.
    pub(super) fn concrete(&self, sizes: &HashMap<Symbol, TDim>) -> TractResult<TypedModel> {
        match &self.typing {
            Typing::Symbols { model, untyped } => {
                let concrete = model.set_symbols(sizes);
                let Some(untyped) = untyped else {
                    return concrete;
                };
                let checked = concrete.and_then(|concrete| {
                    let slices = check_slices(&concrete, sizes)?;
                    Ok((concrete, slices))
                });
                match checked {
                    Ok((concrete, Slices::Within)) => Ok(concrete),
                    // The results of tract then have other sizes than it expects, and are refused.
                    Ok((concrete, Slices::Open)) => typed_with(untyped, sizes).or(Ok(concrete)),
                    Err(_) => typed_with(untyped, sizes),
                }
            }
            Typing::Sizes(model) => typed_with(model, sizes),
        }
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
            SymbolicModel::describe((model.clone(), None), &inputs, &outputs)
        })
    }

    /// Returns the typed model with its signature, without facts that only the file states.
    fn describe(
        (model, untyped): (TypedModel, Option<InferenceModel>),
        inputs: &[String],
        outputs: &[&str],
    ) -> TractResult<SymbolicModel> {
        let outlets = model.input_outlets()?;
        ensure!(
            outlets.len() == inputs.len(),
            "the graph's inputs are not those it declares"
        );
        let mut described = DescribedInputs::default();
        let mut symbols = AxisSymbols::default();
        for (outlet, name) in outlets.iter().zip(inputs) {
            let fact = model.outlet_fact(*outlet)?;
            described.add(name, fact.datum_type, &fact.shape)?;
            let symbol = |size: &TDim| size.as_i64().is_none().then(|| size.to_string());
            symbols.insert(name, fact.shape.iter().map(symbol).collect());
        }
        let signature = Signature {
            inputs: described.specs,
            outputs: output_specs(&model, outputs)?,
        };
        check_names(&signature).map_err(TractError::msg)?;
        Ok(SymbolicModel {
            typing: Typing::Symbols { model, untyped },
            signature,
            input_types: described.types,
            variable_axes: described.variable_axes,
            symbols,
            declared: Vec::new(),
            operators: OperatorInputs::default(),
        })
    }

    /// Returns the values of the symbols for these sizes of the variable axes, or the reason that there are none.
    pub(super) fn bind(&self, sizes: &[u32]) -> Result<SymbolValues, String> {
        bind(&self.variable_axes, &self.signature, sizes)
    }

    /// Returns the bytes of the constants in the model, which are mostly weights.
    pub(super) fn constant_bytes(&self) -> usize {
        let bytes = |constant: &Tensor| constant.volume() * constant.datum_type().size_of();
        match &self.typing {
            Typing::Symbols { model, .. } => {
                let outputs = model.nodes().iter().flat_map(|node| &node.outputs);
                let constants = outputs.filter_map(|output| output.fact.konst.as_ref());
                constants.map(|constant| bytes(constant)).sum()
            }
            Typing::Sizes(model) => {
                let outputs = model.nodes().iter().flat_map(|node| &node.outputs);
                let constants = outputs.filter_map(|output| output.fact.value.concretize());
                constants.map(|constant| bytes(&constant)).sum()
            }
        }
    }
}

/// Infers the types and shapes of a model with these values of its symbols, and rewrites it.
fn typed_with(model: &InferenceModel, sizes: &HashMap<Symbol, TDim>) -> TractResult<TypedModel> {
    let mut model = model.clone();
    set_symbols(&mut model, sizes)?;
    check_size_limits(&mut model, MAX_REQUEST_CONSTANT_BYTES)?;
    typed(model)
}

/// Infers the types and shapes of a model, and rewrites it.
fn typed(model: InferenceModel) -> TractResult<TypedModel> {
    let mut model = model.into_typed()?;
    before_rewrites(&mut model)?;
    model.into_decluttered()
}

/// Makes each axis variable that is not fixed to the same size in `other`.
fn keep_fixed(shape: &mut [Dimension], other: Option<&[Dimension]>) {
    let other = other.filter(|other| other.len() == shape.len());
    for (axis, size) in shape.iter_mut().enumerate() {
        if other.is_none_or(|other| other[axis] != *size) {
            *size = Dimension::Variable;
        }
    }
}

/// Returns the names of the outputs, in order.
fn output_names(graph: &GraphProto) -> Vec<&str> {
    graph.output.iter().map(|o| o.name.as_str()).collect()
}
