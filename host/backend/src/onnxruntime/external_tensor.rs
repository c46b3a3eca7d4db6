//! The external tensors of an ONNX file, read into memory that the model owns.
//!
//! The library would memory-map the external files. A later write to such a file would change the
//! results, and truncating it would end the process. Small tensors are stored in the model itself. Large
//! ones, which a protobuf message cannot hold, are lent to the session.
//!
//! Errors contain no path of this machine.

use super::interface::{Value, add_initializer};
use super::signature;
use crate::model_folder::ModelFolder;
use crate::onnx::{ExternalBytes, change_tensors, is_external};
use crate::pb::tensor_proto::DataLocation;
use crate::pb::{ModelProto, TensorProto};
use crate::process_memory::process_memory;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::SessionBuilder;
use ort::value::TensorElementType;
use std::collections::HashSet;
use std::ffi::CString;

/// The largest tensor, in bytes, that is stored in the model, where it is copied a few times.
const MAX_INSIDE: usize = 1 << 20;

/// The alignment of the numbers in bytes, which is more than any type needs.
const ALIGNMENT: usize = 64;

/// The tensors that have been read from files beside a model.
#[derive(Debug, Default)]
pub(super) struct ExternalTensors {
    has_moved: bool,
    lent: Vec<LentTensor>,
}

#[derive(Debug)]
struct LentTensor {
    name: CString,
    shape: Vec<i64>,
    element_type: TensorElementType,
    numbers: AlignedBytes,
}

/// The tensors that a session uses and does not own. Fields are dropped in this order. Lifetime: the session.
#[derive(Debug)]
pub(super) struct Initializers {
    _values: Vec<Value>,
    _lent: Vec<LentTensor>,
}

#[derive(Debug)]
struct AlignedBytes {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl ExternalTensors {
    /// Reads the external tensors of `model` from `folder`.
    pub(super) fn take(
        model: &mut ModelProto,
        folder: Option<&ModelFolder>,
    ) -> Result<ExternalTensors, String> {
        let mut taken = ExternalTensors::default();
        let mut left = process_memory().map_or(usize::MAX, |bytes| bytes / 2);
        // Only the initializers of the outermost graph can be lent.
        let own = model.graph.iter().flat_map(|graph| &graph.initializer);
        let own: HashSet<String> = own
            .filter(|tensor| is_external(tensor))
            .map(|tensor| tensor.name.clone())
            .collect();
        change_tensors(model, &mut |tensor| {
            if !is_external(tensor) {
                return Ok(());
            }
            let can_be_lent = own.contains(&tensor.name);
            taken
                .take_tensor(tensor, folder, (can_be_lent, &mut left))
                .map_err(|reason| format!("tensor `{}` {reason}", tensor.name))
        })?;
        Ok(taken)
    }

    fn take_tensor(
        &mut self,
        tensor: &mut TensorProto,
        folder: Option<&ModelFolder>,
        (can_be_lent, left): (bool, &mut usize),
    ) -> Result<(), String> {
        let stored = ExternalBytes::of(tensor, folder)?;
        *left = left.checked_sub(stored.length).ok_or_else(|| {
            "and those before it have more external data than half of the memory".to_owned()
        })?;
        match signature::of_file(tensor.data_type) {
            Some((element_type, size)) if can_be_lent && stored.length > MAX_INSIDE => {
                let elements = tensor.dims.iter().try_fold(size, |product, &size| {
                    product.checked_mul(usize::try_from(size).ok()?)
                });
                if elements != Some(stored.length) {
                    return Err(format!(
                        "in external data `{}` has {} bytes, which do not match its shape {:?}",
                        stored.location(),
                        stored.length,
                        tensor.dims
                    ));
                }
                let mut numbers = AlignedBytes::zeroed(stored.length);
                stored.read(numbers.as_mut())?;
                self.lent.push(LentTensor {
                    name: CString::new(tensor.name.as_str())
                        .map_err(|_| "has a zero byte in its name".to_owned())?,
                    shape: tensor.dims.clone(),
                    element_type,
                    numbers,
                });
            }
            _ => {
                let mut bytes = vec![0; stored.length];
                stored.read(&mut bytes)?;
                tensor.raw_data = bytes;
                tensor.external_data.clear();
                tensor.data_location = Some(DataLocation::Default as i32);
                self.has_moved = true;
            }
        }
        Ok(())
    }

    /// Returns whether tensors have been stored in the model.
    pub(super) fn has_moved(&self) -> bool {
        self.has_moved
    }

    /// Lends these tensors to the session under construction. The caller keeps the result
    /// as long as the session lives.
    pub(super) fn lend_to(self, builder: &mut SessionBuilder) -> ort::Result<Initializers> {
        let (device, kind) = (AllocationDevice::CPU, AllocatorType::Device);
        let memory = MemoryInfo::new(device, 0, kind, MemoryType::Default)?;
        let mut values = Vec::with_capacity(self.lent.len());
        for tensor in &self.lent {
            let numbers = tensor.numbers.as_ref();
            let value = Value::lend(numbers, &tensor.shape, tensor.element_type, &memory)?;
            add_initializer(builder, &tensor.name, &value)?;
            values.push(value);
        }
        Ok(Initializers {
            _values: values,
            _lent: self.lent,
        })
    }
}

impl AlignedBytes {
    fn zeroed(length: usize) -> AlignedBytes {
        let bytes = vec![0; length + ALIGNMENT];
        AlignedBytes {
            start: bytes.as_ptr().align_offset(ALIGNMENT),
            bytes,
            length,
        }
    }
}

impl AsRef<[u8]> for AlignedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[self.start..][..self.length]
    }
}

impl AsMut<[u8]> for AlignedBytes {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..][..self.length]
    }
}
