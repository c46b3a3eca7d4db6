//! The checks and rewrites of a model before rten loads it.

use super::failure::{Failure, guarded};
use super::int64::IntegerLimits;
use super::sizes::Outline;
use super::{equivalents, hidden_nan, inner_nan, integer_products, softmax, unsupported};
use crate::model_folder::ModelFolder;
use crate::onnx::{self, AxisSymbols, DeclaredSignature, OperatorInputs};
use crate::pb::ModelProto;
use crate::rows::Rows;
use wisp_tensor::{Dimension, NamedTensor, Signature};

/// The properties of a model that follow from its file alone.
pub(super) struct Properties {
    pub(super) signature: Signature,
    pub(super) rows: Rows,
    pub(super) outline: Outline,
    pub(super) limits: IntegerLimits,
    /// Set if an operator computes a number from NaN.
    pub(super) hides_nan: bool,
    pub(super) operators: OperatorInputs,
}

/// A model as far as it is known before rten loads it.
pub(super) struct Checked {
    pub(super) properties: Properties,
    pub(super) symbols: AxisSymbols,
    /// The shapes of outputs that the file declares.
    pub(super) declared_outputs: Vec<Option<Vec<Dimension>>>,
    /// The values of inputs for a trial computation.
    pub(super) values: Vec<NamedTensor>,
}

/// Checks the model in `model`, whose external data is in `folder`, and rewrites it for rten. `values` are
/// those of inputs for a trial computation.
pub(super) fn check(
    model: &mut ModelProto,
    folder: Option<&ModelFolder>,
    values: &[NamedTensor],
) -> Result<Checked, String> {
    onnx::check_counts(model)?;
    // Before the rewrites, so that errors have the names of the file.
    let operators = OperatorInputs::of(model);
    onnx::prepare(model);
    let rows = onnx::rows(model);
    onnx::remove_value_info(model);
    onnx::equivalents::rewrite(model);
    softmax::rewrite(model);
    inner_nan::keep(model);
    let graph = (model.graph.as_ref()).ok_or("the file contains no graph")?;
    let hides_nan = hidden_nan::is_hidden(graph)?;
    integer_products::rewrite(model);
    equivalents::rewrite(model);
    unsupported::check(model)?;
    onnx::read_external_tensors(model, folder)?;
    let graph = (model.graph.as_ref()).ok_or("the file contains no graph")?;
    let checked = guarded(|| {
        Ok(Checked {
            properties: Properties {
                signature: DeclaredSignature::of(graph)?.signature,
                rows,
                outline: Outline::new(model)?,
                limits: IntegerLimits::of(model)?,
                hides_nan,
                operators,
            },
            symbols: AxisSymbols::of(graph),
            declared_outputs: onnx::declared_outputs(graph),
            values: values.to_vec(),
        })
    });
    checked.map_err(Failure::into_reason)
}
