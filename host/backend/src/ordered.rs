//! A request's inputs in the order of the signature, each proved to meet its declaration.

use wisp_tensor::{NamedTensor, Signature, Tensor};

/// The tensors of `inputs` in the signature's order, or why they do not fit it.
pub(crate) fn in_order<'a>(
    signature: &Signature,
    inputs: &'a [NamedTensor],
) -> Result<Vec<&'a Tensor>, String> {
    let mut ordered = Vec::with_capacity(signature.inputs.len());
    for (position, spec) in signature.inputs.iter().enumerate() {
        // Most callers keep the signature's order.
        let found = match inputs.get(position) {
            Some(input) if input.name == spec.name => Some(input),
            _ => inputs.iter().find(|input| input.name == spec.name),
        };
        let Some(NamedTensor { tensor, .. }) = found else {
            return Err(format!("`{}` is missing", spec.name));
        };
        spec.check(tensor).map_err(|error| error.to_string())?;
        ordered.push(tensor);
    }
    Ok(ordered)
}
