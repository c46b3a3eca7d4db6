//! Tensors for computations without a server.

use bytes::Bytes;
use wisp_tensor::{ElementType, NamedTensor, Shape, Tensor};

/// Returns a tensor with these bytes, which must be as many as its type and dimensions need.
pub(crate) fn named(
    name: &str,
    element_type: ElementType,
    dimensions: &[u32],
    content: Vec<u8>,
) -> NamedTensor {
    let shape = Shape::new(dimensions.to_vec()).expect("a small shape");
    let tensor = Tensor::new(element_type, shape, Bytes::from(content));
    NamedTensor {
        name: name.to_owned(),
        tensor: tensor.expect("as many elements as the shape has"),
    }
}
