//! Estimates of the size of responses as messages.

use crate::call::InferResponse;
use crate::codec::HeldBytes;
use prost::Message;
use wisp_tensor::ElementType;

/// Returns the approximate maximum size of the classes, numbers or rows read from a response. The factor
/// of 16 covers a label for every four-byte score.
pub(super) fn element_message_bytes(response: &InferResponse) -> usize {
    response.content_bytes().saturating_mul(16)
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

impl<M: Message + 'static> HeldBytes for M {
    /// Returns the size of the message and of the frame that it is copied to.
    fn held_bytes(&self) -> usize {
        self.encoded_len().saturating_mul(2)
    }
}
