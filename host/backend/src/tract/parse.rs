//! The ways to read an ONNX file with tract, with a symbol for each axis of an input that the file leaves open.
//!
//! Files are not always right about the shapes of intermediate values, and leave axes without names that belong together,
//! so several readings are tried.

use tract_onnx::Onnx;
use tract_onnx::pb::{GraphProto, ModelProto};
use tract_onnx::prelude::{InferenceFact, InferenceModel, TDim, TVec, ToDim, TractResult};
use tract_onnx::tract_core::internal::{bail, ensure};
use tract_onnx::tract_hir::internal::{Factoid, GenericFactoid};

/// The treatment of axes with neither a size nor a name in the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Unnamed {
    /// Each axis has a symbol of its own.
    Independent,
    /// All first axes are one batch. Exports with an input per column leave them without a name and then
    /// concatenate the columns, which independent sizes do not allow.
    SharedBatch,
}

/// The use of shapes that the file declares for intermediate values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum ValueNotes {
    Believed,
    /// The shapes are hints, and some exporters leave wrong ones behind.
    Ignored,
}

/// Returns the reader of files with this use of the shapes of intermediate values.
pub(super) fn noting(onnx: &Onnx, notes: ValueNotes) -> Onnx {
    onnx.clone()
        .with_ignore_value_info(notes == ValueNotes::Ignored)
}

/// Returns the distinct ways to read `graph`, the most permissive first.
pub(super) fn attempts(graph: &GraphProto) -> Vec<(ValueNotes, Unnamed)> {
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
pub(super) fn parse(
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
