//! The sample request for a model that has neither golden cases nor an example.

use anyhow::ensure;
use wisp_protocol::call::{InferRequest, ModelDescription, Scheduling};
use wisp_tensor::number::from_numbers;
use wisp_tensor::{Dimension, NamedTensor};

/// The maximum size of the inputs in bytes, below the default limit of a bundle on bodies.
const MAX_BYTES: usize = 15 << 20;

/// The size of an empty BYTES element.
const EMPTY_ELEMENT_BYTES: usize = 4;

/// Returns a request with zeros, or empty texts, for every required input. A variable axis has one element.
pub(super) fn zeros(model: &ModelDescription) -> anyhow::Result<InferRequest> {
    let mut inputs = Vec::new();
    let mut bytes = 0_usize;
    let required = model.signature.inputs.iter();
    for spec in required.filter(|spec| !spec.optional) {
        let shape = Dimension::resolve(&spec.shape, 1)?;
        let size = spec.element_type.size().unwrap_or(EMPTY_ELEMENT_BYTES);
        bytes = bytes.saturating_add(shape.elements().saturating_mul(size));
        ensure!(
            bytes <= MAX_BYTES,
            "a sample of the inputs of the model has more than {MAX_BYTES} bytes: write a golden case in `cases/` of the \
             model, with which its bundle is tried instead"
        );
        inputs.push(NamedTensor {
            name: spec.name.clone(),
            tensor: from_numbers(spec.element_type, shape, || 0.0)?,
        });
    }
    Ok(InferRequest {
        inputs,
        parameters: Vec::new(),
        outputs: Vec::new(),
        scheduling: Scheduling::default(),
    })
}
