//! The memory that all sessions compute in: one arena of the library with a size limit.
//!
//! The library does not bound the memory that a graph allocates for a request with a few numbers. An arena
//! at its limit refuses to allocate, and the run fails. It keeps the memory that it has allocated, in blocks
//! that may not fit the next allocations, so a refused run is repeated after the arena has released its
//! unused memory. That happens at the end of any session's run that requests it; a trivial graph is enough.
//!
//! Weights are outside the arena, and so is the memory that operators hold in C++ containers of the library.

use super::interface::{RunOptions, Value, register_arena, run};
use crate::pb::tensor_proto::DataType;
use crate::pb::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TypeProto, ValueInfoProto, type_proto,
};
use ort::environment::Environment;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::Session;
use ort::value::TensorElementType;
use prost::Message;
use std::ffi::CString;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The arena of the environment. Lifetime: the process.
#[derive(Debug)]
pub(super) struct Arena {
    max_bytes: usize,
    /// A session of a trivial graph.
    idle: Session,
    /// The number of runs in progress and of outputs that are not dropped yet.
    users: AtomicUsize,
}

/// A guard that counts as a user of the arena.
#[derive(Debug)]
pub(super) struct ArenaUse(&'static Arena);

/// The reason that the arena refused an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The requested number of bytes exceeds the limit of the arena.
    TooLarge(usize),
    /// The requested number of bytes does not fit now.
    Full(usize),
}

impl Arena {
    /// Registers an arena of up to `max_bytes` with the environment.
    pub(super) fn new(environment: &Environment, max_bytes: usize) -> ort::Result<Arena> {
        let (device, kind) = (AllocationDevice::CPU, AllocatorType::Arena);
        let memory = MemoryInfo::new(device, 0, kind, MemoryType::Default)?;
        register_arena(environment, &memory, max_bytes)?;
        let builder = Session::builder(environment)?.with_env_allocators();
        let builder = builder.map_err(|error| ort::Error::new(error.message()))?;
        let builder = builder.with_intra_threads(1);
        let mut builder = builder.map_err(|error| ort::Error::new(error.message()))?;
        Ok(Arena {
            max_bytes,
            idle: builder.commit_from_memory(&graph_of_nothing())?,
            users: AtomicUsize::new(0),
        })
    }

    /// Returns the size limit of the arena in bytes.
    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Counts a user of the arena until the returned guard is dropped.
    pub(super) fn enter(&'static self) -> ArenaUse {
        self.users.fetch_add(1, Ordering::Relaxed);
        ArenaUse(self)
    }

    /// Returns whether the arena has more than one user.
    pub(super) fn is_shared(&self) -> bool {
        self.users.load(Ordering::Relaxed) > 1
    }

    /// Makes the arena release its unused memory.
    pub(super) fn shrink(&self) -> ort::Result<()> {
        let (device, kind) = (AllocationDevice::CPU, AllocatorType::Device);
        let memory = MemoryInfo::new(device, 0, kind, MemoryType::Default)?;
        let input = Value::lend(&[0], &[1], TensorElementType::Uint8, &memory)?;
        let options = RunOptions::new()?.with_shrinking()?;
        let names = [CString::from(c"x")];
        run(
            &self.idle,
            &options,
            (&names, &[&input]),
            &[CString::from(c"y")],
        )?;
        Ok(())
    }

    /// Returns the refusal in the message of a failed run, if the arena caused the failure.
    pub(super) fn refusal(&self, message: &str) -> Option<Refusal> {
        const BEFORE: &str = "is smaller than requested bytes of ";
        let (_, rest) = message.split_once(BEFORE)?;
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        let bytes = digits.parse().unwrap_or(usize::MAX);
        Some(match bytes > self.max_bytes {
            true => Refusal::TooLarge(bytes),
            false => Refusal::Full(bytes),
        })
    }
}

impl Drop for ArenaUse {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns an ONNX file with one operator that copies a byte.
fn graph_of_nothing() -> Vec<u8> {
    let byte = |name: &str| ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type: DataType::Uint8 as i32,
                shape: None,
            })),
            ..Default::default()
        }),
        ..Default::default()
    };
    let model = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: 13,
        }],
        graph: Some(GraphProto {
            name: "nothing".to_owned(),
            node: vec![NodeProto {
                op_type: "Identity".to_owned(),
                input: vec!["x".to_owned()],
                output: vec!["y".to_owned()],
                ..Default::default()
            }],
            input: vec![byte("x")],
            output: vec![byte("y")],
            ..Default::default()
        }),
        ..Default::default()
    };
    model.encode_to_vec()
}
