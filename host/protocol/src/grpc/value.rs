//! Elements of a response in the types that messages use: strings, and numbers as f32.

use crate::relaxed_json::{EncodeError, number};
use wisp_tensor::{ElementType, NamedTensor};

/// Decodes a label, which is a string in a message.
pub(super) fn string(output: &NamedTensor, element: &[u8]) -> Result<String, EncodeError> {
    let text = str::from_utf8(element).map_err(|_| EncodeError::NotUtf8 {
        output: output.name.clone(),
    })?;
    Ok(text.to_owned())
}

/// Returns the f32 nearest to the number in `element`; `None` for BYTES.
pub(super) fn f32_value(element_type: ElementType, element: &[u8]) -> Option<f32> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the message has f32 fields only"
    )]
    number(element_type, element).map(|number| number as f32)
}

/// Returns a score, which must be a number.
pub(super) fn score(output: &NamedTensor, element: &[u8]) -> Result<f32, EncodeError> {
    f32_value(output.tensor.element_type(), element).ok_or_else(|| EncodeError::NotNumbers {
        output: output.name.clone(),
    })
}
