//! The memory that all sessions compute in: one arena of the library's with an end.
//!
//! What a request of a few numbers may ask a graph for, nothing in the library bounds. An arena that has
//! reached its end refuses instead of allocating, and the run fails. It keeps what it has once allocated, in
//! pieces that may not suit what comes next, so a run that is refused is tried again after the arena has given
//! back what nobody uses. That happens at the end of a run that asks for it, of any session: a graph of
//! nothing serves.
//!
//! Weights lie elsewhere. Nor does the arena know of what an operator keeps for itself in the C++ library's own
//! containers.

use super::interface::{RunOptions, Value, register_arena, run};
use ort::environment::Environment;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::Session;
use ort::value::TensorElementType;
use prost::Message;
use std::ffi::CString;
use std::sync::atomic::{AtomicUsize, Ordering};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TypeProto, ValueInfoProto, type_proto,
};

/// The arena of the environment. Lifetime: the process.
#[derive(Debug)]
pub(super) struct Arena {
    max_bytes: usize,
    /// A session of a graph of nothing.
    idle: Session,
    /// Runs that are under way, and outputs that are not dropped yet.
    users: AtomicUsize,
}

/// That somebody uses the arena.
#[derive(Debug)]
pub(super) struct ArenaUse(&'static Arena);

/// Why the arena refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It will never hold so many bytes.
    TooLarge(usize),
    /// It does not hold so many bytes now.
    Full(usize),
}

impl Arena {
    /// Gives the environment an arena of up to `max_bytes`.
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

    /// The bytes that it holds at most.
    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Notes a user.
    pub(super) fn enter(&'static self) -> ArenaUse {
        self.users.fetch_add(1, Ordering::Relaxed);
        ArenaUse(self)
    }

    /// Whether there are users besides one.
    pub(super) fn is_shared(&self) -> bool {
        self.users.load(Ordering::Relaxed) > 1
    }

    /// Lets the arena give back what nobody uses.
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

    /// What a failed run says of the arena, if it failed for that.
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

/// An ONNX file of one operator that hands on a byte.
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
