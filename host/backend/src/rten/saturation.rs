//! Sums of products of 8-bit integers that rten saturates, which depends on the processor and on the weights.
//!
//! Without AVX-512 VNNI, rten's kernels for x86 processors multiply unsigned activations by signed weights and add
//! two products in 16 bits. Kernels for other processors add them in 32 bits.

use crate::onnx::values::Site;
use crate::pb::tensor_proto::DataType;
use rten_gemm::GemmExecutor;
use std::sync::LazyLock;

/// The magnitude up to which two weights times the largest activation, 255, fit 16 bits together.
const MAX_WEIGHT: u64 = 64;

/// The number by which rten reduces unsigned weights to make them signed.
const UNSIGNED_OFFSET: i64 = 128;

/// Set if the kernel that rten selects on this processor can saturate.
static KERNEL_SATURATES: LazyLock<bool> =
    LazyLock::new(|| GemmExecutor::<u8, i8, i32>::default().may_saturate());

/// Returns whether a product with the weights at one of these positions may saturate here.
pub(super) fn is_possible(site: &Site<'_>, weights: [usize; 2]) -> bool {
    let has_large = |position| !has_small_weights(site, position);
    *KERNEL_SATURATES && weights.into_iter().any(has_large)
}

/// Returns whether an input is a constant in the file whose numbers cannot saturate.
fn has_small_weights(site: &Site<'_>, position: usize) -> bool {
    let offset = match site.input_type(position) {
        Some(DataType::Int8) => 0,
        Some(DataType::Uint8) => UNSIGNED_OFFSET,
        _ => return false,
    };
    let is_small = |number: &i64| number.saturating_sub(offset).unsigned_abs() <= MAX_WEIGHT;
    let numbers = site.values.integers(site.input(position));
    numbers.is_some_and(|numbers| numbers.iter().all(is_small))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::test_graphs::{node, tensor, value};
    use crate::onnx::values::Values;
    use crate::pb::GraphProto;

    /// Returns whether weights of this type are small.
    fn are_small(data_type: DataType, weights: &[i64]) -> bool {
        let graph = GraphProto {
            input: vec![value("x", DataType::Int8, &[2])],
            initializer: vec![tensor("w", data_type, weights)],
            ..Default::default()
        };
        let site = Site {
            node: &node("Product", &["x", "w"], "y"),
            values: &Values::of(&graph, None),
            opset: 17,
        };
        assert!(!has_small_weights(&site, 0), "an input is no constant");
        has_small_weights(&site, 1)
    }

    #[test]
    fn weights_are_small_if_two_products_fit_16_bits() {
        assert!(255 * 2 * MAX_WEIGHT <= 1 << 15);
        assert!(are_small(DataType::Int8, &[-64, 0, 64]));
        assert!(!are_small(DataType::Int8, &[-65]));
        assert!(!are_small(DataType::Int8, &[65]));
        assert!(are_small(DataType::Uint8, &[64, 128, 192]));
        assert!(!are_small(DataType::Uint8, &[0]));
        assert!(!are_small(DataType::Uint8, &[193]));
        assert!(!are_small(DataType::Int32, &[0]));
    }
}
