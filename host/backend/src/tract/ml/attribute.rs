//! Reads attributes of these operators; errors name the operator and the attribute.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::TractResult;

/// Returns the floats of attribute `name`, none if it is absent.
pub(super) fn floats(node: &NodeProto, name: &str) -> TractResult<Vec<f32>> {
    Ok(node.get_attr_opt_vec(name)?.unwrap_or_default())
}

/// Returns the integers of attribute `name`, none if it is absent.
pub(super) fn ints(node: &NodeProto, name: &str) -> TractResult<Vec<i64>> {
    Ok(node.get_attr_opt_vec(name)?.unwrap_or_default())
}

/// Returns the strings of attribute `name`, none if it is absent.
pub(super) fn strings(node: &NodeProto, name: &str) -> TractResult<Vec<String>> {
    Ok(node.get_attr_opt_vec(name)?.unwrap_or_default())
}

/// Returns the numbers of attribute `name` or of its tensor form, `<name>_as_tensor`; none if both are
/// absent. The bool is true if they come from a tensor of f64.
pub(super) fn doubles(
    context: &ParsingContext,
    node: &NodeProto,
    name: &str,
) -> TractResult<(Vec<f64>, bool)> {
    let as_tensor = format!("{name}_as_tensor");
    match tensor(context, node, &as_tensor)? {
        Some(found) => Ok(found),
        None => {
            let floats = floats(node, name)?;
            Ok((floats.into_iter().map(f64::from).collect(), false))
        }
    }
}

/// Returns the numbers of the tensor in attribute `name`. The bool is true if it contains f64.
pub(super) fn tensor(
    context: &ParsingContext,
    node: &NodeProto,
    name: &str,
) -> TractResult<Option<(Vec<f64>, bool)>> {
    let Some(tensor) = node.get_attr_opt::<&tract_onnx::pb::TensorProto>(name)? else {
        return Ok(None);
    };
    let tensor = context.load_tensor(tensor)?;
    let is_double = tensor.datum_type() == tract_onnx::prelude::DatumType::F64;
    let numbers = tensor.cast_to::<f64>()?;
    let numbers = super::operator::elements::<f64>(&numbers)?.to_vec();
    Ok(Some((numbers, is_double)))
}

/// Returns the version of the machine-learning operators that the file imports.
pub(super) fn ml_version(context: &ParsingContext) -> i64 {
    let imports = &context.model.opset_import;
    imports
        .iter()
        .find(|import| import.domain == "ai.onnx.ml")
        .map_or(1, |import| import.version)
}

/// Returns an error unless an attribute has the expected number of entries.
pub(super) fn expect_length(
    node: &NodeProto,
    name: &str,
    found: usize,
    expected: usize,
) -> TractResult<()> {
    node.expect_attr(name, found == expected, || {
        format!("{expected} entries, got {found}")
    })
}
