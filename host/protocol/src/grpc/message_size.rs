//! Estimates of the size of responses as messages.

use crate::call::InferResponse;
use prost::Message;
use wisp_tensor::ElementType;

/// Returns the content size of all outputs, for responses that are read element by element.
pub(super) fn content_bytes(response: &InferResponse) -> usize {
    let outputs = response.outputs.iter();
    outputs
        .map(|output| output.tensor.content().len())
        .fold(0, usize::saturating_add)
}

/// Returns the approximate maximum size of the classes, numbers or rows read from a response. The factor
/// of 16 covers a label for every four-byte score.
pub(super) fn element_message_bytes(response: &InferResponse) -> usize {
    content_bytes(response).saturating_mul(16)
}

/// Returns the maximum number of bytes that the tensors of a response take in its message and frame,
/// besides their content. Each string has a handle of 32 bytes for at least four bytes of content.
pub(super) fn tensor_message_bytes(response: &InferResponse) -> usize {
    let sizes = response.outputs.iter().map(|output| {
        let content = output.tensor.content().len();
        match output.tensor.element_type() {
            ElementType::Bytes => content.saturating_mul(9),
            _ => content,
        }
    });
    sizes.fold(0, usize::saturating_add)
}

/// Returns the number of bytes that a message occupies until it has been sent: the message and the frame
/// it is copied to.
pub(super) fn held_bytes(message: &impl Message) -> usize {
    message.encoded_len().saturating_mul(2)
}
