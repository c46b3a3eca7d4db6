//! Puts the inputs of a request in the order of the signature and checks each against its declaration.

use wisp_tensor::{NamedTensor, Signature, Tensor};

/// Returns the tensors of `inputs` in the order of the signature, or the reason that they do not match it.
pub(crate) fn in_signature_order<'a>(
    signature: &Signature,
    inputs: &'a [NamedTensor],
) -> Result<Vec<&'a Tensor>, String> {
    let given = given_in_signature_order(signature, inputs)?;
    Ok(given.into_iter().map(|(_, tensor)| tensor).collect())
}

/// Returns the tensors as [`in_signature_order`] does, with their positions in the signature, from which
/// optional inputs may be missing.
pub(crate) fn given_in_signature_order<'a>(
    signature: &Signature,
    inputs: &'a [NamedTensor],
) -> Result<Vec<(usize, &'a Tensor)>, String> {
    let mut ordered = Vec::with_capacity(signature.inputs.len());
    for (position, spec) in signature.inputs.iter().enumerate() {
        // Most callers pass the inputs in the order of the signature.
        let found = match inputs.get(position) {
            Some(input) if input.name == spec.name => Some(input),
            _ => inputs.iter().find(|input| input.name == spec.name),
        };
        match found {
            Some(NamedTensor { tensor, .. }) => {
                spec.check(tensor).map_err(|error| error.to_string())?;
                ordered.push((position, tensor));
            }
            None if spec.optional => {}
            None => return Err(format!("`{}` is missing", spec.name)),
        }
    }
    Ok(ordered)
}
