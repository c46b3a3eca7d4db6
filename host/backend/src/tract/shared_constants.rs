//! The constants that the plans of a graph have in common, of which it keeps one copy.
//!
//! tract packs weights for the kernels that it chooses when it optimizes a model for given sizes. Plans for different
//! sizes use few different kernels, so most of them contain the same packed weights. Weights in the bodies of loops are not
//! shared.

use std::alloc::Layout;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tract_onnx::prelude::{Blob, DatumType, TVec, Tensor, TractResult, TypedModel, TypedNode};
use tract_onnx::tract_core::dyn_clone::clone_box;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::matmul::optimized::{MatMulOperand, OptMatMul, ProtoFusedSpec};
use tract_onnx::tract_core::tract_linalg::mmm::{
    EagerPackedInput, MMMInputValue, PackedMatrixStorage,
};
use tract_onnx::tract_core::tract_linalg::pack::PackedFormat;

/// The number of bytes from which a constant is worth sharing.
const MIN_BYTES: usize = 1024;

/// The constants of the plans that exist now. Lifetime: a graph.
#[derive(Debug, Default)]
pub(super) struct SharedConstants {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    packed: Candidates<(Layout, Panels), Blob>,
    tensors: Candidates<(DatumType, TVec<usize>, Layout), Tensor>,
}

/// The panels of a packed matrix, each of which ends with bytes that no result depends on. tract writes zeros there only
/// in debug builds, so they may differ among equal matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Panels {
    /// The size of a panel in bytes.
    size: usize,
    /// The number of bytes of a panel that have meaning.
    used: usize,
}

/// Values that may be equal, by a key that is equal if they are.
#[derive(Debug)]
struct Candidates<K, T>(HashMap<K, Vec<Weak<T>>>);

// === impl SharedConstants ===

impl SharedConstants {
    /// Replaces the constants of an optimized model that another plan has too, and adds the others to those that later
    /// plans can share.
    pub(super) fn share(&self, model: &mut TypedModel) -> TractResult<()> {
        // A panic leaves fewer candidates.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for node in model.nodes_mut() {
            known.share_operands(node);
            known.share_value(node)?;
        }
        known.packed.forget_dropped();
        known.tensors.forget_dropped();
        Ok(())
    }
}

// === impl Known ===

impl Known {
    /// Shares the packed operands of a matrix multiplication.
    fn share_operands(&mut self, node: &mut TypedNode) {
        let Some(product) = node.op_as_mut::<OptMatMul>() else {
            return;
        };
        for operation in &mut product.micro_ops {
            if let ProtoFusedSpec::AddMatMul { a, b, .. } = operation {
                for operand in [a, b] {
                    if let MatMulOperand::Const(value) = operand {
                        self.share_packed(value.as_mut());
                    }
                }
            }
        }
    }

    /// Shares the value of a constant.
    fn share_value(&mut self, node: &mut TypedNode) -> TractResult<()> {
        let Some(constant) = node.op_as::<Const>() else {
            return Ok(());
        };
        let Some(shared) = self.shared_tensor(constant.val()) else {
            return Ok(());
        };
        let fact = constant.exotic_fact().map(clone_box);
        let constant = Const::new_with_opt_exotic_fact(Arc::clone(&shared), fact)?;
        node.op = Box::new(constant);
        if let Some(output) = node.outputs.first_mut() {
            output.fact.konst = Some(shared);
        }
        Ok(())
    }

    fn shared_tensor(&mut self, tensor: &Arc<Tensor>) -> Option<Arc<Tensor>> {
        if let Some(storage) = tensor.storage_as::<PackedMatrixStorage>() {
            let mut values = TVec::new();
            for value in storage.values() {
                let mut value = clone_box(&**value);
                self.share_packed(value.as_mut());
                values.push(value);
            }
            let shared = PackedMatrixStorage::new_batched(storage.batch_shape(), values);
            return Some(Arc::new(shared.into_tensor(tensor.datum_type())));
        }
        let plain = tensor.as_plain_ram()?;
        let bytes = plain.as_bytes();
        // Strings are references to their bytes.
        if bytes.len() < MIN_BYTES || !tensor.datum_type().is_copy() {
            return None;
        }
        let key = (tensor.datum_type(), tensor.shape().into(), *plain.layout());
        let is_equal = |other: &Tensor| {
            let other = other.as_plain_ram();
            other.is_some_and(|other| other.as_bytes() == bytes)
        };
        self.tensors.find_or_add(key, tensor, is_equal)
    }

    fn share_packed(&mut self, value: &mut dyn MMMInputValue) {
        let Some(packed) = value.downcast_mut::<EagerPackedInput>() else {
            return;
        };
        let panels = Panels::of(packed);
        let blob = &packed.packed;
        if blob.as_bytes().len() < MIN_BYTES {
            return;
        }
        let is_equal = |other: &Blob| panels.are_equal(other, blob);
        let found = (self.packed).find_or_add((*blob.layout(), panels), blob, is_equal);
        if let Some(found) = found {
            packed.packed = found;
        }
    }
}

// === impl Panels ===

impl Panels {
    fn of(packed: &EagerPackedInput) -> Panels {
        let size = packed.panel_bytes;
        let used = match packed.fact.format.downcast_ref::<PackedFormat>() {
            Some(format) => {
                let numbers = packed.fact.k.saturating_mul(format.r);
                numbers.saturating_mul(format.dt.size_of()).min(size)
            }
            // The other formats have no such bytes.
            None => size,
        };
        Panels { size, used }
    }

    /// Returns whether two matrices in these panels have the same numbers.
    fn are_equal(&self, left: &[u8], right: &[u8]) -> bool {
        let used = |bytes: &[u8]| bytes.len().min(self.used);
        let size = self.size.max(1);
        left.len() == right.len()
            && (left.chunks(size).zip(right.chunks(size)))
                .all(|(left, right)| left.get(..used(left)) == right.get(..used(right)))
    }
}

// === impl Candidates ===

impl<K: Eq + Hash, T> Default for Candidates<K, T> {
    fn default() -> Candidates<K, T> {
        Candidates(HashMap::new())
    }
}

impl<K: Eq + Hash, T> Candidates<K, T> {
    /// Returns the value of another plan that is equal, or adds this one.
    fn find_or_add(
        &mut self,
        key: K,
        value: &Arc<T>,
        is_equal: impl Fn(&T) -> bool,
    ) -> Option<Arc<T>> {
        let candidates = self.0.entry(key).or_default();
        let is_known = |other: &Weak<T>| std::ptr::eq(other.as_ptr(), Arc::as_ptr(value));
        if candidates.iter().any(is_known) {
            return None;
        }
        let mut existing = candidates.iter().filter_map(Weak::upgrade);
        let found = existing.find(|other| is_equal(other));
        drop(existing);
        if found.is_none() {
            candidates.push(Arc::downgrade(value));
        }
        found
    }

    fn forget_dropped(&mut self) {
        self.0.retain(|_, candidates| {
            candidates.retain(|candidate| candidate.strong_count() > 0);
            !candidates.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tract::model::SymbolicModel;
    use crate::tract::tests::onnx_file::{Axis, perceptron};
    use std::collections::BTreeSet;

    const SIZES: [i64; 3] = [64, 64, 48];

    /// Returns the addresses of the packed weights in a model.
    fn packed(model: &TypedModel) -> Vec<*const u8> {
        let products = (model.nodes().iter()).filter_map(|node| node.op_as::<OptMatMul>());
        let operands = products
            .flat_map(|product| &product.micro_ops)
            .flat_map(|operation| match operation {
                ProtoFusedSpec::AddMatMul { a, b, .. } => vec![a, b],
                _ => Vec::new(),
            });
        let values = operands.filter_map(|operand| match operand {
            MatMulOperand::Const(value) => value.downcast_ref::<EagerPackedInput>(),
            MatMulOperand::Input(_) => None,
        });
        values.map(|value| value.packed.as_ptr()).collect()
    }

    /// Packs a matrix of 24 columns in panels of 8, with these bytes where tract writes nothing in releases.
    fn packed_with(padding: u8, last: f32) -> EagerPackedInput {
        let (rows, columns) = (16, 24);
        let format = PackedFormat::new(DatumType::F32, 8, 32);
        let mut numbers: Vec<f32> = (0..384_u16).map(f32::from).collect();
        *numbers.last_mut().unwrap() = last;
        let matrix = Tensor::from_shape(&[rows, columns], &numbers).unwrap();
        let value = format.pack_tensor(&matrix, 0, 1).unwrap();
        let mut packed = value.downcast_ref::<EagerPackedInput>().unwrap().clone();
        let used = rows * 8 * size_of::<f32>();
        assert!(packed.panel_bytes > used);
        let mut blob = (*packed.packed).clone();
        for panel in blob.as_bytes_mut().chunks_mut(packed.panel_bytes) {
            panel[used..].fill(padding);
        }
        packed.packed = Arc::new(blob);
        packed
    }

    #[test]
    fn packed_weights_are_equal_whatever_follows_their_panels() {
        let mut known = Known::default();
        let [first, mut equal, mut other] =
            [(0, 1.0), (255, 1.0), (0, 2.0)].map(|(padding, last)| packed_with(padding, last));
        for packed in [&mut first.clone(), &mut equal, &mut other] {
            known.share_packed(packed);
        }
        assert!(Arc::ptr_eq(&first.packed, &equal.packed));
        assert!(!Arc::ptr_eq(&first.packed, &other.packed));
        // Another division into panels is another matrix.
        let mut divided = first.clone();
        divided.packed = Arc::new((*first.packed).clone());
        divided.panel_bytes /= 2;
        known.share_packed(&mut divided);
        assert!(!Arc::ptr_eq(&first.packed, &divided.packed));
    }

    #[test]
    fn plans_for_many_sizes_have_one_copy_of_the_weights_for_each_kernel() {
        let file = perceptron(Axis::Named("n"), &SIZES).model();
        let symbolic = SymbolicModel::load(&file, None).unwrap();
        let optimized = |rows: u32| {
            let sizes = symbolic.bind(&[rows]).unwrap().to_dim_map();
            symbolic.concrete(&sizes).unwrap().into_optimized().unwrap()
        };
        let shared = SharedConstants::default();
        let models = (17..40).map(|rows| {
            let mut model = optimized(rows);
            assert_eq!(packed(&model).len(), 2, "{rows}");
            shared.share(&mut model).unwrap();
            model
        });
        let models: Vec<TypedModel> = models.collect();
        let distinct: BTreeSet<*const u8> = models.iter().flat_map(packed).collect();
        // tract chooses among few kernels.
        assert!(distinct.len() <= 6, "{} copies", distinct.len());
        drop(models);
        // Nothing is kept for plans that are gone.
        let mut last = optimized(20);
        shared.share(&mut last).unwrap();
        let known = shared.known.into_inner().unwrap();
        assert!(known.packed.0.values().flatten().count() <= 2);
    }
}
