//! The constants that the plans of a graph have in common, of which it keeps one copy.
//!
//! tract packs weights for the kernels that it chooses when it optimizes a model for given sizes. Plans for different
//! sizes use few different kernels, so most of them contain the same packed weights.

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

/// The number of bytes from which a constant is worth sharing.
const MIN_BYTES: usize = 1024;

/// The constants of the plans that exist now. Lifetime: a graph.
#[derive(Debug, Default)]
pub(super) struct SharedConstants {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Packed matrices, by their size in bytes.
    packed: Candidates<usize, Blob>,
    tensors: Candidates<(DatumType, TVec<usize>), Tensor>,
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
        let bytes = tensor.as_plain_ram()?.as_bytes();
        // Strings are references to their bytes.
        if bytes.len() < MIN_BYTES || !tensor.datum_type().is_copy() {
            return None;
        }
        let key = (tensor.datum_type(), tensor.shape().into());
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
        let blob = &packed.packed;
        if blob.as_bytes().len() < MIN_BYTES {
            return;
        }
        let is_equal = |other: &Blob| *other == **blob;
        let found = (self.packed).find_or_add(blob.as_bytes().len(), blob, is_equal);
        if let Some(found) = found {
            packed.packed = found;
        }
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
        let mut existing = candidates.iter().filter_map(Weak::upgrade);
        let found = existing.find(|other| Arc::ptr_eq(other, value) || is_equal(other));
        drop(existing);
        if found.is_none() {
            candidates.push(Arc::downgrade(value));
        }
        found.filter(|found| !Arc::ptr_eq(found, value))
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
