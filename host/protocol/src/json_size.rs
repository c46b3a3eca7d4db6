//! Estimates of the size of JSON text, and of the tensors decoded from it.

use crate::call::InferResponse;
use wisp_tensor::{ElementType, NamedTensor};

/// The size of the largest element that any number decodes to.
const MAX_ELEMENT_BYTES: usize = 8;

/// Returns the maximum number of bytes of the tensors in this text.
pub(crate) fn decoded_bytes(text: &[u8]) -> usize {
    // Any two elements are separated by a comma, and strings are copied unchanged.
    let elements = text.iter().filter(|&&byte| byte == b',').count() + 1;
    elements.saturating_mul(MAX_ELEMENT_BYTES) + text.len()
}

/// Returns the approximate number of JSON bytes for these tensors.
pub(crate) fn text_bytes<'a>(tensors: impl Iterator<Item = &'a NamedTensor>) -> usize {
    // A number has about three times as many digits and signs as it has bytes.
    tensors
        .map(|tensor| tensor.tensor.content().len().saturating_mul(3))
        .fold(0, usize::saturating_add)
}

/// Returns the maximum number of JSON bytes for these tensors.
pub(crate) fn encoded_bytes<'a>(tensors: impl Iterator<Item = &'a NamedTensor>) -> usize {
    let sizes = tensors.map(|NamedTensor { tensor, .. }| {
        let content = tensor.content().len();
        content.saturating_mul(text_per_content(tensor.element_type()))
    });
    sizes.fold(0, usize::saturating_add)
}

/// Returns the maximum number of bytes for the indexes of all elements, each in quotes and before a colon.
/// Elements have at least two bytes, since the other types are not probabilities.
pub(crate) fn index_bytes(response: &InferResponse) -> usize {
    response.content_bytes().saturating_mul(8)
}

/// Returns the maximum number of JSON bytes per byte of a tensor of this type, comma included.
fn text_per_content(element_type: ElementType) -> usize {
    match element_type {
        // A control character is `\u0001` (6 bytes), and a bool is at most `false` plus a comma.
        ElementType::Bytes | ElementType::Bool => 6,
        // A two-byte float has the digits of an f32, up to nine: `-0.00000123456789` plus a comma.
        ElementType::Fp16 | ElementType::Bf16 => 9,
        // A one-byte element is at most `-128` plus a comma.
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relaxed_json::write_element;

    #[test]
    fn no_two_byte_float_is_longer_than_estimated() {
        for element_type in [ElementType::Fp16, ElementType::Bf16] {
            for bits in 0..=u16::MAX {
                let mut text = Vec::new();
                write_element(&mut text, element_type, &bits.to_le_bytes());
                let estimate = 2 * text_per_content(element_type);
                assert!(text.len() < estimate, "{element_type} {bits:#x}: {text:?}");
            }
        }
    }
}
