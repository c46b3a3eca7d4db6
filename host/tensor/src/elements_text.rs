//! The elements of a tensor as text for people.

use crate::element_type::ElementType;
use crate::tensor::Tensor;

/// The number of elements of a tensor that are shown; further ones are only counted.
const SHOWN_ELEMENTS: usize = 16;

/// Formats the elements in order, limited to the first few: `[7, 4, 0]`.
pub fn elements_text(tensor: &Tensor) -> String {
    let total = tensor.shape().elements();
    let mut shown: Vec<String> = match tensor.element_type().size() {
        None => tensor
            .elements()
            .take(SHOWN_ELEMENTS)
            .map(|element| format!("{:?}", String::from_utf8_lossy(element)))
            .collect(),
        Some(size) => tensor
            .content()
            .chunks_exact(size)
            .take(SHOWN_ELEMENTS)
            .map(|element| number_text(tensor.element_type(), element))
            .collect(),
    };
    if total > SHOWN_ELEMENTS {
        shown.push(format!("... {} more", total - SHOWN_ELEMENTS));
    }
    format!("[{}]", shown.join(", "))
}

fn number_text(element_type: ElementType, bytes: &[u8]) -> String {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let unsigned = u64::from_le_bytes(wide);
    match (element_type, bytes) {
        (ElementType::Bool, _) => (unsigned != 0).to_string(),
        (ElementType::Fp32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]).to_string(),
        (ElementType::Fp64, _) => f64::from_le_bytes(wide).to_string(),
        (ElementType::Int8, &[a]) => i8::from_le_bytes([a]).to_string(),
        (ElementType::Int16, &[a, b]) => i16::from_le_bytes([a, b]).to_string(),
        (ElementType::Int32, &[a, b, c, d]) => i32::from_le_bytes([a, b, c, d]).to_string(),
        (ElementType::Int64, _) => i64::from_le_bytes(wide).to_string(),
        // FP16 and BF16 are shown as their bits, which is exact and needs no arithmetic for these types.
        (ElementType::Fp16 | ElementType::Bf16, _) => format!("{unsigned:#06x}"),
        _ => unsigned.to_string(),
    }
}
